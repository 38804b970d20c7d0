//! The command line of `handoff-agent`.

use crate::error::{Error, Result};
use crate::source::Spec;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The text of `handoff-agent help`.
pub const HELP: &str = "\
handoff-agent: configures this guest from its settings

Usage: handoff-agent [OPTIONS] COMMAND

Commands:
  plan [--diff]     show what would be changed; with --diff also which lines
  apply             change it
  status [--json]   show what was applied, when, what is on trial or was left, and what was edited by hand since
  log [--json] [N]  show the generations that are kept and what became of them; of generation N each path it changed
  get [FIELD]       print a field of the appliance, or all of them; secret ones only as root
  sources           list the disks, and which of them holds settings
  rollback [N]      go back to the generation before, or to generation N
  reset             give everything back and forget it, so that this guest can be copied
  boot              what the init runs early in boot: wait, verify, apply, by the policy of the image
  wait              what the init runs where the boot is stopped: show why, and wait for corrected settings
  ready             wait until the appliance does what it is for, as its class says, and say so
  help, version

Options:
  --root DIR        configure the guest below DIR instead of this one; everything is read below DIR
  --source SPEC     auto, disk:/dev/vdb, or file:PATH (a container, an ISO or FAT image, or a settings.json
                    with its settings.json.sig beside it)
  --against N       with plan: the settings of generation N, which are kept here, instead of those of a source
  --wait SECONDS    how long to wait for settings (by hand: 0; at boot: what the policy says)

As PID 1 (init=/usr/sbin/handoff-agent) it takes no command: it applies the settings and starts the init.

Exit codes: 0 done or nothing to do; 2 usage; 10 no settings where some are required; 11 not verified; 12 invalid;
13 not applied, nothing changed; 14 running on the last good settings; 1 a bug.
";

/// A command line that has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arguments {
    /// `--root`, `/` by default.
    pub root: PathBuf,
    /// `--source`.
    pub source: Option<Spec>,
    /// `--wait`.
    pub wait: Option<Duration>,
    /// The command.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// `help`
    Help,
    /// `version`
    Version,
    /// `boot`; with `--pid1` as the child of PID 1, with `--supervised` as that of the service.
    Boot {
        /// Whether it is the child of the agent as PID 1.
        pid1: bool,
    },
    /// `give-up`: decides how the boot goes on when `boot` did not end in time; with `--pid1` for PID 1.
    GiveUp {
        /// Whether it is the child of the agent as PID 1.
        pid1: bool,
    },
    /// `wait`
    Wait,
    /// `ready`
    Ready,
    /// `plan`
    Plan {
        /// Whether the changed lines are shown.
        diff: bool,
        /// The generation whose settings are meant; `None`: those of the sources.
        against: Option<u64>,
    },
    /// `apply`
    Apply,
    /// `status`
    Status {
        /// Whether it is printed for programs.
        json: bool,
    },
    /// `log`
    Log {
        /// Which generation; `None`: all that are kept.
        generation: Option<u64>,
        /// Whether it is printed for programs.
        json: bool,
    },
    /// `get`
    Get {
        /// Which field; `None`: all.
        field: Option<String>,
        /// Whether it is printed for programs.
        json: bool,
    },
    /// `sources`
    Sources,
    /// `rollback`
    Rollback {
        /// To which generation; `None`: the one before.
        generation: Option<u64>,
    },
    /// `reset`
    Reset,
}

impl Arguments {
    /// Reads a command line, without the program's own name.
    ///
    /// # Errors
    /// [`crate::Class::Usage`].
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut root, mut source, mut wait, mut against) = (None, None, None, None);
        let (mut diff, mut json, mut pid1, mut supervised) = (false, false, false, false);
        let mut words: Vec<String> = Vec::new();
        while let Some(argument) = parser.next().map_err(wrong)? {
            match argument {
                Long("root") => root = Some(PathBuf::from(parser.value().map_err(wrong)?)),
                Long("source") => source = Some(text(parser.value().map_err(wrong)?)?.parse::<Spec>()?),
                Long("wait") => wait = Some(seconds(&text(parser.value().map_err(wrong)?)?)?),
                Long("against") => against = Some(generation(&text(parser.value().map_err(wrong)?)?)?),
                Long("diff") => diff = true,
                Long("json") => json = true,
                Long("pid1") => pid1 = true,
                Long("supervised") => supervised = true,
                Long("help") | Short('h') => words.insert(0, "help".into()),
                Long("version") | Short('V') => words.insert(0, "version".into()),
                Value(word) if words.len() < 2 => words.push(text(word)?),
                other => return Err(wrong(other.unexpected())),
            }
        }
        let mut words = words.into_iter();
        let Some(name) = words.next() else {
            return Err(usage("no command is given"));
        };
        let operand = words.next();
        let command = match name.as_str() {
            "help" => Command::Help,
            "version" => Command::Version,
            "boot" => Command::Boot { pid1 },
            "give-up" => Command::GiveUp { pid1 },
            "wait" => Command::Wait,
            "ready" => Command::Ready,
            "plan" => Command::Plan { diff, against },
            "apply" => Command::Apply,
            "status" => Command::Status { json },
            "log" => Command::Log { generation: operand.as_deref().map(generation).transpose()?, json },
            "get" => Command::Get { field: operand.clone(), json },
            "sources" => Command::Sources,
            "reset" => Command::Reset,
            "rollback" => Command::Rollback { generation: operand.as_deref().map(generation).transpose()? },
            _ => return Err(usage(&format!("there is no command `{name}`"))),
        };
        for (option, is_given) in [
            ("--source", source.is_some()),
            ("--wait", wait.is_some()),
            ("--against", against.is_some()),
            ("--diff", diff),
            ("--json", json),
            ("--pid1", pid1),
            ("--supervised", supervised),
            ("--root", root.as_deref().is_some_and(|root| root != Path::new("/"))),
            ("", operand.is_some()),
        ] {
            if is_given && !takes(&command, option) {
                let what = if option.is_empty() { "another word" } else { option };
                return Err(usage(&format!("`{name}` takes no {what}")));
            }
        }
        let root = root.unwrap_or_else(|| PathBuf::from("/"));
        Ok(Arguments { root, source, wait, command })
    }
}

