//! The agent as PID 1: the parent.
//!
//! The kernel panics when PID 1 ends. So the parent does nothing that can go wrong: it starts a child that does the work,
//! waits for it with a deadline, and then becomes the real init by `exec`. It parses nothing and mounts nothing. Where the
//! boot must stop and no init has a place to stop in, it says so and waits, for good.

use super::child;
use crate::platform;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the child may take in all. The longest wait for settings that a class may ask for is 90 s.
const DEADLINE: Duration = Duration::from_secs(150);
/// How long it may take to decide what to do after that.
const GIVE_UP_DEADLINE: Duration = Duration::from_secs(10);
/// Where the image keeps the agent, for when the kernel does not say.
const SELF: &str = "/usr/sbin/handoff-agent";
/// The unit in which the boot ends when it must stop.
const STOPPED: &str = "--unit=handoff-stopped.target";

/// Runs the child, then becomes the init. Never returns: where nothing can be executed, it waits.
///
/// `arguments` are those that the kernel gave, the program's own name first; they are passed on to the init.
pub fn run(arguments: Vec<OsString>) -> ! {
    let own = match arguments.first() {
        Some(name) if Path::new(name).is_absolute() => PathBuf::from(name),
        _ => PathBuf::from(SELF),
    };
    // The child gets no environment. The words of the kernel's command line that it does not know are there: the init needs them.
    let child = |command: &str, deadline| child::run(&own, &[command, "--pid1"].map(OsStr::new), deadline);
    let goes_on = child("boot", DEADLINE).or_else(|| child("give-up", GIVE_UP_DEADLINE)).is_some_and(goes_on);
    let rest: Vec<OsString> = arguments.into_iter().skip(1).collect();
    for init in inits(&own) {
        let mut command = Command::new(&init);
        command.args(&rest);
        if !goes_on {
            // Only systemd has a place to stop in. Another init would go on with the boot, so it is not started.
            if !platform::is_systemd(&init) {
                continue;
            }
            command.arg(STOPPED);
        }
        let error = command.exec();
        platform::console(&format!("handoff: {}: cannot be started: {error}; trying the next init", init.display()));
    }
    platform::console(match goes_on {
        true => "handoff: no init could be started; build the image again with a working /sbin/init",
        // Without this line a machine that has stopped looks like one that hangs.
        false => {
            "handoff: the boot stops here, for the reason above, and this machine waits: no init that has a place to stop \
             in (systemd) could be started; give it other settings, and start it again"
        }
    });
    platform::wait_forever()
}

fn goes_on(code: u8) -> bool {
    code == 0 || code == crate::error::Class::LastGood.exit_code()
}

/// The inits to try, in order: the one that the class names, which the child left us, then the usual ones. Never the agent
/// itself.
fn inits(own: &Path) -> Vec<PathBuf> {
    let usual = ["/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/etc/init", "/bin/init"];
    let mut inits: Vec<PathBuf> = platform::read_init().into_iter().map(PathBuf::from).collect();
    inits.extend(usual.iter().map(PathBuf::from));
    inits.retain(|init| !platform::is_same_file(init, own));
    inits
}
