//! `make demo-vm`: a Debian guest in QEMU comes up as signed settings say, its console is shown, and somebody logs in.
//!
//! It uses the machines of the tests. Root and the packages of `tests/packages` are needed; `make demo-vm` installs them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../tests/vm/harness/mod.rs"]
mod harness;

use harness::{Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch, pack, trusted_line};
use std::time::Duration;

const MAC: &str = "52:54:00:12:34:56";

fn main() {
    say("Debian's image, built once and kept (about a minute the first time)");
    let image = Image::debian();
    let scratch = Scratch::new();
    let (signer, user) = (scratch.ssh_key("signer"), scratch.ssh_key("ops"));

    let settings = format!(
        r#"{{
  "version": 1,
  "instance": {{ "id": "lb-eu-1", "serial": 1 }},
  "hostname": "lb-eu-1.example.net",
  "network": {{
    "interfaces": [{{ "name": "front", "match": {{ "mac": "{MAC}" }}, "addresses": ["10.0.0.10/24"],
      "dhcp": "none", "gateways": ["10.0.0.1"] }}],
    "dns": {{ "servers": ["10.0.0.1"], "search": ["example.net"] }}
  }},
  "users": [{{ "name": "ops", "groups": ["sudo"], "shell": "/bin/bash", "sudo": "nopasswd",
    "ssh_authorized_keys": ["{}"] }}],
  "services": [{{ "name": "probe-env", "enabled": true, "environment": [{{ "name": "MODE", "value": "http" }}] }}],
  "timezone": "Europe/Paris"
}}
"#,
        user.public()
    );
    say("The settings, which the operator signs and packs on a disk");
    print!("{settings}");
    let disk = pack(&scratch, "settings", &settings, &signer);

    say("An appliance: Debian with the agent and the operator's public key baked in");
    let root = RootDisk::new(image, &Layer::new().agent().trusted_keys(&trusted_line(&signer)));

    say("It boots, with the agent as PID 1; this is its console");
    let mut machine = Machine::builder(image, "demo-vm", &root)
        .run_as(RunAs::Pid1)
        .append("systemd.show_status=true")
        .disk(&disk)
        .nic(Nic::user(MAC).network("10.0.0.0/24", "10.0.0.1", "10.0.0.10"))
        .boot();
    machine.wait_for_ssh(Duration::from_secs(150));
    print!("{}", machine.console());
    println!("(SSH answers {} s after the power was turned on)", machine.age().as_secs());

    say("Somebody logs in over SSH, with the key of the settings");
    for command in [
        "hostname",
        "id",
        "sudo -n id -un",
        "ip -brief address show front",
        "systemctl is-active probe-env",
        "grep MODE /run/probe-env",
        "date",
        "sudo -n handoff-agent status",
    ] {
        println!("ops$ {command}");
        let output = machine.try_ssh("ops", &user, command);
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    say("The power button");
    let log = machine.log().display().to_string();
    machine.power_off();
    println!("The console is kept in {log}");
}

fn say(text: &str) {
    println!("\n== {text}");
}
