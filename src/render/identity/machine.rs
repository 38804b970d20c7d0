//! Machine identity: machine-id(5) and SSH host keys. A clone keeps neither, because both would say that it is its image.

use super::super::{Context, current_file};
use crate::error::{Error, Result};
use crate::guest::{GuestPath, Kind, Node, View};
use crate::plan::{Desired, Entry, Keeping};
use crate::settings::Settings;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// The id for which an identity is made: that of the instance, or the empty text.
pub fn identity_of(settings: &Settings) -> String {
    settings.instance.as_ref().map(|instance| instance.id.as_str().to_owned()).unwrap_or_default()
}

/// Puts a new identity where the guest has another id's or none, and fills a machine-id that is missing.
///
/// The entries are [`Keeping::Edited`]: an identity is made once and never given back. The planner records
/// the id with the generation.
pub(super) fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let identity = identity_of(context.settings);
    let new = context.previous.identity.as_deref() != Some(identity.as_str());
    desired.identity = Some(identity);
    machine_id(context, new, desired)?;
    if new {
        host_keys(context, desired)?;
    }
    Ok(())
}

fn machine_id(context: &Context<'_>, new: bool, desired: &mut Desired) -> Result<()> {
    let path = GuestPath::of("/etc/machine-id");
    if let Some(Node::Link(_)) = context.guest.node(&path)? {
        if new {
            desired.warnings.push(format!("{path}: is a link, left to the image"));
        }
        return Ok(());
    }
    let current = current_file(context.guest, &path)?.map(|file| file.content).unwrap_or_default();
    let empty = matches!(current.trim_ascii(), b"" | b"uninitialized");
    let live = context.facts.live.as_ref();
    let write = if empty {
        // A running init has an id of its own in mind and writes it down later. Where it starts after us, the id must be
        // there before it: systemd takes an empty one for a first boot, and would undo our choice of services.
        live.is_none_or(|live| live.init.is_none())
    } else {
        new && !live.is_some_and(|live| live.first_boot)
    };
    if !write {
        return Ok(());
    }
    let text = format!("{}\n", fresh_id(&context.facts.entropy.0));
    desired.edited(path, Node::file(text.as_str(), 0o444), false)?;
    // The older place, mostly a link to the first.
    let dbus = GuestPath::of("/var/lib/dbus/machine-id");
    if let Some(Node::File(file)) = context.guest.node(&dbus)? {
        desired.edited(dbus, Node::file_of(text, file.mode, file.owner), false)?;
    }
    Ok(())
}

/// Takes the identity away: for a guest that is to be copied, so that each copy gets one of its own.
///
/// # Errors
/// As for [`Desired::put`], and what cannot be read.
pub fn remove(guest: &dyn View, desired: &mut Desired) -> Result<()> {
    let machine_id = GuestPath::of("/etc/machine-id");
    if let Some(Node::File(_)) = guest.node(&machine_id)? {
        // Empty, not `uninitialized`: systemd would take that for a first boot, and undo the image's choice of services.
        desired.edited(machine_id, Node::file("", 0o444), false)?;
    }
    let ssh = GuestPath::of("/etc/ssh");
    let mut others = vec![GuestPath::of("/var/lib/systemd/random-seed")];
    for name in guest.list(&ssh)?.unwrap_or_default().iter().filter(|name| is_host_key(name)) {
        others.push(ssh.join(name)?);
    }
    let dbus = GuestPath::of("/var/lib/dbus/machine-id");
    if let Some(Node::File(_)) = guest.node(&dbus)? {
        others.push(dbus);
    }
    for path in others {
        desired.put(path, Entry { node: None, keeping: Keeping::Edited, secret: true })?;
    }
    Ok(())
}

