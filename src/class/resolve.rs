//! Settings held against a class: on the operator's desk and in the guest by the same code, with the same words.

use super::field::{check_names, remedy_of, settle};
use super::parts::{Condition, Direction, PortOf};
use super::value::{Record, Value};
use super::{Class, GENERIC};
use crate::document::Place;
use crate::error::{Error, Result};
use crate::settings::{Peer, Settings};
use std::fmt::Display;

/// What the fields and terminals of a class are, for one guest's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Each field in the order of the class, with its value where it has one.
    pub fields: Record,
    /// Each terminal in the order of the class, with its peers; an input has none.
    pub terminals: Vec<(String, Vec<Peer>)>,
}

impl Resolved {
    /// The value of a field, where it has one.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).and_then(|(_, value)| value.as_ref())
    }

    /// The peers of a terminal.
    pub fn peers(&self, name: &str) -> &[Peer] {
        self.terminals.iter().find(|(terminal, _)| terminal == name).map_or(&[], |(_, peers)| peers)
    }

    /// Whether a condition holds.
    pub fn holds(&self, condition: &Condition) -> bool {
        let is = match self.value(&condition.name) {
            Some(Value::Boolean(value)) => *value,
            Some(value) => !value.is_empty(),
            None => !self.peers(&condition.name).is_empty(),
        };
        is == condition.wanted
    }

    /// The number of a port; `None` where its field has none.
    pub fn port(&self, port: &PortOf) -> Option<u16> {
        match port {
            PortOf::Number(number) => Some(*number),
            PortOf::Field(name) => match self.value(name) {
                Some(Value::Integer(number)) => u16::try_from(*number).ok(),
                _ => None,
            },
        }
    }
}

impl Class {
    /// Judges settings: are they for this class, do they carry only what it takes, and what are its fields then?
    ///
    /// # Errors
    /// The first thing that is wrong, with its place: [`crate::Class::Invalid`]. A secret is not repeated.
    pub fn resolve(&self, settings: &Settings) -> Result<Resolved> {
        self.check_appliance(settings)?;
        for section in settings.sections() {
            if !self.policy.sections.contains(&section) {
                let problem = format_args!("is a section that the class {} does not take", self.name);
                let remedy = format_args!("take it out; the class takes {}", self.policy.sections.join(", "));
                return Err(Error::invalid(section, problem, remedy));
            }
        }
        Ok(Resolved { fields: self.resolve_fields(settings)?, terminals: self.resolve_terminals(settings)? })
    }

    fn check_appliance(&self, settings: &Settings) -> Result<()> {
        let Some(appliance) = &settings.appliance else { return Ok(()) };
        if appliance.class.as_str() != self.name {
            return Err(Error::invalid(
                "appliance.class",
                format_args!("is `{}`, and the class here is `{}`", appliance.class, self.name),
                "use the settings and the image of one class",
            ));
        }
        match (&appliance.version, &self.release) {
            (Some(wanted), Some(release)) if wanted.as_str() != release => Err(Error::invalid(
                "appliance.version",
                format_args!("is `{wanted}`, and the class `{}` here has release `{release}`", self.name),
                "write settings for this release, or use the other one",
            )),
            _ => Ok(()),
        }
    }

    fn resolve_fields(&self, settings: &Settings) -> Result<Record> {
        let fields = &settings.fields;
        if self.fields.is_empty() && !fields.is_empty() {
            let problem = match self.name.as_str() {
                GENERIC => "are given, and this guest's class declares none".to_owned(),
                name => format!("are given, and the class {name} declares none"),
            };
            return Err(Error::invalid("fields", problem, "remove the fields"));
        }
        check_names(&fields.at(), &self.fields, &format!("no field of the class {}", self.name))?;
        settle(
            &self.fields,
            |name| fields.value(name),
            |problem, remedy| Err(invalid("fields", fields.place(), problem, remedy)),
        )
    }

