//! The commands about classes: `handoff class` and `handoff catalog`.

use super::build::{Source, build};
use crate::error::Result;
use crate::operator::output::{self, Readers, unprintable};
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;

/// What can be asked about a class.
#[derive(Debug, Subcommand)]
pub enum ClassCommand {
    /// Make the file that an image holds from a class and its templates
    #[command(after_long_help = "Example:\n  handoff class build catalog/haproxy -o image/usr/lib/handoff/class.json")]
    Build(Build),
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

/// Does what was asked about a class.
///
/// # Errors
/// There is no such class, it is not good, or a file cannot be written.
pub fn class(asked: ClassCommand, out: &mut dyn Write) -> Result<()> {
    match asked {
        ClassCommand::Build(asked) => {
            let built = build(&Source::Directory(asked.directory))?;
            output::write(&asked.output, &built.json, Readers::Everybody)?;
            let class = &built.class;
            writeln!(
                out,
                "{}: class {}, {} fields, {} templates",
                asked.output.display(),
                class.name,
                class.fields.len(),
                class.templates.len()
            )
            .map_err(unprintable)
        }
    }
}
