//! `handoff try`: the whole way from settings to a configured guest, on a scratch root, without root and without a
//! virtual machine. Each claim that it prints was checked, and the first that does not hold ends it with an error.

mod image;
mod scratch;

use super::catalog::judge::{Classes, Found};
use super::disk::{self, Format};
use super::output::{self, Readers, unprintable};
use super::sign::SigningKey;
use super::written::{Written, summary};
use super::{convert, trust_line};
use crate::class::{Class, Field, Kind, Record, Value};
use crate::error::{self, Error, Result, one_line};
use crate::settings::Settings;
use crate::settings::document::Node;
use crate::trust::Blob;
use scratch::{Picture, Scratch, differences, picture};
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The agent: takes its arguments and where to write, and returns its exit code.
pub type Agent = dyn Fn(Vec<OsString>, &mut dyn Write, &mut dyn Write) -> u8;

/// Exit code of the agent when it refuses what is not verified.
const NOT_VERIFIED: u8 = 11;

/// Applies settings to a scratch root: the operator's own, or the example.
///
/// # Errors
/// The settings are not good, do not fit on the scratch root, or one of the claims does not hold.
pub fn run(settings: Option<&Path>, classes: &Classes, keep: bool, agent: &Agent, out: &mut dyn Write) -> Result<()> {
    let scratch = Scratch::new(keep)?;
    let file = match settings {
        Some(path) => path.to_owned(),
        None => {
            let path = scratch.path().join("load-balancer.toml");
            output::write(&path, image::SETTINGS.as_bytes(), Readers::Owner)?;
            path
        }
    };
    let written = Written::read(&file, None)?;
    let settings_read = written.settings()?;
    // The example brings fields of its own, and no class.
    let found = match settings {
        Some(_) => classes.judge(written.name(), &settings_read)?,
        None => Found::NotNeeded,
    };
    let key = SigningKey::random("operator@trial")?;
    writeln!(out, "An appliance is configured, in {}.", scratch.path().display()).map_err(unprintable)?;
    let mut trial = Trial {
        within: format!("{}/", scratch.path().display()),
        root: scratch.path().join("root"),
        disk: scratch.path().join("settings.img"),
        key,
        agent,
        out,
        number: 0,
    };
    trial.prepare(&written, &settings_read, &found)?;
    let untouched = trial.picture()?;
    trial.first_run(&settings_read, found.class(), &untouched)?;
    trial.second_run()?;
    if settings.is_none() || settings_read.instance.is_some() {
        trial.changed_settings(&written, settings.is_none())?;
    }
    trial.forgeries()?;
    trial.heading("Done: every line above was checked")?;
    if keep {
        writeln!(trial.out, "   the guest's root is {}", trial.root.display()).map_err(unprintable)?;
        writeln!(trial.out, "   its settings disk is {}", trial.disk.display()).map_err(unprintable)?;
    }
    Ok(())
}

struct Trial<'a> {
    /// The directory of the trial, with a slash, which is left out wherever text is shown.
    within: String,
    root: PathBuf,
    disk: PathBuf,
    key: SigningKey,
    agent: &'a Agent,
    out: &'a mut dyn Write,
    number: usize,
}

/// What one run of the agent came to.
struct Answer {
    code: u8,
    text: String,
}