    fn resolve_terminals(&self, settings: &Settings) -> Result<Vec<(String, Vec<Peer>)>> {
        let known: Vec<&str> = self.terminals.iter().map(|terminal| terminal.name.as_str()).collect();
        for given in &settings.terminals {
            if !known.contains(&given.name.as_str()) {
                let problem = format_args!("is no terminal of the class {}", self.name);
                return Err(invalid(&given.path(), given.place, problem, remedy_of(&given.name, &known)));
            }
        }
        // The guest reaches peers by the terminal's name, which therefore can be nobody else's.
        let own = settings.hostname.as_ref().map(|name| name.as_str());
        let others = settings.hosts.iter().flat_map(|entry| &entry.names).map(|name| name.as_str());
        for name in own.into_iter().chain(others) {
            if self
                .terminals
                .iter()
                .any(|terminal| matches!(terminal.direction, Direction::Output { .. }) && terminal.name == name)
            {
                let section = if own == Some(name) { "hostname" } else { "hosts" };
                let problem = format_args!("`{name}` is the name by which the class {} reaches its peers", self.name);
                return Err(Error::invalid(section, problem, "choose another name"));
            }
        }
        let mut terminals = Vec::with_capacity(self.terminals.len());
        for terminal in &self.terminals {
            let given = settings.terminals.iter().find(|given| given.name == terminal.name);
            let peers = given.map(|given| given.peers.clone()).unwrap_or_default();
            let (path, place) = match given {
                Some(given) => (given.path(), given.place),
                None => ("terminals".to_owned(), None),
            };
            match &terminal.direction {
                Direction::Input { .. } if given.is_some() => {
                    let problem = "is an input: others connect to it";
                    return Err(invalid(&path, place, problem, "name this appliance as a peer in their settings"));
                }
                Direction::Input { .. } => {}
                Direction::Output { peers: counts } => {
                    let count = u64::try_from(peers.len()).unwrap_or(u64::MAX);
                    if !counts.contains(&count) {
                        let (least, most) = (counts.start(), counts.end());
                        let problem =
                            format_args!("gives `{}` {count} peers, and not {least} to {most}", terminal.name);
                        let remedy =
                            format_args!("write {least} to {most} of {{ name, address, port }}: {}", terminal.help);
                        return Err(invalid(&path, place, problem, remedy));
                    }
                }
            }
            terminals.push((terminal.name.clone(), peers));
        }
        Ok(terminals)
    }
}