/// Whether an option means anything to a command; an empty one is its operand. What would be ignored is refused.
fn takes(command: &Command, option: &str) -> bool {
    use Command::{Apply, Boot, Get, GiveUp, Help, Log, Plan, Ready, Rollback, Sources, Status, Version, Wait};
    match option {
        // What is kept is in no source, and nobody waits for it.
        "--source" => matches!(command, Plan { against: None, .. } | Apply | Boot { .. } | Wait),
        "--wait" => matches!(command, Plan { against: None, .. } | Apply | Boot { .. }),
        "--against" | "--diff" => matches!(command, Plan { .. }),
        "--json" => matches!(command, Status { .. } | Get { .. } | Log { .. }),
        "--pid1" => matches!(command, Boot { .. } | GiveUp { .. }),
        "--supervised" => matches!(command, Boot { .. }),
        // A boot sets the live host name, names cards and writes below /run; `ready` asks the ports of this machine, and
        // `sources` its disks.
        "--root" => !matches!(command, Boot { .. } | GiveUp { .. } | Wait | Ready | Sources),
        _ => matches!(command, Rollback { .. } | Get { .. } | Log { .. } | Help | Version),
    }
}

fn generation(word: &str) -> Result<u64> {
    word.parse().map_err(|_| usage("a generation is given by its number, as `handoff-agent log` shows it"))
}

fn usage(problem: &str) -> Error {
    Error::usage("command line", problem, "see `handoff-agent help`")
}

fn wrong(error: lexopt::Error) -> Error {
    usage(&error.to_string())
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|_| usage("a word is not UTF-8"))
}

fn seconds(word: &str) -> Result<Duration> {
    match word.parse::<u64>() {
        Ok(seconds) if seconds <= 3600 => Ok(Duration::from_secs(seconds)),
        _ => Err(usage("--wait takes seconds, 0 to 3600")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        let plan = parse("--root /x plan --diff --source file:/y --wait 3").unwrap();
        assert_eq!(plan.root, PathBuf::from("/x"));
        assert_eq!(plan.command, Command::Plan { diff: true, against: None });
        assert_eq!(plan.wait, Some(Duration::from_secs(3)));
        assert_eq!(parse("rollback 3").unwrap().command, Command::Rollback { generation: Some(3) });
        assert_eq!(parse("status").unwrap().root, PathBuf::from("/"));
    }

    #[test]
    fn a_boot_is_of_this_machine_alone() {
        for line in ["--root /x boot", "boot --pid1 --root x", "give-up --root /x", "wait --root /x", "ready --root /x"]
        {
            let error = parse(line).unwrap_err();
            assert_eq!(error.class().exit_code(), 2, "{line}: {error}");
            assert!(error.problem().contains("takes no --root"), "{line}: {error}");
        }
        assert!(parse("--root / boot").is_ok());
    }

    #[test]
    fn what_a_command_would_ignore_is_a_usage_error_that_names_it() {
        for (line, option) in [
            ("status --wait 3", "--wait"),
            ("reset --source auto", "--source"),
            ("rollback --source auto", "--source"),
            ("rollback 2 --wait 3", "--wait"),
            ("get --source auto", "--source"),
            ("ready --wait 3", "--wait"),
            ("wait --wait 3", "--wait"),
            ("log --diff", "--diff"),
            ("apply --against 1", "--against"),
            ("plan --against 1 --source auto", "--source"),
            ("plan --against 1 --wait 3", "--wait"),
            ("plan --json", "--json"),
            ("sources --root /x", "--root"),
            ("boot --root /x", "--root"),
            ("status 3", "another word"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.class().exit_code(), 2, "{line}: {error}");
            assert!(error.problem().ends_with(&format!("takes no {option}")), "{line}: {error}");
        }
        for line in ["boot --wait 3 --source auto", "wait --source auto", "plan --against 1 --diff", "log 1 --json"] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_a_usage_error() {
        for line in [
            "",
            "aply",
            "apply --diff",
            "plan x",
            "rollback x",
            "rollback -1",
            "plan --wait -1",
            "plan --what",
            "plan --source usb:1",
            "plan --against x",
            "log x",
            "log 1 2",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.class().exit_code(), 2, "{line}: {error}");
        }
    }
}
