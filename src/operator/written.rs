//! A settings file as an operator wrote it: JSON, TOML or YAML.

use super::{convert, output, toml, yaml};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::settings::document::Node;
use crate::trust::MAX_BLOB;
use clap::ValueEnum;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// How a settings file is written. What is said of each is also its help on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Notation {
    /// Signed as it is
    Json,
    /// Signed as the JSON that it becomes
    Toml,
    /// Signed as the JSON that it becomes
    Yaml,
}

impl Notation {
    /// The notation that a file's name tells. `None` for another ending.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Notation::Json),
            "toml" => Some(Notation::Toml),
            "yaml" | "yml" => Some(Notation::Yaml),
            _ => None,
        }
    }
}

/// A settings file that was read, and not judged yet.
#[derive(Debug)]
pub struct Written {
    path: PathBuf,
    name: String,
    notation: Notation,
    bytes: Vec<u8>,
    document: Node,
}

impl Written {
    /// Reads a file, or the standard input where the path is `-`. `notation` stands for the ending of the name.
    ///
    /// # Errors
    /// It cannot be read, its notation is not known, or it is broken.
    pub fn read(path: &Path, notation: Option<Notation>) -> Result<Self> {
        let input = path == Path::new("-");
        let name = if input { "standard input".to_owned() } else { path.display().to_string() };
        let Some(notation) = notation.or_else(|| Notation::of(path)) else {
            return Err(match input {
                true => Error::usage(
                    name,
                    "does not tell how it is written",
                    "with `check` and `convert`, say --format json, toml or yaml; for the others name a file",
                ),
                false => Error::usage(
                    name,
                    "does not tell by its name how it is written",
                    "end the name in .json, .toml or .yaml; `check` and `convert` also take --format",
                ),
            });
        };
        let bytes = output::read(path, MAX_BLOB)?;
        let document = document(notation, &bytes).map_err(|error| error.within(&name))?;
        Ok(Written { path: path.to_owned(), name, notation, bytes, document })
    }

    /// The file's name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings, judged by what a guest judges with.
    ///
    /// # Errors
    /// What is wrong first, with its place: [`crate::Class::Invalid`].
    pub fn settings(&self) -> Result<Settings> {
        let settings = Settings::from_document(&self.document).map_err(|error| error.within(&self.name))?;
        if self.json().len() > MAX_BLOB - MAX_SIGNATURE {
            return Err(Error::invalid(
                &self.name,
                format_args!("is larger than {} bytes", MAX_BLOB - MAX_SIGNATURE),
                "make files and lists smaller",
            ));
        }
        Ok(settings)
    }

    /// The bytes that are signed: those of the file if it is JSON, else its conversion.
    pub fn json(&self) -> Cow<'_, [u8]> {
        match self.notation {
            Notation::Json => Cow::Borrowed(&self.bytes),
            Notation::Toml | Notation::Yaml => Cow::Owned(convert::to_json(&self.document)),
        }
    }

    /// The document as JSON in its one fixed form.
    pub fn converted(&self) -> Vec<u8> {
        convert::to_json(&self.document)
    }

    /// The file that holds what is signed: the file itself if it is JSON, else the one beside it that ends in `.json`.
    /// `None` for the standard input.
    pub fn json_path(&self) -> Option<PathBuf> {
        match (self.path == Path::new("-"), self.notation) {
            (true, _) => None,
            (false, Notation::Json) => Some(self.path.clone()),
            (false, _) => Some(self.path.with_extension("json")),
        }
    }

    /// Whether what is signed has to be written into a file of its own.
    pub fn is_converted(&self) -> bool {
        self.notation != Notation::Json
    }
}

/// The room that is left for a signature, in bytes: far more than one needs.
const MAX_SIGNATURE: usize = 4096;

fn document(notation: Notation, bytes: &[u8]) -> Result<Node> {
    if notation == Notation::Json {
        return Node::from_json(bytes);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            return Err(Error::invalid(
                format_args!("settings (line {line})"),
                "is not UTF-8 text",
                "save the file as UTF-8",
            ));
        }
    };
    match notation {
        Notation::Yaml => yaml::parse(text),
        _ => toml::parse(text),
    }
}

/// What settings hold, in a few words: `instance lb-eu-1 serial 7, hostname lb-eu-1, 2 interfaces`.
pub fn summary(settings: &Settings) -> String {
    let mut parts = Vec::new();
    if let Some(instance) = &settings.instance {
        parts.push(format!("instance {} serial {}", instance.id, instance.serial));
    }
    if let Some(appliance) = &settings.appliance {
        let version = appliance.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        parts.push(format!("appliance {}{version}", appliance.class));
    }
    if let Some(hostname) = &settings.hostname {
        parts.push(format!("hostname {hostname}"));
    }
    let interfaces = settings.network.as_ref().map_or(0, |network| network.interfaces.len());
    for (count, one, many) in [
        (interfaces, "interface", "interfaces"),
        (settings.hosts.len(), "hosts line", "hosts lines"),
        (settings.groups.len(), "group", "groups"),
        (settings.users.len(), "user", "users"),
        (settings.services.len(), "service", "services"),
        (settings.files.len(), "file", "files"),
        (settings.fields.len(), "field", "fields"),
    ] {
        match count {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            _ => parts.push(format!("{count} {many}")),
        }
    }
    if parts.is_empty() { "nothing is set".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(name: &str, text: &str) -> Result<Written> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Written::read(&path, None)
    }

    #[test]
    fn json_is_signed_byte_for_byte_and_the_others_as_converted() {
        let text = "{ \"version\":1}";
        assert_eq!(written("a.json", text).unwrap().json(), text.as_bytes());
        for (name, text) in [("a.toml", "version = 1"), ("a.yaml", "version: 1"), ("a.YML", "{version: 1}")] {
            let written = written(name, text).unwrap();
            assert_eq!(written.json().as_ref(), b"{\n  \"version\": 1\n}\n");
            assert!(written.json_path().unwrap().ends_with("a.json"));
        }
    }

    #[test]
    fn an_error_names_the_file_and_the_place_in_every_notation() {
        for (name, text, place) in [
            ("a.json", "{\"version\":1,\n \"hostname\": 7}", "line 2, column 14"),
            ("a.toml", "version = 1\nhostname = 7\n", "line 2, column 12"),
            ("a.yaml", "version: 1\nhostname: 7\n", "line 2, column 11"),
        ] {
            let error = written(name, text).unwrap().settings().unwrap_err().to_string();
            assert!(error.contains(&format!("{name}: hostname ({place})")), "{error}");
        }
    }

    #[test]
    fn a_key_given_twice_is_refused_in_every_notation() {
        for (name, text) in [
            ("a.json", "{\"version\":1,\"hostname\":\"a\",\"hostname\":\"b\"}"),
            ("a.toml", "version = 1\nhostname = \"a\"\nhostname = \"b\"\n"),
            ("a.yaml", "version: 1\nhostname: a\nhostname: b\n"),
        ] {
            let outcome = written(name, text).and_then(|written| written.settings());
            assert!(outcome.is_err(), "{name}");
        }
    }

    #[test]
    fn another_ending_asks_for_the_notation() {
        assert!(written("a.txt", "").unwrap_err().remedy().contains("--format"));
    }

    #[test]
    fn a_file_that_is_no_text_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fs::write(&path, b"version = 1\nhostname = \"\xff\"\n").unwrap();
        assert!(Written::read(&path, None).unwrap_err().object().contains("(line 2)"));
    }
}