/// The first 16 bytes as a random UUID (RFC 9562, version 4) without hyphens, which is what systemd writes.
fn fresh_id(entropy: &[u8; 64]) -> String {
    let mut text = String::with_capacity(32);
    for (at, byte) in entropy.iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn host_keys(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let directory = GuestPath::of("/etc/ssh");
    if context.guest.kind(&directory)? != Some(Kind::Directory) {
        return Ok(());
    }
    let names = context.guest.list(&directory)?.unwrap_or_default();
    let of_image: Vec<&String> = names.iter().filter(|name| is_host_key(name)).collect();
    if of_image.is_empty() && !names.iter().any(|name| name == "sshd_config") {
        return Ok(());
    }
    let (private, public) = fresh_key(context)?;
    let path = GuestPath::of(KEY);
    let public_path = GuestPath::of(&format!("{KEY}.pub"));
    desired.edited(path.clone(), Node::file(private, 0o600), true)?;
    desired.edited(public_path.clone(), Node::file(public, 0o644), false)?;
    for name in of_image {
        let old = directory.join(name)?;
        if old != path && old != public_path {
            desired.put(old, Entry { node: None, keeping: Keeping::Edited, secret: true })?;
        }
    }
    let config = context.guest.read(&directory.join("sshd_config")?)?.unwrap_or_default();
    let config = String::from_utf8_lossy(&config);
    let mut chosen = config
        .lines()
        .map(str::trim_start)
        .filter(|line| line.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("hostkey ")))
        .peekable();
    if chosen.peek().is_some() && !chosen.any(|line| line.contains(KEY)) {
        desired.warnings.push(format!("/etc/ssh/sshd_config: names other host keys than {KEY}, the only one made"));
    }
    Ok(())
}

/// Private, public and certified host keys, by the names that ssh-keygen gives them.
fn is_host_key(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("ssh_host_") else { return false };
    ["_key", "_key.pub", "_key-cert.pub"].iter().any(|end| rest.ends_with(end))
}

/// A new Ed25519 key in OpenSSH's two forms.
fn fresh_key(context: &Context<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let [.., seed] = context.facts.entropy.0.as_chunks::<32>().0 else { return Err(no_key("there is no randomness")) };
    if seed.iter().all(|byte| *byte == 0) {
        return Err(no_key("there is no randomness"));
    }
    let hostname = match &context.settings.hostname {
        Some(hostname) => hostname.as_str().to_owned(),
        None => {
            let text = context.guest.read(&GuestPath::of("/etc/hostname"))?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            text.trim().chars().take_while(good).take(64).collect()
        }
    };
    let hostname = if hostname.is_empty() { "localhost" } else { &hostname };
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(seed));
    let broken = |error: ssh_key::Error| no_key(&error.to_string());
    let key = PrivateKey::new(pair, format!("root@{hostname}")).map_err(broken)?;
    let private = key.to_openssh(LineEnding::LF).map_err(broken)?;
    let public = key.public_key().to_openssh().map_err(broken)?;
    Ok((private.as_bytes().to_vec(), format!("{public}\n").into_bytes()))
}

