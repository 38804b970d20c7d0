//! `handoff-agent`, the program in the guest. As PID 1 it hands off to the real init; otherwise it runs one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    handoff::platform::secure_start();
    let arguments: Vec<_> = std::env::args_os().collect();
    if std::process::id() == 1 {
        handoff::handoff::pid1::run(arguments);
    }
    handoff::platform::keep_files_private();
    let commands: Vec<_> = arguments.into_iter().skip(1).collect();
    if let Some(code) = handoff::handoff::supervise(&commands) {
        return ExitCode::from(code);
    }
    ExitCode::from(handoff::agent::run(commands, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()))
}
