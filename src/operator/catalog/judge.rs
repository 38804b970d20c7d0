//! Settings held against their class on the operator's desk: by the code of the guest, with the guest's words.

use super::Catalog;
use super::build::{Built, CLASS_FILE, Source, build, read_built};
use crate::class::Class;
use crate::error::{Error, Result};
use crate::render::appliance;
use crate::settings::Settings;
use clap::Args;
use std::path::{Path, PathBuf};

/// Where the class of settings is found.
#[derive(Clone, Debug, Default, Args)]
pub struct Classes {
    /// Judge against this class: the directory of one, or what `handoff class build` made
    #[arg(long, value_name = "PATH")]
    class: Option<PathBuf>,
    /// Where classes are found; without it $HANDOFF_CATALOG, ./catalog, or the built-in ones
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

/// What came of looking for a class.
#[derive(Clone, Debug)]
pub enum Found {
    /// The class that judges.
    Class(Box<Built>),
    /// There is none, and nothing that it would have to judge.
    NotNeeded,
    /// There is none, for this reason, and something stays unjudged.
    Missing(String),
}

impl Found {
    /// The class, where it was found.
    pub fn class(&self) -> Option<&Class> {
        match self {
            Found::Class(built) => Some(&built.class),
            _ => None,
        }
    }
}

impl Classes {
    /// The class that settings name, or that the command line names.
    ///
    /// # Errors
    /// It is there and not good, or what the command line names is not there.
    pub fn find(&self, settings: &Settings) -> Result<Found> {
        let named = settings.appliance.as_ref().map(|appliance| appliance.class.as_str());
        if let Some(path) = &self.class {
            return class_at(path).map(|built| Found::Class(Box::new(built)));
        }
        let Some(name) = named else {
            let unjudged = !settings.fields.is_empty() || !settings.terminals.is_empty();
            return Ok(match unjudged {
                true => Found::Missing("no `appliance.class` is given".to_owned()),
                false => Found::NotNeeded,
            });
        };
        let catalog = Catalog::open(self.catalog.as_deref())?;
        Ok(match catalog.find(name)? {
            Some(built) => Found::Class(Box::new(built)),
            None => Found::Missing(format!("the class `{name}` is not in {}", catalog.name())),
        })
    }

    /// Holds settings against their class. What is returned has judged them, or says why nothing has.
    ///
    /// # Errors
    /// Like [`Classes::find`], or the settings are not good for the class, in the words of the guest.
    pub fn judge(&self, name: &str, settings: &Settings) -> Result<Found> {
        let found = self.find(settings)?;
        if let Some(class) = found.class() {
            judged(class, settings).map_err(|error| error.within(name))?;
        }
        Ok(found)
    }
}

/// Holds settings against a class: fields, terminals, and what the templates make of them.
///
/// # Errors
/// What is wrong first, in the words of the guest.
pub fn judged(class: &Class, settings: &Settings) -> Result<()> {
    appliance::judge(settings, class, &class.resolve(settings)?)
}

/// The note about settings that no class has judged.
pub fn note(name: &str, reason: &str) -> String {
    format!("{name}: note: {reason}, so fields and terminals were not judged; name the class with --class")
}

/// A class at a path: its directory, its `class.toml`, or what was built of it.
///
/// # Errors
/// It is not there, or not good.
pub fn class_at(path: &Path) -> Result<Built> {
    if path.is_dir() {
        return build(&Source::Directory(path.to_owned()));
    }
    if path.file_name().is_some_and(|name| name == CLASS_FILE) {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return build(&Source::Directory(directory.to_owned()));
    }
    read_built(path)
}

/// A class by its name in a catalog, or, where the name has a slash or is a dot, by its path.
///
/// # Errors
/// It is not there, or not good.
pub fn class_of(name: &str, catalog: Option<&Path>) -> Result<Built> {
    if !name.contains('/') && name != "." {
        return Catalog::open(catalog)?.class(name);
    }
    match Path::new(name).exists() {
        true => class_at(Path::new(name)),
        false => Err(Error::usage(name, "is not there", "name a class of the catalog, or the directory of one")),
    }
}
