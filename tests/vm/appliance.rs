//! The main job: a Debian machine that comes up as its signed settings say, and nobody logged in to it before.

use crate::harness::{Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch, SshKey, pack, trusted_line};
use std::time::Duration;

const FRONT: &str = "52:54:00:12:34:56";
const BACK: &str = "52:54:00:12:34:57";

/// Something of every kind that a boot has to show.
fn settings(user_key: &str) -> String {
    format!(
        r#"{{
  "version": 1,
  "instance": {{ "id": "lb-eu-1", "serial": 1 }},
  "hostname": "lb-eu-1.example.net",
  "hosts": [{{ "address": "10.0.0.5", "names": ["db"] }}],
  "network": {{
    "interfaces": [
      {{ "name": "front", "match": {{ "mac": "{FRONT}" }}, "addresses": ["10.0.0.10/24", "2001:db8::10/64"],
        "dhcp": "none", "gateways": ["10.0.0.1"] }},
      {{ "name": "back", "match": {{ "mac": "{BACK}" }}, "addresses": ["10.9.0.10/24"], "dhcp": "none", "mtu": 1400,
        "routes": [{{ "to": "10.1.0.0/16", "via": "10.9.0.1", "metric": 100 }}] }}
    ],
    "dns": {{ "servers": ["10.0.0.1"], "search": ["example.net"] }}
  }},
  "users": [{{ "name": "ops", "uid": 1200, "groups": ["sudo"], "shell": "/bin/bash", "sudo": "nopasswd",
    "ssh_authorized_keys": ["{user_key}"] }}],
  "services": [
    {{ "name": "probe-env", "enabled": true, "environment": [{{ "name": "MODE", "value": "http" }}] }},
    {{ "name": "probe-off", "enabled": false }},
    {{ "name": "probe-mask", "masked": true }}
  ],
  "files": [{{ "path": "/etc/motd", "content": "configured\n" }}],
  "timezone": "Europe/Paris"
}}"#
    )
}

fn appliance(mode: RunAs, signer: &SshKey) -> RootDisk {
    let mut layer = Layer::new().agent().trusted_keys(&trusted_line(signer));
    if mode == RunAs::Service {
        layer = layer.systemd_units();
    }
    RootDisk::new(Image::debian(), &layer)
}

fn comes_up_as_its_settings_say(mode: RunAs, name: &str) {
    let image = Image::debian();
    let scratch = Scratch::new();
    let (signer, user) = (scratch.ssh_key("signer"), scratch.ssh_key("user"));
    let root = appliance(mode, &signer);
    let image_keys = root.read("/etc/ssh/ssh_host_ed25519_key.pub").unwrap();
    let disk = pack(&scratch, "settings", &settings(&user.public()), &signer);
    let mut machine = Machine::builder(image, name, &root)
        .run_as(mode)
        .disk(&disk)
        .nic(Nic::user(FRONT).network("10.0.0.0/24", "10.0.0.1", "10.0.0.10"))
        .nic(Nic::isolated(BACK).network("10.9.0.0/24", "10.9.0.1", "10.9.0.10"))
        .deadline(Duration::from_secs(400))
        .boot();
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(150));
    assert!(line.contains("lb-eu-1"), "{line}");
    machine.wait_for_ssh(Duration::from_secs(200));
    let run = |command: &str| machine.ssh("ops", &user, command);
    // A login is possible before the last service has started.
    machine.try_ssh("ops", &user, "systemctl is-system-running --wait");

    assert_eq!(run("hostname; cat /etc/hostname"), "lb-eu-1.example.net\nlb-eu-1.example.net\n");
    assert_eq!(run("getent hosts db"), "10.0.0.5        db\n");
    let front = run("ip -br address show front");
    assert!(front.contains(" 10.0.0.10/24 ") && front.contains("2001:db8::10/64"), "{front}");
    let back = run("ip address show back");
    assert!(back.contains("inet 10.9.0.10/24 ") && back.contains("mtu 1400"), "{back}");
    assert!(run("ip route").contains("default via 10.0.0.1 dev front"));
    assert!(run("ip route show 10.1.0.0/16").contains("via 10.9.0.1 dev back proto static metric 100"));
    let dns = run("resolvectl dns; resolvectl domain");
    assert!(dns.contains("10.0.0.1") && dns.contains("example.net"), "{dns}");
    assert_eq!(run("id -u; id -nG; sudo -n id -u"), "1200\nops sudo\n0\n");
    assert_eq!(run("systemctl is-active probe-env probe-off probe-mask; true"), "active\ninactive\ninactive\n");
    assert_eq!(run("systemctl is-enabled probe-env probe-off probe-mask; true"), "enabled\ndisabled\nmasked\n");
    assert!(run("cat /run/probe-env").lines().any(|line| line == "MODE=http"));
    assert_eq!(run("cat /etc/motd; date +%Z | grep -c CE"), "configured\n1\n");
    assert_eq!(run("systemctl list-units --failed --no-legend --plain"), "");
    assert_eq!(run("journalctl -b --no-pager -o cat 2>/dev/null | grep -i 'ordering cycle' || true"), "");

    // No password opens the door, whatever it is.
    let options = ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password"];
    let refused = machine.ssh_command("ops", &user, &options).arg("true").output().unwrap();
    assert!(!refused.status.success());

    machine.power_off();
    assert_ne!(root.read("/etc/ssh/ssh_host_ed25519_key.pub").unwrap(), image_keys, "the clone has keys of its own");
    assert_eq!(root.read_text("/etc/machine-id").trim_end().len(), 32);
}

#[test]
fn a_machine_comes_up_as_its_settings_say_with_the_agent_as_pid_1() {
    comes_up_as_its_settings_say(RunAs::Pid1, "appliance-pid1");
}

#[test]
fn a_machine_comes_up_as_its_settings_say_with_the_agent_as_a_service() {
    comes_up_as_its_settings_say(RunAs::Service, "appliance-service");
}