impl Trial<'_> {
    fn prepare(&mut self, written: &Written, settings: &Settings, found: &Found) -> Result<()> {
        self.heading("The settings")?;
        self.say(&format!("{}: good: {}", written.name(), summary(settings)))?;

        self.heading("A key, a guest that trusts it, and a signed disk")?;
        let public = self.key.public_line().unwrap_or_default();
        let line = trust_line::line("the throw-away key", &public, None)?;
        let failed = |error: std::io::Error| {
            Error::not_applied(
                self.root.display(),
                format_args!("cannot be made ({error})"),
                "set TMPDIR to another place",
            )
        };
        image::make(&self.root, &line, settings, found).map_err(failed)?;
        self.pack(written.json().into_owned())?;
        let size = std::fs::metadata(&self.disk).map_or(0, |metadata| metadata.len());
        self.say(&format!("/usr/lib/handoff/trusted-keys: {line}"))?;
        self.say(&format!("{}: a raw disk of {size} bytes, signed with that key", self.disk.display()))?;
        self.say("root: a small Debian that trusts that key alone")?;
        match found {
            Found::Class(built) => {
                self.say(&format!("/usr/lib/handoff/class.json: the class {}, without its checks", built.class.name))
            }
            Found::Missing(reason) => self.say(&format!("/usr/lib/handoff/class.json: takes any field, for {reason}")),
            Found::NotNeeded => Ok(()),
        }
    }

    fn first_run(&mut self, settings: &Settings, class: Option<&Class>, empty: &Picture) -> Result<()> {
        self.heading("What the agent would change (handoff-agent plan --diff)")?;
        let plan = self.agent(&["plan", "--diff"])?;
        self.show(&plan)?;
        self.expect(plan.code, 0, "the plan was made")?;
        let unchanged = self.picture()? == *empty;
        self.claim(unchanged, "planning changed nothing")?;
        let leaks = secrets(settings, class).into_iter().any(|secret| plan.text.contains(&secret));
        self.claim(!leaks, "no secret is in the plan")?;

        self.heading("It is done (handoff-agent apply)")?;
        let applied = self.agent(&["apply"])?;
        self.show(&applied)?;
        self.expect(applied.code, 0, "the settings were applied")?;
        let after = self.picture()?;
        self.differences(empty, &after)?;
        if let Some(hostname) = &settings.hostname {
            let name = std::fs::read_to_string(self.root.join("etc/hostname")).unwrap_or_default();
            self.claim(name.trim_end() == hostname.to_string(), "the guest has its name")?;
        }
        for file in &settings.files {
            let path = self.root.join(file.path.to_string().trim_start_matches('/'));
            let there = std::fs::read(&path).is_ok_and(|content| content == file.content);
            self.claim(there, format_args!("{} is there", file.path))?;
        }
        Ok(())
    }

    fn second_run(&mut self) -> Result<()> {
        self.heading("The same settings again (handoff-agent apply)")?;
        let before = self.picture()?;
        let again = self.agent(&["apply"])?;
        self.show(&again)?;
        self.expect(again.code, 0, "it ended well")?;
        let untouched = self.picture()? == before;
        self.claim(untouched, "no file was touched")?;
        let plan = self.agent(&["plan"])?;
        self.claim(plan.code == 0 && plan.text.contains("nothing to do"), "there is nothing left to plan")
    }

    fn changed_settings(&mut self, written: &Written, is_example: bool) -> Result<()> {
        self.heading("The settings change: the serial grows by one, and exactly the difference is applied")?;
        let broken = |error: serde_json::Error| Error::new(error::Class::Bug, "settings", error, "report this");
        let mut document: serde_json::Value = serde_json::from_slice(&written.json()).map_err(broken)?;
        if let Some(serial) = document.pointer_mut("/instance/serial") {
            *serial = serial.as_u64().unwrap_or(0).saturating_add(1).into();
        }
        let said = if is_example { image::change(&mut document)? } else { Vec::new() };
        for line in &said {
            self.say(line)?;
        }
        let text = serde_json::to_vec(&document).map_err(broken)?;
        self.pack(convert::to_json(&Node::from_json(&text)?))?;
        let before = self.picture()?;
        let plan = self.agent(&["plan", "--diff"])?;
        self.show(&plan)?;
        self.expect(plan.code, 0, "the plan was made")?;
        let applied = self.agent(&["apply"])?;
        self.show(&applied)?;
        self.expect(applied.code, 0, "the change was applied")?;
        let after = self.picture()?;
        self.differences(&before, &after)?;
        if is_example {
            let motd = std::fs::read_to_string(self.root.join("etc/motd")).unwrap_or_default();
            self.claim(motd == "This is the image.\n", "the image's own /etc/motd is back")?;
            let network = self.root.join("etc/systemd/network");
            let (new, old) = (holds(&network, "10.0.0.11/24"), holds(&network, "10.0.0.10/24"));
            self.claim(new && !old, "the new address is in place of the old one")?;
        }
        Ok(())
    }

    fn forgeries(&mut self) -> Result<()> {
        self.heading("A disk is damaged, and one is forged: both are refused, and nothing is touched")?;
        let genuine = output::read(&self.disk, usize::MAX / 2)?;
        let blob = crate::trust::container::decode("settings.img", &genuine)?;
        let before = self.picture()?;

        let mut damaged = genuine.clone();
        if let Some(byte) = damaged.get_mut(crate::trust::container::HEADER_LEN + 20) {
            *byte ^= 1;
        }
        output::write(&self.disk, &damaged, Readers::Owner)?;
        let answer = self.agent(&["apply"])?;
        self.show(&answer)?;
        self.expect(answer.code, NOT_VERIFIED, "a disk with one bit flipped was refused")?;

        // Somebody who can write disks, and has no key: the container is whole, and the signature was for another text.
        let (mut text, signature) = blob.into_parts();
        text.push(b'\n');
        let forged = Blob::new("settings.img", text, signature)?;
        output::write(&self.disk, &disk::image(Format::Raw, &forged)?, Readers::Owner)?;
        let answer = self.agent(&["apply"])?;
        self.show(&answer)?;
        self.expect(answer.code, NOT_VERIFIED, "a disk with other settings under the same signature was refused")?;

        let untouched = self.picture()? == before;
        self.claim(untouched, "the guest is as it was")?;
        output::write(&self.disk, &genuine, Readers::Owner)
    }

    fn pack(&self, json: Vec<u8>) -> Result<()> {
        let signature = self.key.sign(&json)?;
        let blob = Blob::new("settings.img", json, Some(signature))?;
        output::write(&self.disk, &disk::image(Format::Raw, &blob)?, Readers::Owner)
    }

    fn picture(&self) -> Result<Picture> {
        picture(&self.root)
    }

    /// Runs the agent on the scratch root, and nothing else of this machine.
    fn agent(&self, command: &[&str]) -> Result<Answer> {
        let mut source = OsString::from("file:");
        source.push(&self.disk);
        let mut arguments: Vec<OsString> = vec!["--root".into(), self.root.clone().into(), "--source".into(), source];
        arguments.extend(command.iter().map(OsString::from));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = (self.agent)(arguments, &mut out, &mut err);
        out.extend_from_slice(&err);
        Ok(Answer { code, text: String::from_utf8_lossy(&out).into_owned() })
    }

    fn heading(&mut self, text: &str) -> Result<()> {
        self.number += 1;
        writeln!(self.out, "\n{}. {text}\n", self.number).map_err(unprintable)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        let text = text.replace(&self.within, "");
        writeln!(self.out, "   {}", one_line(&text)).map_err(unprintable)
    }

    fn show(&mut self, answer: &Answer) -> Result<()> {
        for line in answer.text.lines() {
            let line = line.replace(&self.within, "").replace('\t', "    ");
            writeln!(self.out, "   | {}", one_line(&line)).map_err(unprintable)?;
        }
        Ok(())
    }

    fn differences(&mut self, before: &Picture, after: &Picture) -> Result<()> {
        for line in differences(before, after) {
            self.say(&line)?;
        }
        Ok(())
    }

    /// Says what is so, where it is so.
    fn claim(&mut self, is_so: bool, what: impl fmt::Display) -> Result<()> {
        if !is_so {
            return Err(Error::new(
                error::Class::Bug,
                "trial",
                format_args!("it is not so that {what}"),
                "report this with the text above",
            ));
        }
        self.say(&format!("ok: {what}"))
    }

    /// Says what came of the agent's run, where it ended with the exit code that was expected.
    fn expect(&mut self, code: u8, expected: u8, what: &str) -> Result<()> {
        if code == expected {
            return self.say(&format!("ok: {what}"));
        }
        let classes = [
            error::Class::NoSettings,
            error::Class::NotVerified,
            error::Class::Invalid,
            error::Class::NotApplied,
            error::Class::LastGood,
        ];
        let class = classes.into_iter().find(|class| class.exit_code() == code && expected == 0);
        Err(Error::new(
            class.unwrap_or(error::Class::Bug),
            "trial",
            format_args!("the agent ended with exit code {code}, not {expected}"),
            "see its message above",
        ))
    }
}

