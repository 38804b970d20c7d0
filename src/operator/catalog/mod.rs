//! The operator's catalog of classes: where they are found, and what is made of them.

pub mod build;
pub mod command;
pub mod judge;
pub mod page;
pub mod schema;
pub mod skeleton;
pub mod words;

use crate::error::{Error, Result};
use crate::settings::class_name;
use build::{Built, CLASS_FILE, Source, build};
use std::path::{Path, PathBuf};

/// The variable that names the catalog where no option does.
pub const VARIABLE: &str = "HANDOFF_CATALOG";

/// The catalog that is looked for in the current directory.
const HERE: &str = "catalog";

/// One file of a class that this program carries.
macro_rules! carried {
    ($class:literal: $($file:literal),+) => {
        (concat!("built-in ", $class), $class, &[
            $(($file, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog/", $class, "/", $file)))),+
        ])
    };
}

/// A class that this program carries: what errors call it, its name, its files.
type Carried = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The classes that this program carries.
const BUILT_IN: [Carried; 3] = [
    carried!("haproxy": "class.toml", "haproxy.cfg.j2", "certificate.pem.j2"),
    carried!("nginx": "class.toml", "nginx.conf.j2", "certificate.pem.j2", "private-key.pem.j2", "php-fpm.conf.j2",
        "application.php.j2"),
    carried!("postgresql": "class.toml", "settings.conf.j2", "client.env.j2", "pg_hba.conf.j2", "roles.sql.j2"),
];

/// Where classes are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Catalog {
    /// A directory with one directory for each class.
    Directory(PathBuf),
    /// What this program carries.
    BuiltIn,
}

impl Catalog {
    /// The catalog that is named, else that of `$HANDOFF_CATALOG`, else `./catalog` where it holds a class, else the
    /// one that this program carries.
    ///
    /// # Errors
    /// The one that is named is no directory: [`crate::error::Class::Usage`].
    pub fn open(named: Option<&Path>) -> Result<Self> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        match named.map(Path::to_owned).or(variable) {
            Some(path) if path.is_dir() => Ok(Catalog::Directory(path)),
            Some(path) => {
                Err(Error::usage(path.display(), "is no directory", "name the directory that holds the classes"))
            }
            None => {
                let here = Catalog::Directory(HERE.into());
                Ok(if here.names().is_ok_and(|names| !names.is_empty()) { here } else { Catalog::BuiltIn })
            }
        }
    }

    /// What it is called, for people.
    pub fn name(&self) -> String {
        match self {
            Catalog::Directory(path) => path.display().to_string(),
            Catalog::BuiltIn => "the built-in catalog".to_owned(),
        }
    }

    /// The names of its classes, by the alphabet.
    ///
    /// # Errors
    /// The directory cannot be read: [`crate::error::Class::Usage`].
    pub fn names(&self) -> Result<Vec<String>> {
        let Catalog::Directory(path) = self else {
            return Ok(BUILT_IN.iter().map(|(_, name, _)| (*name).to_owned()).collect());
        };
        let unreadable = |error: std::io::Error| {
            Error::usage(path.display(), format_args!("cannot be read ({error})"), "name a directory that you may read")
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if class_name(&name).is_ok() && entry.path().join(CLASS_FILE).is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A class by its name. `None`: it is not in this catalog.
    ///
    /// # Errors
    /// It is there and is not good, or lies in a directory of another name: [`crate::error::Class::Invalid`].
    pub fn find(&self, name: &str) -> Result<Option<Built>> {
        if class_name(name).is_err() {
            return Ok(None);
        }
        let source = match self {
            Catalog::Directory(path) if path.join(name).join(CLASS_FILE).is_file() => {
                Source::Directory(path.join(name))
            }
            Catalog::Directory(_) => return Ok(None),
            Catalog::BuiltIn => match BUILT_IN.iter().find(|(_, known, _)| *known == name) {
                Some((shown, _, files)) => Source::BuiltIn { name: shown, files },
                None => return Ok(None),
            },
        };
        let built = build(&source)?;
        if built.class.name != name {
            let problem = format!("lies in the directory of a class `{name}`");
            let remedy = "call the directory like the class";
            return Err(Error::invalid(format_args!("the class {}", built.class.name), problem, remedy));
        }
        Ok(Some(built))
    }

    /// A class by its name, which must be there.
    ///
    /// # Errors
    /// It is not there ([`crate::error::Class::Usage`]), or not good.
    pub fn class(&self, name: &str) -> Result<Built> {
        if let Some(built) = self.find(name)? {
            return Ok(built);
        }
        let names = self.names()?.join(", ");
        let problem = format_args!("is no class of {}", self.name());
        Err(Error::usage(name, problem, format_args!("name one of {names}, or another catalog with --catalog")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_that_is_carried_is_good_and_whole() {
        for name in Catalog::BuiltIn.names().unwrap() {
            let carried = Catalog::BuiltIn.class(&name).unwrap();
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(HERE);
            let written = Catalog::Directory(directory).class(&name).unwrap();
            assert_eq!(carried.json, written.json, "{name}");
        }
    }

    #[test]
    fn a_class_that_is_not_there_is_told_from_one_that_is_not_good() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(Some(dir.path())).unwrap();
        assert!(catalog.find("web").unwrap().is_none());
        assert!(catalog.find("../web").unwrap().is_none());
        std::fs::create_dir(dir.path().join("web")).unwrap();
        std::fs::write(dir.path().join("web/class.toml"), "version = 2").unwrap();
        assert!(catalog.find("web").is_err());
        let other = "version = 1\nclass = \"other\"\nsummary = \"x\"\n";
        std::fs::write(dir.path().join("web/class.toml"), other).unwrap();
        assert!(catalog.find("web").unwrap_err().to_string().contains("lies in the directory of a class `web`"));
        assert_eq!(catalog.names().unwrap(), ["web"]);
        assert!(Catalog::open(Some(&dir.path().join("none"))).is_err());
    }
}
