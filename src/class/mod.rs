//! What the image declares about itself: `/usr/lib/handoff/class.json`, baked in by whoever builds it.
//!
//! A class declares which fields an operator may set, of which type, and how they become configuration: templates, services,
//! volumes. `handoff class build` makes the file from a `class.toml` and its templates; the agent reads only this one.
//!
//! A guest without that file has the class `generic` with the default policy and no field. Nothing that comes from outside
//! can change the class; a settings disk can never weaken its policy.

mod field;
pub mod notation;
mod parts;
mod policy;
mod resolve;
mod scalar;
mod texts;
mod value;

pub use field::{Field, Kind, Required};
#[cfg(test)]
pub(crate) use parts::MAX_PROBES;
pub use parts::{Condition, Direction, PortOf, Probe, Ready, Template, Terminal, Volume};
pub(crate) use policy::MAX_ATTEMPTS;
pub use policy::{Failure, Policy};
pub use resolve::Resolved;
pub use scalar::{FAMILIES, Family, MAX_TEXT, Scalar, TYPES};
pub use texts::Pattern;
pub use value::{Record, Value};

use crate::document::{self, At, Format, Node};
use crate::error::{Error, Result};
use crate::guest::{GuestPath, View};
use crate::settings::{UnitName, class_name, class_release};

/// Where the class is baked in.
pub const CLASS_PATH: &str = "/usr/lib/handoff/class.json";

/// The name of the class of an image that has none.
pub const GENERIC: &str = "generic";

/// What an appliance declares about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name; `generic` where the image has none.
    pub name: String,
    /// Which release of the class it is, where it says; settings may ask for one.
    pub release: Option<String>,
    /// What the appliance is, in one line.
    pub summary: String,
    /// The same at length.
    pub description: String,
    /// What it demands of settings.
    pub policy: Policy,
    /// Its fields, in the order in which they are declared.
    pub fields: Vec<Field>,
    /// Its terminals.
    pub terminals: Vec<Terminal>,
    /// The files that are made of the fields.
    pub templates: Vec<Template>,
    /// The units that are enabled.
    pub services: Vec<UnitName>,
    /// Its data volumes.
    pub volumes: Vec<Volume>,
    /// When it does its work.
    pub ready: Option<Ready>,
}

impl Default for Class {
    fn default() -> Self {
        Class {
            name: GENERIC.into(),
            release: None,
            summary: String::new(),
            description: String::new(),
            policy: Policy::default(),
            fields: Vec::new(),
            terminals: Vec::new(),
            templates: Vec::new(),
            services: Vec::new(),
            volumes: Vec::new(),
            ready: None,
        }
    }
}

/// The keys of the file.
pub const KEYS: [&str; 12] = [
    "version",
    "class",
    "release",
    "summary",
    "description",
    "policy",
    "fields",
    "terminals",
    "templates",
    "services",
    "volumes",
    "ready",
];

/// The file as a document. Every key but `version` may be left out.
const FORMAT: Format = Format {
    name: CLASS_PATH,
    depth: Format::DEPTH,
    items: 4096,
    values: 65_536,
    error: |fault| {
        let path = if fault.path.is_empty() { "the file" } else { fault.path };
        let object = format_args!("{CLASS_PATH}: {path}{}", fault.shown_place());
        let remedy = format_args!("build the image again with a good class file: {}", fault.remedy);
        Error::invalid(object, fault.problem, remedy)
    },
};