fn no_key(problem: &str) -> Error {
    Error::not_applied(KEY, format_args!("cannot be made: {problem}"), "report this with the version of the program")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{Entropy, Live, RunningInit, Tree};
    use crate::render::bench::Bench;
    use crate::settings::{Hostname, Instance, SingleLine};

    const IMAGE_ID: &str = "0123456789abcdef0123456789abcdef\n";

    fn instance(id: &str) -> Settings {
        let instance = Instance { id: SingleLine::parse(id).unwrap(), serial: 1, machine: None };
        let hostname = Some(Hostname::parse("lb-1").unwrap());
        Settings { instance: Some(instance), hostname, ..Settings::default() }
    }

    fn image() -> Bench {
        Bench::new(
            Tree::new()
                .with("/etc/machine-id", IMAGE_ID)
                .with("/etc/ssh/sshd_config", "#HostKey /etc/ssh/ssh_host_rsa_key\n")
                .with("/etc/ssh/ssh_config", "")
                .with("/etc/ssh/ssh_host_rsa_key", "image")
                .with("/etc/ssh/ssh_host_rsa_key.pub", "image")
                .with("/etc/ssh/ssh_host_ed25519_key", "image")
                .with("/etc/ssh/ssh_host_ed25519_key-cert.pub", "image"),
        )
    }

    #[test]
    fn a_clone_keeps_neither_id_nor_host_keys() {
        let mut bench = image();
        let desired = bench.apply(&instance("a"));
        assert_eq!(bench.text("/etc/machine-id"), "07070707070747078707070707070707\n");
        let names = bench.tree.list(&GuestPath::of("/etc/ssh")).unwrap().unwrap();
        assert_eq!(names, ["ssh_config", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub", "sshd_config"]);
        let private = PrivateKey::from_openssh(bench.text(KEY)).unwrap();
        assert_eq!(private.comment(), "root@lb-1");
        assert_eq!(bench.text(&format!("{KEY}.pub")), format!("{}\n", private.public_key().to_openssh().unwrap()));
        let entry = desired.entry(&GuestPath::of(KEY)).unwrap();
        assert!(entry.secret && matches!(&entry.node, Some(Node::File(file)) if file.mode == 0o600));

        let first = bench.tree.clone();
        bench.facts.entropy = Entropy([9; 64]);
        bench.apply(&instance("a"));
        assert_eq!(bench.tree, first, "an identity is made once");
        bench.apply(&instance("b"));
        assert_ne!(
            bench.text("/etc/machine-id"),
            first.read(&GuestPath::of("/etc/machine-id")).map(|t| String::from_utf8(t.unwrap()).unwrap()).unwrap()
        );
        assert_ne!(PrivateKey::from_openssh(bench.text(KEY)).unwrap(), private);
        let second = bench.tree.clone();
        bench.facts.entropy = Entropy([11; 64]);
        bench.apply(&Settings { hostname: instance("b").hostname, ..Settings::default() });
        assert_ne!(bench.tree, second, "no instance is an id of its own");
        assert_eq!(bench.state.identity.as_deref(), Some(""));
    }

    #[test]
    fn an_init_that_just_made_an_id_keeps_it() {
        let running = |first_boot| Some(Live { init: Some(RunningInit::Systemd), first_boot, ..Live::default() });
        let mut bench = image();
        bench.facts.live = running(true);
        bench.apply(&instance("a"));
        assert_eq!(bench.text("/etc/machine-id"), IMAGE_ID);
        let mut bench = image();
        bench.facts.live = running(false);
        bench.apply(&instance("a"));
        assert_ne!(bench.text("/etc/machine-id"), IMAGE_ID);
    }

    #[test]
    fn an_empty_id_is_filled_unless_an_init_runs() {
        for empty in ["", "\n", "uninitialized\n"] {
            let mut bench = image();
            bench.tree = bench.tree.clone().with("/etc/machine-id", empty);
            bench.facts.live = Some(Live { init: Some(RunningInit::Systemd), ..Live::default() });
            bench.apply(&instance("a"));
            assert_eq!(bench.text("/etc/machine-id"), empty);
            bench.facts.live = Some(Live::default());
            bench.apply(&instance("a"));
            assert_eq!(bench.text("/etc/machine-id").len(), 33, "as PID 1, also under an old identity");
        }
        let mut bench = Bench::new(Tree::new().with("/var/lib/dbus/machine-id", IMAGE_ID));
        bench.apply(&instance("a"));
        assert_eq!(bench.text("/var/lib/dbus/machine-id"), bench.text("/etc/machine-id"));
        assert!(bench.tree.kind(&GuestPath::of("/etc/ssh")).unwrap().is_none(), "no sshd, no keys");
    }

    #[test]
    fn no_key_is_made_without_randomness() {
        let mut bench = image();
        bench.facts.entropy = Entropy::default();
        assert!(bench.render(&instance("a")).unwrap_err().to_string().contains("no randomness"));
    }

    #[test]
    fn a_server_that_names_another_host_key_is_told_of() {
        let mut bench = image();
        bench.tree = bench.tree.clone().with("/etc/ssh/sshd_config", "HostKey /etc/ssh/ssh_host_rsa_key\n");
        assert_eq!(bench.render(&instance("a")).unwrap().warnings.len(), 1);
        bench.tree = bench.tree.clone().with("/etc/ssh/sshd_config", &format!("HostKey {KEY}\nhostkey /x\n"));
        assert_eq!(bench.render(&instance("a")).unwrap().warnings.len(), 0);
    }
}
