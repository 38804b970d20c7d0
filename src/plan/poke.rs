//! Pokes: the few things that are no file. They follow from the steps, come after them, and are safe to repeat.

use super::Step;
use crate::guest::{Facts, RunningInit};
use crate::settings::{InterfaceKind, Match, Settings};
use std::collections::BTreeSet;
use std::fmt;

/// One thing to tell the running system.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Poke {
    /// Sets the kernel's host name.
    SetHostname(String),
    /// Lets the init read its units again.
    ReloadInit,
    /// Renames a network interface that is down; one that is up keeps its name until the next boot.
    RenameInterface {
        /// Its name now.
        from: String,
        /// Its name in the settings.
        to: String,
    },
    /// Lets the network stack read its files again.
    ReloadNetwork,
    /// Stops a unit that must not run; also takes it out of the boot that is under way.
    Stop(String),
    /// Starts a unit that shall run, without waiting for it.
    Start(String),
    /// Starts a unit again if it runs, because what it reads at its start has changed; without waiting for it.
    Restart(String),
}

impl fmt::Display for Poke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Poke::SetHostname(name) => write!(f, "set the live host name to {name}"),
            Poke::ReloadInit => f.write_str("let the init read its units again"),
            Poke::RenameInterface { from, to } => write!(f, "rename interface {from} to {to}"),
            Poke::ReloadNetwork => f.write_str("let the network stack read its files again"),
            Poke::Stop(unit) => write!(f, "stop {unit}"),
            Poke::Start(unit) => write!(f, "start {unit}"),
            Poke::Restart(unit) => write!(f, "restart {unit} if it runs"),
        }
    }
}

const UNITS: &str = "/etc/systemd/system/";
const NETWORK: &str = "/etc/systemd/network/";
const ENVIRONMENT: &str = "/etc/handoff/environment/";

/// The pokes that follow from these steps, in order. None with `--root`; as PID 1 only what no init does by itself.
pub(super) fn pokes(steps: &[Step], settings: &Settings, facts: &Facts) -> Vec<Poke> {
    let Some(live) = &facts.live else { return Vec::new() };
    let mut pokes = Vec::new();
    if let Some(hostname) = &settings.hostname
        && live.hostname != hostname.as_str()
    {
        pokes.push(Poke::SetHostname(hostname.to_string()));
    }
    if live.init != Some(RunningInit::Systemd) {
        return pokes;
    }
    let touched = |prefix: &str| steps.iter().any(|step| step.path().as_str().starts_with(prefix));
    if touched(UNITS) {
        pokes.push(Poke::ReloadInit);
    }
    for interface in settings.network.iter().flat_map(|network| &network.interfaces) {
        let InterfaceKind::Physical(wanted) = &interface.kind else { continue };
        let found = live.interfaces.iter().find(|there| match wanted {
            Match::Mac(mac) => there.mac.eq_ignore_ascii_case(&mac.to_string()),
            Match::Name(name) => there.name == name.as_str(),
            Match::OwnName => false,
        });
        if let Some(there) = found.filter(|there| there.name != interface.name.as_str() && !there.up) {
            pokes.push(Poke::RenameInterface { from: there.name.clone(), to: interface.name.to_string() });
        }
    }
    if touched(NETWORK) {
        pokes.push(Poke::ReloadNetwork);
    }
    pokes.extend(unit_pokes(steps));
    pokes
}

/// Which units are stopped, started and restarted.
fn unit_pokes(steps: &[Step]) -> Vec<Poke> {
    let mut pokes = BTreeSet::new();
    for step in steps {
        let path = step.path().as_str();
        if let Some(unit) = path.strip_prefix(ENVIRONMENT) {
            pokes.insert(Poke::Restart(unit.into()));
        }
        let Some(below) = path.strip_prefix(UNITS) else { continue };
        match (below.split_once('/'), step) {
            (Some((directory, unit)), step) if directory.ends_with(".wants") || directory.ends_with(".requires") => {
                match step {
                    Step::WriteLink { before: None, .. } => pokes.insert(Poke::Start(unit.into())),
                    Step::Remove { .. } => pokes.insert(Poke::Stop(unit.into())),
                    _ => false,
                };
            }
            (Some((directory, _)), _) => {
                if let Some(unit) = directory.strip_suffix(".d") {
                    pokes.insert(Poke::Restart(unit.into()));
                }
            }
            (None, Step::WriteLink { target, .. }) if target == "/dev/null" => {
                pokes.insert(Poke::Stop(below.into()));
            }
            (None, _) => {}
        }
    }
    // A unit that is started anew reads everything anew; one that is stopped is not started again by another line.
    let stopped: BTreeSet<String> = pokes
        .iter()
        .filter_map(|poke| match poke {
            Poke::Stop(unit) => Some(unit.clone()),
            _ => None,
        })
        .collect();
    pokes
        .into_iter()
        .filter(|poke| !matches!(poke, Poke::Start(unit) | Poke::Restart(unit) if stopped.contains(unit)))
        .collect()
}
