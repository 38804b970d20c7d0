//! Pokes: the few things that are no file. They follow from the steps, come after them, and are safe to repeat.

use super::{Incoming, Step};
use crate::class::Class;
use crate::guest::{Facts, GuestPath, RunningInit};
use crate::settings::{InterfaceKind, Match};
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
    /// Lets a unit read its files again if it runs; without waiting for it.
    Reload(String),
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
            Poke::Reload(unit) => write!(f, "reload {unit} if it runs"),
            Poke::Restart(unit) => write!(f, "restart {unit} if it runs"),
        }
    }
}

const UNITS: &str = "/etc/systemd/system/";
const NETWORK: &str = "/etc/systemd/network/";
const FSTAB: &str = "/etc/fstab";
const ENVIRONMENT: &str = "/etc/handoff/environment/";

/// The pokes that follow from these steps, in order. None with `--root`; as PID 1 only what no init does by itself.
pub(super) fn pokes(steps: &[Step], incoming: &Incoming<'_>, facts: &Facts) -> Vec<Poke> {
    let Incoming { settings, class, .. } = *incoming;
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
    if touched(UNITS) || touched(FSTAB) {
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
    if touched(FSTAB) {
        pokes.extend(class.volumes.iter().map(|volume| Poke::Start(mount_unit(&volume.mount))));
    }
    pokes.extend(unit_pokes(steps, class));
    pokes
}

/// Whether systemctl takes this for the name of one unit: an option or a pattern would mean something else. Only `files` can
/// make such a path.
fn is_unit(name: &str) -> bool {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.' | b'@' | b':' | b'\\');
    !name.starts_with('-') && name.bytes().all(good)
}

/// Which units are stopped, started and restarted.
fn unit_pokes(steps: &[Step], class: &Class) -> Vec<Poke> {
    let mut pokes = Vec::new();
    for step in steps {
        let path = step.path().as_str();
        for template in class.templates.iter().filter(|template| template.target == *step.path()) {
            pokes.extend(template.reload.iter().map(|unit| Poke::Reload(unit.to_string())));
            pokes.extend(template.restart.iter().map(|unit| Poke::Restart(unit.to_string())));
        }
        if let Some(unit) = path.strip_prefix(ENVIRONMENT) {
            pokes.push(Poke::Restart(unit.into()));
        }
        let Some(below) = path.strip_prefix(UNITS) else { continue };
        match (below.split_once('/'), step) {
            (Some((directory, unit)), step) if directory.ends_with(".wants") || directory.ends_with(".requires") => {
                match step {
                    Step::WriteLink { before: None, .. } => pokes.push(Poke::Start(unit.into())),
                    Step::Remove { .. } => pokes.push(Poke::Stop(unit.into())),
                    _ => {}
                };
            }
            (Some((directory, _)), _) => {
                if let Some(unit) = directory.strip_suffix(".d") {
                    pokes.push(Poke::Restart(unit.into()));
                }
            }
            (None, Step::WriteLink { target, .. }) if target == "/dev/null" => {
                pokes.push(Poke::Stop(below.into()));
            }
            (None, _) => {}
        }
    }
    // A unit that is started anew reads everything anew; one that is stopped is not started again by another line.
    pokes.sort();
    pokes.dedup();
    let stopped: Vec<String> = pokes
        .iter()
        .filter_map(|poke| match poke {
            Poke::Stop(unit) => Some(unit.clone()),
            _ => None,
        })
        .collect();
    let anew: Vec<String> = pokes
        .iter()
        .filter_map(|poke| match poke {
            Poke::Start(unit) | Poke::Restart(unit) => Some(unit.clone()),
            _ => None,
        })
        .collect();
    let speaks_of_one = |poke: &Poke| match poke {
        Poke::Start(unit) | Poke::Stop(unit) | Poke::Reload(unit) | Poke::Restart(unit) => is_unit(unit),
        _ => true,
    };
    pokes
        .into_iter()
        .filter(speaks_of_one)
        .filter(|poke| !matches!(poke, Poke::Start(unit) | Poke::Reload(unit) | Poke::Restart(unit) if stopped.contains(unit)))
        .filter(|poke| !matches!(poke, Poke::Reload(unit) if anew.contains(unit)))
        .collect()
}

/// The unit that mounts something at this path: systemd.unit(5), "String escaping for inclusion in unit names".
fn mount_unit(path: &GuestPath) -> String {
    let mut unit = String::new();
    for (index, part) in path.components().enumerate() {
        if index > 0 {
            unit.push('-');
        }
        for (at, c) in part.char_indices() {
            let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | ':') || (c == '.' && (index > 0 || at > 0));
            if plain { unit.push(c) } else { c.to_string().bytes().for_each(|b| unit.push_str(&format!("\\x{b:02x}"))) }
        }
    }
    unit.push_str(".mount");
    unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{File, Owner};
    use crate::guest::{Interface, Live, Node};
    use crate::settings::Settings;

    const SETTINGS: &str = r#"{ "version": 1, "hostname": "lb-1", "network": { "interfaces": [
        { "name": "front", "match": { "mac": "52:54:00:12:34:56" }, "dhcp": "ipv4" },
        { "name": "back", "match": { "mac": "52:54:00:12:34:57" }, "dhcp": "ipv4" } ] } }"#;

    const CLASS: &str = r#"{ "version": 1, "templates": [
        { "text": "", "target": "/etc/web.conf", "syntax": "plain", "reload": ["web", "masked", "app"] },
        { "text": "", "target": "/etc/other.conf", "syntax": "plain", "restart": ["app", "other"] },
        { "text": "", "target": "/etc/same.conf", "syntax": "plain", "restart": ["other"] } ],
        "volumes": { "data": { "serial": "d", "mount": "/var/lib/my-data" } } }"#;

    fn write(path: &str) -> Step {
        let file = File { mode: 0o644, owner: Owner::ROOT, content: Vec::new() };
        Step::WriteFile { path: GuestPath::of(path), file, before: None, secret: false }
    }

    fn steps() -> Vec<Step> {
        let wants = |unit: &str| GuestPath::of("/etc/systemd/system/multi-user.target.wants").join(unit).unwrap();
        vec![
            write("/etc/handoff/environment/app.service"),
            write("/etc/systemd/network/10-handoff-front.network"),
            write("/etc/web.conf"),
            write("/etc/fstab"),
            Step::WriteLink {
                path: wants("app.service"),
                target: "/lib/systemd/system/app.service".into(),
                before: None,
            },
            Step::WriteLink {
                path: GuestPath::of("/etc/systemd/system/masked.service"),
                target: "/dev/null".into(),
                before: None,
            },
            Step::Remove { path: wants("off.service"), before: Node::link("/lib/systemd/system/off.service") },
        ]
    }

    fn pokes_of(init: Option<RunningInit>, up: bool) -> Vec<String> {
        let interface = |name: &str, mac: &str, up| Interface { name: name.into(), mac: mac.into(), up };
        let interfaces =
            vec![interface("enp0s2", "52:54:00:12:34:57", false), interface("enp0s3", "52:54:00:12:34:56", up)];
        let live = Live { hostname: "image".into(), interfaces, init, first_boot: false };
        let facts = Facts { live: Some(live), ..Facts::default() };
        let settings = Settings::check_text(SETTINGS.as_bytes()).unwrap();
        let class = Class::parse(CLASS.as_bytes()).unwrap();
        let (text, signature, digest, authority) = (b"", None, "", "");
        let incoming = Incoming {
            settings: &settings,
            class: &class,
            text,
            signature,
            digest,
            authority,
            source: "",
            now: 0,
            on_trial: false,
        };
        pokes(&steps(), &incoming, &facts).iter().map(Poke::to_string).collect()
    }

    #[test]
    fn systemd_reads_its_units_before_it_stops_and_starts_them() {
        assert_eq!(
            pokes_of(Some(RunningInit::Systemd), false),
            [
                "set the live host name to lb-1",
                "let the init read its units again",
                "rename interface enp0s3 to front",
                "rename interface enp0s2 to back",
                "let the network stack read its files again",
                "start var-lib-my\\x2ddata.mount",
                "stop masked.service",
                "stop off.service",
                "start app.service",
                "reload web.service if it runs",
                "restart app.service if it runs",
            ]
        );
    }

    #[test]
    fn an_interface_that_is_up_keeps_its_name_until_the_next_boot() {
        let pokes = pokes_of(Some(RunningInit::Systemd), true);
        assert!(!pokes.iter().any(|poke| poke.contains("front")), "{pokes:?}");
        assert!(pokes.iter().any(|poke| poke == "rename interface enp0s2 to back"), "{pokes:?}");
    }

    #[test]
    fn before_any_init_runs_only_the_host_name_is_set() {
        assert_eq!(pokes_of(None, false), ["set the live host name to lb-1"]);
    }

    #[test]
    fn a_path_of_the_settings_never_becomes_an_option_or_a_pattern() {
        for directory in ["-Hroot@example.net", "--force", "*", "a b", "[a-z]", "?"] {
            let steps = [write(&format!("{UNITS}{directory}.d/x.conf")), write(&format!("{ENVIRONMENT}{directory}"))];
            assert_eq!(unit_pokes(&steps, &Class::default()), [], "{directory}");
        }
        let steps = [write(&format!("{UNITS}dev-a\\x2db@1.service.d/x.conf"))];
        assert_eq!(unit_pokes(&steps, &Class::default()), [Poke::Restart("dev-a\\x2db@1.service".into())]);
    }
}
