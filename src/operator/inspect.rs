//! `handoff inspect`: what a disk holds, who signed it, and whether a given set of keys trusts it.

use super::catalog::judge::{Classes, Found, judged};
use super::output::unprintable;
use super::{mask, written};
use crate::class::Class;
use crate::error::{Error, Result, one_line};
use crate::settings::Settings;
use crate::settings::document::Node;
use crate::source::{self, Places, Spec};
use crate::trust::{Clock, NAMESPACE, Requirement, SettingsSignature, TrustedKeys, verify};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How the findings are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Manner {
    /// Also the settings, with secrets masked.
    pub show: bool,
    /// As JSON, for programs.
    pub json: bool,
}

/// Everything there is to say about a disk.
struct Findings {
    place: String,
    settings_len: usize,
    digest: String,
    signature: Signature,
    /// Whether the given keys trust it, and as whom. `None`: no keys were given.
    trusted: Option<Result<String>>,
    document: Result<Node>,
    settings: Result<Settings>,
    /// The class that judged the settings, where it was found.
    class: Option<Class>,
    /// Why no class judged what only a class can.
    unjudged: Option<String>,
}

enum Signature {
    Absent,
    Broken(Error),
    /// It was read, and fits or not.
    Present {
        key_type: &'static str,
        fingerprint: String,
        len: usize,
        fits: Result<()>,
    },
}

/// Tells what the disk or file at `path` holds. With `keys`, whether they trust it at this moment.
///
/// # Errors
/// Nothing to look at, a signature that does not fit, keys that do not trust it, or settings that are not good. All
/// findings are printed before.
pub fn run(
    path: &Path,
    keys: Option<&TrustedKeys>,
    classes: &Classes,
    manner: Manner,
    out: &mut dyn Write,
) -> Result<()> {
    let findings = look(path, keys, classes)?;
    let text = if manner.json { findings.json(manner) } else { findings.text(manner) };
    out.write_all(text.as_bytes()).map_err(unprintable)?;
    findings.verdict()
}

fn look(path: &Path, keys: Option<&TrustedKeys>, classes: &Classes) -> Result<Findings> {
    let spec = Spec::File(path.to_owned());
    let Some(found) = source::load(&spec, &Places::default())? else {
        return Err(Error::usage(path.display(), "is not there", "name a settings disk or a settings.json"));
    };
    let (blob, place) = (found.blob, found.place);
    let signature = match blob.signature() {
        None => Signature::Absent,
        Some(armored) => match SettingsSignature::parse(&place, armored) {
            Err(error) => Signature::Broken(error),
            Ok(signature) => Signature::Present {
                key_type: signature.key().key_type(),
                fingerprint: signature.key().fingerprint(),
                len: armored.len(),
                fits: signature.check(&place, blob.settings()),
            },
        },
    };
    let document = Node::from_json(blob.settings()).map_err(|error| error.within(&place));
    let settings = match &document {
        Ok(document) => Settings::from_document(document).map_err(|error| error.within(&place)),
        Err(error) => Err(error.clone()),
    };
    let found = match &settings {
        Ok(settings) => classes.find(settings)?,
        Err(_) => Found::NotNeeded,
    };
    let class = found.class().cloned();
    let unjudged = if let Found::Missing(reason) = found { Some(reason) } else { None };
    let settings = settings.and_then(|settings| match &class {
        Some(class) => judged(class, &settings).map(|()| settings).map_err(|error| error.within(&place)),
        None => Ok(settings),
    });
    let (settings_len, digest) = (blob.settings().len(), blob.digest().to_string());
    let trusted = keys.map(|keys| {
        verify(&place, blob, Requirement::Signature, keys, None, now()).map(|verified| verified.authority().to_string())
    });
    Ok(Findings { place, settings_len, digest, signature, trusted, document, settings, class, unjudged })
}

/// The time at the operator's desk, where the clock is believed.
pub fn now() -> Clock {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Clock { now, floor: 0 }
}

