//! What `handoff-agent` does: one function for each command, from the arguments to the exit code.
//!
//! The program itself is a few lines around [`run`]; the operator's tool calls the same function to try settings out.

mod arguments;
mod boot;
mod commands;
mod deferral;
mod get;
mod judgement;
mod log;
mod offer;
mod ready;
mod status;
mod stopped;
mod trial;
#[cfg(test)]
#[cfg(feature = "operator")]
mod trial_tests;

pub use arguments::{Arguments, Command};
pub use status::{Mode, Ready, ReadyState, STATUS_PATH, Status};

use crate::error::{Class, Error, Result};
use crate::root::Root;
use std::ffi::OsString;
use std::io::Write;

/// Runs one command and returns its exit code. Errors are printed on `err`, one line each.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let result = Arguments::parse(arguments).and_then(|arguments| execute(&arguments, out, err));
    result.unwrap_or_else(|error| {
        let _ = writeln!(err, "handoff-agent: {error}");
        error.class().exit_code()
    })
}

fn execute(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let root = || Root::open(&arguments.root);
    match &arguments.command {
        Command::Help => print(out, arguments::HELP),
        Command::Version => print(out, concat!("handoff-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Boot { pid1 } => boot::boot(&root()?, arguments, *pid1, err),
        Command::GiveUp { pid1 } => boot::give_up(&root()?, *pid1, err),
        Command::Wait => stopped::wait(&root()?, arguments, out, err),
        Command::Ready => ready::ready(&root()?, err),
        Command::Plan { diff, against } => commands::plan(&root()?, arguments, *diff, *against, out, err),
        Command::Apply => commands::apply(&root()?, arguments, out, err),
        Command::Status { json } => commands::status(&root()?, arguments, *json, out),
        Command::Log { generation, json } => log::log(&root()?, *generation, *json, out),
        Command::Get { field, json } => get::get(&root()?, field.as_deref(), *json, out),
        Command::Sources => commands::sources(out),
        Command::Rollback { generation } => commands::rollback(&root()?, arguments, *generation, out, err),
        Command::Reset => commands::reset(&root()?, arguments, out, err),
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<u8> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // Whoever reads may stop reading: `handoff-agent plan | head` is no failure.
        Ok(()) => Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(Error::new(Class::Bug, "standard output", error, "give a place that can be written")),
    }
}
