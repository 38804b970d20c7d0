//! `handoff`, the operator's tool.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os();
    ExitCode::from(handoff::operator::command::run(arguments, &mut io::stdout().lock(), &mut io::stderr().lock()))
}
