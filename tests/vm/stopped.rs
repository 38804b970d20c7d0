//! A boot that is stopped, and goes on when a disk brings corrected settings: no restart, and nobody logs in.

use crate::harness::{Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch, pack, trusted_line};
use std::fs;
use std::path::Path;
use std::time::Duration;

const MAC: &str = "52:54:00:00:00:01";
const CLASS: &str = r#"{ "version": 1, "policy": { "failure": "stop", "wait_seconds": 10 } }"#;

/// Settings that show in the guest who wrote them.
fn settings(hostname: &str, serial: u32) -> String {
    format!(
        r#"{{ "version": 1, "instance": {{ "id": "lb-1", "serial": {serial} }}, "hostname": "{hostname}",
  "files": [{{ "path": "/etc/written-by-{hostname}", "content": "yes\n" }}] }}"#
    )
}

/// The lines that refuse something, as they are told when it happens and not as the reason is repeated.
fn refusals(console: &str) -> usize {
    console.lines().filter(|line| line.contains("handoff: NOT APPLIED")).count()
}

/// All disks are of one size, so that a host can write one over another.
fn sized(disk: &Path) -> Vec<u8> {
    let mut bytes = fs::read(disk).unwrap();
    bytes.resize(8192, 0);
    bytes
}

fn goes_on_with_corrected_settings(mode: RunAs, name: &str) {
    let scratch = Scratch::new();
    let (signer, stranger, user) = (scratch.ssh_key("signer"), scratch.ssh_key("stranger"), scratch.ssh_key("user"));
    let layer = Layer::new().agent().trusted_keys(&trusted_line(&signer)).systemd_units();
    let layer = layer.file("/usr/lib/handoff/class.json", 0o644, CLASS).way_in(MAC, &user.public());
    let root = RootDisk::new(Image::debian(), &layer);
    let forged = pack(&scratch, "forged", &settings("forged", 1), &stranger);
    let again = pack(&scratch, "again", &settings("again", 2), &stranger);
    let good = pack(&scratch, "good", &settings("corrected", 3), &signer);
    let late = scratch.file("late.img", sized(&again));

    let builder = Machine::builder(Image::debian(), name, &root).run_as(mode).disk(&forged).slot_for_a_disk();
    let mut machine = builder.nic(Nic::user(MAC)).deadline(Duration::from_secs(300)).boot();
    let line = machine.wait_for_line("handoff: NOT APPLIED (code 11): /dev/vdb", Duration::from_secs(150));
    assert!(line.ends_with("; the boot stops here"), "{line}");
    machine.wait_for_line("  last run   NOT APPLIED (code 11): /dev/vdb", Duration::from_secs(60));
    eprintln!("{line}\n  ({} s after the power was turned on)", machine.age().as_secs());

    // One that is no better is refused as well, once.
    machine.attach(&late);
    let line = machine.wait_for_line("handoff: NOT APPLIED (code 11): /dev/vdc", Duration::from_secs(60));
    std::thread::sleep(Duration::from_secs(8));
    assert!(!machine.ssh_answers(), "a network service runs");
    let told = refusals(&machine.console());
    eprintln!("{line}\n  ({} s, refusals: {told})", machine.age().as_secs());

    // The host puts a good one in its place.
    fs::write(&late, sized(&good)).unwrap();
    let line = machine.wait_for_line("handoff: applied ", Duration::from_secs(60));
    assert!(line.contains("applied lb-1 serial 3 (generation 1): ") && line.contains(" from /dev/vdc (raw"), "{line}");
    let stopped = machine.age();
    eprintln!("{line}\n  ({} s)", stopped.as_secs());
    machine.wait_for_ssh(Duration::from_secs(150));
    eprintln!("ssh answers after {} s", machine.age().as_secs());

    let ask = |command: &str| machine.ssh("root", &user, command);
    assert_eq!(
        ask("hostname; cat /etc/hostname; ls /etc/written-by-*"),
        "corrected\ncorrected\n/etc/written-by-corrected\n"
    );
    assert_eq!(ask("systemctl is-system-running --wait || systemctl list-units --failed"), "running\n");
    assert_eq!(
        ask("systemctl is-active handoff-stopped.target handoff-stopped.service || true"),
        "inactive\ninactive\n"
    );
    assert_eq!(ask("systemctl is-active handoff.service default.target sysinit.target"), "active\nactive\nactive\n");
    let status = ask("cat /run/handoff/status.json");
    assert!(status.contains(r#""mode": "stopped""#) && status.contains(r#""outcome": "applied""#), "{status}");
    assert_eq!(ask("journalctl -b --no-pager -o cat | grep -i 'ordering cycle' || true"), "");
    // The kernel has run since before it all, so it was never started again. (A restart would end this QEMU, too.)
    let uptime: f64 = ask("cut -d' ' -f1 /proc/uptime").trim().parse().unwrap();
    assert!(uptime > 10.0 && machine.age().as_secs_f64() - uptime < stopped.as_secs_f64() - 8.0, "{uptime}");
    assert_eq!(told, 2, "{}", machine.console());
    machine.power_off();
}

#[test]
fn a_stopped_boot_goes_on_with_corrected_settings_where_the_agent_was_pid_1() {
    goes_on_with_corrected_settings(RunAs::Pid1, "stopped-pid1");
}

#[test]
fn a_stopped_boot_goes_on_with_corrected_settings_where_the_agent_is_a_service() {
    goes_on_with_corrected_settings(RunAs::Service, "stopped-service");
}
