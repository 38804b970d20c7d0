//! The commands about classes: `handoff class`, `handoff catalog` and `handoff new`.

use super::build::{Source, build};
use super::judge::class_of;
use super::{Catalog, page, schema, skeleton};
use crate::error::{Error, Result};
use crate::operator::output::{self, Readers, unprintable};
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What can be asked about one class.
#[derive(Debug, Subcommand)]
pub enum ClassCommand {
    /// Make the file that an image holds from a class and its templates
    #[command(after_long_help = "Example:\n  handoff class build catalog/haproxy -o image/usr/lib/handoff/class.json")]
    Build(Build),
    /// Print the JSON Schema of settings for a class, with which editors complete and check
    #[command(after_long_help = "Example:\n  handoff class schema haproxy > haproxy.schema.json")]
    Schema(Named),
    /// Print what a class takes, as Markdown
    #[command(after_long_help = "Example:\n  handoff class doc haproxy > catalog/haproxy/README.md")]
    Doc(Named),
}

/// What can be asked about the catalog.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// List the classes that there are
    #[command(after_long_help = "Example:\n  handoff catalog list")]
    List(Where),
    /// Show what a class takes: fields, terminals, volumes
    #[command(after_long_help = "Example:\n  handoff catalog show haproxy")]
    Show(Named),
}

/// `handoff class build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The directory that holds class.toml and the templates
    directory: PathBuf,
    /// Where to write the file; without it, class.json in this directory
    #[arg(short, long, value_name = "FILE", default_value = "class.json")]
    output: PathBuf,
}

/// Where classes are found.
#[derive(Debug, Args)]
pub struct Where {
    /// Where classes are found; without it $HANDOFF_CATALOG, ./catalog, or the built-in ones
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

/// A class, and where it is found.
#[derive(Debug, Args)]
pub struct Named {
    /// A class of the catalog, or the directory of one with a slash in its name
    name: String,
    #[command(flatten)]
    place: Where,
}

/// `handoff new`.
#[derive(Debug, Args)]
pub struct New {
    #[command(flatten)]
    class: Named,
    /// Where to write the settings, a new file; without it, to the standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Does what was asked about a class.
///
/// # Errors
/// There is no such class, it is not good, or a file cannot be written.
pub fn class(asked: ClassCommand, out: &mut dyn Write) -> Result<()> {
    let text = match asked {
        ClassCommand::Build(asked) => return build_class(asked, out),
        ClassCommand::Schema(asked) => schema::text(&class_of(&asked.name, asked.place.catalog.as_deref())?.class),
        ClassCommand::Doc(asked) => page::markdown(&class_of(&asked.name, asked.place.catalog.as_deref())?.class),
    };
    out.write_all(text.as_bytes()).map_err(unprintable)
}

fn build_class(asked: Build, out: &mut dyn Write) -> Result<()> {
    let built = build(&Source::Directory(asked.directory))?;
    output::write(&asked.output, &built.json, Readers::Everybody)?;
    let class = &built.class;
    let counts = [
        (class.fields.len(), "field", "fields"),
        (class.terminals.len(), "terminal", "terminals"),
        (class.templates.len(), "template", "templates"),
    ];
    let counts = counts.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
    writeln!(out, "{}: class {}: {}", asked.output.display(), class.name, counts.join(", ")).map_err(unprintable)
}

/// Does what was asked about the catalog.
///
/// # Errors
/// There is no such catalog or class, or one is not good.
pub fn catalog(asked: CatalogCommand, out: &mut dyn Write) -> Result<()> {
    match asked {
        CatalogCommand::Show(asked) => {
            let built = class_of(&asked.name, asked.place.catalog.as_deref())?;
            out.write_all(page::text(&built.class).as_bytes()).map_err(unprintable)
        }
        CatalogCommand::List(asked) => {
            let catalog = Catalog::open(asked.catalog.as_deref())?;
            let names = catalog.names()?;
            if names.is_empty() {
                let remedy = "name the directory that holds the directories of classes";
                return Err(Error::usage(catalog.name(), "has no class", remedy));
            }
            let width = names.iter().map(String::len).max().unwrap_or(0);
            for name in names {
                let class = catalog.class(&name)?.class;
                let release = class.release.unwrap_or_default();
                writeln!(out, "{name:<width$}  {release:<6}  {}", class.summary).map_err(unprintable)?;
            }
            Ok(())
        }
    }
}

/// Makes settings to begin with.
///
/// # Errors
/// There is no such class, it is not good, or the file is there already or cannot be written.
pub fn new(asked: New, out: &mut dyn Write) -> Result<()> {
    let built = class_of(&asked.class.name, asked.class.place.catalog.as_deref())?;
    let text = skeleton::settings(&built.class);
    match asked.output.filter(|path| path != Path::new("-")) {
        None => out.write_all(text.as_bytes()).map_err(unprintable),
        Some(path) if path.exists() => {
            Err(Error::usage(path.display(), "is there already, and would be lost", "write another file"))
        }
        Some(path) => output::write(&path, text.as_bytes(), Readers::Owner),
    }
}