fn invalid(path: &str, place: Option<Place>, problem: impl Display, remedy: impl Display) -> Error {
    match place {
        Some(place) => Error::invalid(format_args!("{path} ({place})"), problem, remedy),
        None => Error::invalid(path, problem, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = r#"{ "version": 1, "class": "web", "release": "2", "policy": { "sections": ["fields", "terminals"] },
        "fields": {
          "mode": { "type": "enum", "values": ["http", "tcp"], "default": "http", "help": "how" },
          "port": { "type": "port", "required": true, "help": "where", "example": 80 },
          "tls": { "type": "boolean", "default": false, "help": "whether" },
          "key": { "type": "secret", "max_length": 5, "required_if": { "field": "tls", "is": true }, "help": "the key" },
          "rows": { "type": "table", "unique": "name", "help": "rows", "columns": {
            "name": { "type": "string", "pattern": "[a-z]+", "required": true, "help": "its name" },
            "token": { "type": "secret", "help": "its token" } } } },
        "terminals": { "db": { "direction": "output", "protocol": "sql", "help": "the database", "min": 1, "max": 1 } } }"#;

    fn resolve(sections: &str) -> Result<Resolved> {
        let settings = Settings::check_text(format!("{{ \"version\": 1, {sections} }}").as_bytes())?;
        Class::parse(CLASS.as_bytes()).unwrap().resolve(&settings)
    }

    const DB: &str = r#""terminals": { "db": [ { "name": "db1", "address": "10.0.0.5", "port": 5432 } ] }"#;

    fn said(sections: &str) -> String {
        resolve(sections).unwrap_err().to_string()
    }

    #[test]
    fn values_keep_their_types_and_defaults_fill_what_is_silent() {
        let resolved =
            resolve(&format!(r#""fields": {{ "port": 8080, "rows": [ {{ "name": "a", "token": "t" }} ] }}, {DB}"#))
                .unwrap();
        assert_eq!(resolved.value("mode"), Some(&Value::Word("http".into())));
        assert_eq!(resolved.value("port"), Some(&Value::Integer(8080)));
        assert_eq!(resolved.value("key"), None);
        let record = vec![
            ("name".to_owned(), Some(Value::Text("a".into()))),
            ("token".to_owned(), Some(Value::Text("t".into()))),
        ];
        assert_eq!(resolved.value("rows"), Some(&Value::Table(vec![record])));
        assert_eq!(resolved.peers("db")[0].port, 5432);
        let condition = |name: &str, wanted| resolved.holds(&Condition { name: name.into(), wanted });
        assert!(condition("db", true) && condition("tls", false) && condition("mode", true) && condition("key", false));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (sections, wanted) in [
            (
                r#""fields": { "port": 1, "prot": 2 }"#,
                "fields.prot (line 1): is no field of the class web; did you mean `port`?",
            ),
            (r#""fields": { "mode": "udp" }"#, "fields.mode (line 1): `udp` is no value of it; write http or tcp"),
            (r#""fields": { "mode": "http" }"#, "fields (line 1): has no `port`; add `port`: where"),
            (r#""fields": { "port": 1, "tls": true }"#, "has no `key`, which must be given when `tls` is true"),
            (
                r#""fields": { "port": 1, "rows": [ { "name": "A" } ] }"#,
                "fields.rows[0].name (line 1): `A` does not have the form",
            ),
            (r#""fields": { "port": 1, "rows": [ {} ] }"#, "fields.rows[0] (line 1): has no `name`"),
            (
                r#""fields": { "port": 1, "rows": [ { "name": "a" }, { "name": "a" } ] }"#,
                "holds the same `name` twice, in records 0 and 1",
            ),
            (
                r#""hostname": "x""#,
                "hostname: is a section that the class web does not take; take it out; the class takes fields, terminals",
            ),
            (r#""fields": { "port": 1 }, "hostname": "db""#, "hostname: is a section"),
            (r#""appliance": { "class": "db" }"#, "appliance.class: is `db`"),
            (
                r#""appliance": { "class": "web", "version": "1" }"#,
                "appliance.version: is `1`, and the class `web` here has release `2`",
            ),
            (r#""fields": { "port": 1 }"#, "terminals: gives `db` 0 peers, and not 1 to 1"),
            (r#""fields": { "port": 1 }, "terminals": { "dd": [] }"#, "terminals.dd"),
        ] {
            // The column is the document reader's own matter.
            let said: String = said(sections)
                .split(", column ")
                .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
                .collect();
            assert!(said.contains(wanted), "{sections}\n{said}\n{wanted}");
        }
    }

    #[test]
    fn the_name_of_a_terminal_is_nobody_elses() {
        let mut class = Class::parse(CLASS.as_bytes()).unwrap();
        class.policy.sections = crate::settings::SECTIONS.to_vec();
        for (section, wanted) in [
            (r#""hostname": "db""#, "hostname: `db` is the name by which"),
            (r#""hosts": [ { "address": "10.0.0.9", "names": ["x", "db"] } ]"#, "hosts: `db` is the name by which"),
        ] {
            let text = format!(r#"{{ "version": 1, {section}, "fields": {{ "port": 1 }}, {DB} }}"#);
            let error = class.resolve(&Settings::check_text(text.as_bytes()).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_wrong_is_not_repeated() {
        for value in [r#""s3cret-too-long""#, "53637", r#"["s3cret"]"#, r#""s3c\u0009""#] {
            let said = said(&format!(r#""fields": {{ "port": 1, "key": {value} }}, {DB}"#));
            assert!(said.contains("fields.key") && !said.contains("s3c") && !said.contains("53637"), "{said}");
        }
    }
}