/// The secrets of these settings that a plan could show.
fn secrets(settings: &Settings, class: Option<&Class>) -> Vec<String> {
    let hashes =
        settings.users.iter().filter_map(|user| user.password_hash.as_ref()).map(|hash| hash.expose().to_owned());
    let values = settings.services.iter().flat_map(|service| &service.environment).map(|entry| entry.value.to_string());
    let files = settings.files.iter().filter(|file| file.is_secret());
    let contents = files.map(|file| String::from_utf8_lossy(&file.content).trim().to_owned());
    let mut fields = Vec::new();
    if let Some(resolved) = class.and_then(|class| class.resolve(settings).ok()) {
        secret_fields(class.map(|class| class.fields.as_slice()).unwrap_or_default(), &resolved.fields, &mut fields);
    }
    // A very short text is also part of other words.
    hashes.chain(values).chain(contents).chain(fields).filter(|secret| secret.len() >= 8).collect()
}

/// The texts of the secret fields, also of those in tables.
fn secret_fields(fields: &[Field], record: &Record, found: &mut Vec<String>) {
    for (field, (_, value)) in fields.iter().zip(record) {
        match (&field.kind, value) {
            (Kind::Table { columns, .. }, Some(Value::Table(records))) => {
                records.iter().for_each(|record| secret_fields(columns, record, found));
            }
            (_, Some(Value::Text(text))) if field.secret => found.push(text.trim().to_owned()),
            (_, Some(Value::List(items))) if field.secret => {
                found.extend(items.iter().filter_map(|item| match item {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
}

/// Whether a file of this directory holds this text.
fn holds(directory: &Path, text: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.any(|path| std::fs::read_to_string(path).is_ok_and(|content| content.contains(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_example_is_good_and_changes_as_told() {
        let document = super::super::toml::parse(image::SETTINGS).unwrap();
        let settings = Settings::from_document(&document).unwrap();
        assert_eq!(settings.users.len(), 2);
        let mut json: serde_json::Value = serde_json::from_slice(&convert::to_json(&document)).unwrap();
        assert_eq!(image::change(&mut json).unwrap().len(), 3);
        let changed = Settings::check_text(&serde_json::to_vec(&json).unwrap()).unwrap();
        assert_eq!((changed.users.len(), changed.files.len()), (1, 1));
        assert!(secrets(&settings, None).iter().any(|secret| secret == "not-shown-in-a-plan"));
    }

    /// An agent that pretends.
    fn pretend(apply: impl Fn(&Path) -> u8 + 'static) -> Box<Agent> {
        Box::new(move |arguments, out, _| {
            let root = PathBuf::from(&arguments[1]);
            match arguments[4].to_str() {
                Some("plan") => {
                    writeln!(out, "nothing to do").unwrap();
                    0
                }
                _ => apply(&root),
            }
        })
    }

    fn outcome(agent: &Agent) -> (Result<()>, String) {
        let mut out = Vec::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fs::write(&path, "version = 1\nhostname = \"lb\"\n").unwrap();
        let result = run(Some(&path), &Classes::default(), false, agent, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_agent_that_does_nothing_is_found_out() {
        let (result, _) = outcome(&*pretend(|_| 0));
        assert!(result.unwrap_err().problem().contains("the guest has its name"));
    }

    #[test]
    fn an_agent_that_writes_again_is_found_out() {
        let (result, text) = outcome(&*pretend(|root| {
            fs::remove_file(root.join("etc/hostname")).unwrap();
            fs::write(root.join("etc/hostname"), "lb\n").unwrap();
            0
        }));
        assert!(result.unwrap_err().problem().contains("no file was touched"));
        assert!(text.contains("~ /etc/hostname"), "{text}");
    }

    #[test]
    fn an_agent_that_believes_anything_is_found_out() {
        let (result, _) = outcome(&*pretend(|root| {
            if fs::read(root.join("etc/hostname")).unwrap() != b"lb\n" {
                fs::write(root.join("etc/hostname"), "lb\n").unwrap();
            }
            0
        }));
        assert!(result.unwrap_err().problem().contains("exit code 0, not 11"));
    }

    #[test]
    fn an_agent_that_refuses_gives_its_exit_code() {
        let (result, _) = outcome(&*pretend(|_| 12));
        assert_eq!(result.unwrap_err().class(), error::Class::Invalid);
    }
}