impl Class {
    /// The class of this guest.
    ///
    /// # Errors
    /// The file is there and cannot be read or understood. It is never taken for absent.
    pub fn load(guest: &dyn View) -> Result<Self> {
        match guest.read(&GuestPath::of(CLASS_PATH))? {
            None => Ok(Self::default()),
            Some(bytes) => Self::parse(&bytes),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not a class file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::read(&document::read(bytes, &FORMAT)?, &FORMAT)
    }

    /// Reads a class from a document, whatever notation it was written in. `format` says how errors sound.
    ///
    /// # Errors
    /// It is not a class of version 1.
    pub fn read(document: &Node, format: &'static Format) -> Result<Self> {
        let table = At::document(document, format).table(&KEYS)?;
        table.required("version", |at| at.integer(1..=1))?;
        let mut class = Class::default();
        if let Some(name) = table.optional("class", |at| at.parsed(class_name))? {
            class.name = name.as_str().to_owned();
        }
        class.release = table.optional("release", |at| at.parsed(class_release))?.map(|text| text.as_str().to_owned());
        if let Some(summary) = table.optional("summary", |at| at.line(200))? {
            class.summary = summary.as_str().to_owned();
        }
        if let Some(text) = table.optional("description", |at| at.text_of_any_form())? {
            class.description = text.to_owned();
        }
        if let Some(at) = table.get("policy") {
            class.policy.read(&at)?;
        }
        if let Some(at) = table.get("fields") {
            class.fields = field::declared_all(&at, false)?;
        }
        if let Some(at) = table.get("terminals") {
            for entry in at.entries()? {
                let terminal = Terminal::declared(&entry.key, &at.value_of(entry), &class.fields)?;
                if class.fields.iter().any(|field| field.name == terminal.name) {
                    return at.value_of(entry).refuse("has the name of a field", "give it another name");
                }
                class.terminals.push(terminal);
            }
        }
        class.templates =
            table.list("templates", 256, |at| Template::declared(&at, &class.fields, &class.terminals))?;
        class.services =
            table.list("services", 64, |at| at.table(&["name"])?.required("name", |at| at.parsed(UnitName::parse)))?;
        if let Some(at) = table.get("volumes") {
            for entry in at.entries()? {
                let volume = Volume::declared(&entry.key, &at.value_of(entry))?;
                if class.volumes.iter().any(|other| other.device == volume.device || other.mount == volume.mount) {
                    return at.value_of(entry).refuse("has the device or the place of another", "give each its own");
                }
                class.volumes.push(volume);
            }
        }
        class.ready = table.optional("ready", |at| Ready::declared(&at, &class.fields))?;
        for (index, template) in class.templates.iter().enumerate() {
            if class.templates.iter().take(index).any(|other| other.target == template.target) {
                let path = format!("templates[{index}].target");
                let at = At::part(document, path, format);
                return at.refuse("is the target of another template", "give each a file of its own");
            }
        }
        Ok(class)
    }

    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Tree;
    use crate::source::Spec;
    use crate::trust::Requirement;

    #[test]
    fn an_image_without_a_class_demands_a_signature() {
        let class = Class::load(&Tree::new()).unwrap();
        assert_eq!(class, Class::default());
        assert_eq!(class.policy.trust, Requirement::Signature);
        assert!(class.policy.required);
    }

    #[test]
    fn what_is_written_is_taken() {
        let text = r#"{ "version": 1, "class": "haproxy", "policy": { "trust": "digest", "settings": "optional",
            "sources": ["file:/seed"], "wait_seconds": 0, "failure": "continue", "attempts": 10, "init": "/init" } }"#;
        let class = Class::parse(text.as_bytes()).unwrap();
        assert_eq!((class.name.as_str(), class.policy.trust), ("haproxy", Requirement::Digest));
        assert!(!class.policy.required);
        assert_eq!((class.policy.failure, class.policy.attempts), (Failure::Continue, 10));
        assert_eq!(class.policy.sources, [Spec::File("/seed".into())]);
    }

    #[test]
    fn no_volume_holds_or_hides_what_the_program_relies_on() {
        let class = |mount: &str| {
            let text = format!(r#"{{"version":1,"volumes":{{"data":{{"serial":"data","mount":"{mount}"}}}}}}"#);
            Class::parse(text.as_bytes())
        };
        for mount in ["/srv", "/srv/data", "/var/lib/postgresql", "/var/lib/handoff-data", "/home"] {
            assert!(class(mount).is_ok(), "{mount}");
        }
        for mount in
            ["/var", "/var/lib", "/var/lib/handoff", "/var/lib/handoff/x", "/etc", "/usr", "/usr/lib", "/run/x"]
        {
            let error = class(mount).unwrap_err();
            assert!(error.to_string().contains("volumes.data.mount"), "{error}");
        }
    }

    #[test]
    fn a_broken_class_is_never_taken_for_none() {
        let texts = [
            "",
            "{}",
            r#"{"version":2}"#,
            r#"{"version":1,"polcy":{}}"#,
            r#"{"version":1,"policy":{"trust":"maybe"}}"#,
            r#"{"version":1,"policy":{"wait_seconds":91}}"#,
            r#"{"version":1,"policy":{"sources":[]}}"#,
            r#"{"version":1,"policy":{"failure":"ignore"}}"#,
            r#"{"version":1,"policy":{"attempts":0}}"#,
            r#"{"version":1,"policy":{"attempts":11}}"#,
        ];
        for text in texts {
            assert_eq!(Class::parse(text.as_bytes()).unwrap_err().class().exit_code(), 12, "{text}");
        }
    }
}