impl Findings {
    /// Success, or what is wrong first, the way a guest would ask: trust, then the settings.
    fn verdict(self) -> Result<()> {
        match self.signature {
            Signature::Broken(error) | Signature::Present { fits: Err(error), .. } => return Err(error),
            _ => {}
        }
        self.trusted.transpose()?;
        self.settings.map(drop)
    }

    fn text(&self, manner: Manner) -> String {
        let mut lines = vec![self.place.clone()];
        let mut say = |name: &str, text: String| lines.push(format!("  {name:<10} {text}"));
        say("settings", format!("{} bytes, {}", self.settings_len, self.digest));
        say(
            "signature",
            match &self.signature {
                Signature::Absent => "none".into(),
                Signature::Broken(error) => error.problem().into(),
                Signature::Present { key_type, fingerprint, fits, .. } => {
                    let fits = if fits.is_ok() { "fits" } else { "does NOT fit these settings" };
                    format!("{key_type} {fingerprint}, namespace {NAMESPACE}, {fits}")
                }
            },
        );
        say(
            "trusted",
            match &self.trusted {
                None => "not asked; name the image's keys with --trusted-keys FILE".into(),
                Some(Ok(authority)) => format!("yes, {authority}"),
                Some(Err(error)) => format!("NO: {}", error.problem()),
            },
        );
        match &self.settings {
            Ok(settings) => {
                if let Some(machine) = settings.instance.as_ref().and_then(|instance| instance.machine.as_ref()) {
                    say("machine", machine.to_string());
                }
                say("holds", written::summary(settings));
            }
            Err(error) => say("holds", format!("settings that are NOT good: {}: {}", error.object(), error.problem())),
        }
        if let Some(reason) = &self.unjudged {
            say("not judged", format!("fields and terminals: {reason}"));
        }
        let mut text: String = lines.iter().map(|line| one_line(line) + "\n").collect();
        if let (true, Ok(document)) = (manner.show, &self.document) {
            text.push('\n');
            text.push_str(&mask::shown(document, self.class.as_ref()));
        }
        text
    }

    fn json(&self, manner: Manner) -> String {
        let problem = |outcome: Option<&Error>| outcome.map_or(Json::Null, |error| Json::from(error.to_string()));
        let signature = match &self.signature {
            Signature::Absent => Json::Null,
            Signature::Broken(error) => json!({ "fits": false, "problem": error.to_string() }),
            Signature::Present { key_type, fingerprint, len, fits } => json!({
                "key_type": key_type,
                "fingerprint": fingerprint,
                "namespace": NAMESPACE,
                "bytes": len,
                "fits": fits.is_ok(),
                "problem": problem(fits.as_ref().err()),
            }),
        };
        let settings = self.settings.as_ref().ok();
        let instance = settings.and_then(|settings| settings.instance.as_ref());
        let appliance = settings.and_then(|settings| settings.appliance.as_ref());
        let mut all = json!({
            "place": self.place,
            "bytes": self.settings_len,
            "digest": self.digest,
            "signature": signature,
            "trusted": self.trusted.as_ref().map(Result::is_ok),
            "trust_problem": problem(self.trusted.as_ref().and_then(|trusted| trusted.as_ref().err())),
            "authority": self.trusted.as_ref().and_then(|trusted| trusted.as_ref().ok()),
            "good": settings.is_some(),
            "problem": problem(self.settings.as_ref().err()),
            "not_judged": self.unjudged,
            "instance": instance.map(|instance| json!({
                "id": instance.id.to_string(),
                "serial": instance.serial,
                "machine": instance.machine.as_ref().map(ToString::to_string),
            })),
            "appliance": appliance.map(|appliance| json!({
                "class": appliance.class.to_string(),
                "version": appliance.version.as_ref().map(ToString::to_string),
            })),
        });
        if let (true, Ok(document), Some(all)) = (manner.show, &self.document, all.as_object_mut()) {
            let shown = serde_json::from_str(&mask::shown(document, self.class.as_ref())).unwrap_or(Json::Null);
            all.insert("settings".into(), shown);
        }
        format!("{all:#}\n")
    }
}
