//! The unit files for systemd, judged by systemd: alone, and in a boot with a stub in the agent's place.

use crate::harness::{Container, Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch};
use std::time::Duration;

const MAC: &str = "52:54:00:00:00:01";

#[test]
fn systemd_analyze_has_nothing_to_say_about_the_units() {
    let layer = Layer::new().stub_agent("exit 0\n").systemd_units();
    let container = Container::new(Image::debian(), &layer);
    let units = ["handoff.service", "handoff-ready.service", "handoff-stopped.target", "handoff-stopped.service"];
    for unit in units {
        let path = format!("/usr/lib/systemd/system/{unit}");
        // The manual page is installed by the package.
        let program = ["/usr/bin/systemd-analyze", "verify", "--man=no", "--recursive-errors=one", &path];
        let finished = container.run(&program, &[], Duration::from_secs(30));
        assert_eq!((finished.console.as_str(), finished.status.code()), ("", Some(0)), "{unit}");
    }
}

#[test]
fn the_service_runs_before_the_network_and_in_no_ordering_cycle() {
    let image = Image::debian();
    let scratch = Scratch::new();
    let key = scratch.ssh_key("root");
    // What is up already while the agent works, and what can be written.
    let stub = r#"if [ "$1" = boot ]; then
  systemctl is-active systemd-networkd systemd-resolved ssh sysinit.target network-pre.target | tr '\n' ' '
  touch /etc/written /var/lib/written /home/written && echo writable
  grep -c ' /etc/machine-id ' /proc/mounts
  [ -s /etc/machine-id ] && echo identified
fi"#;
    let layer = Layer::new().stub_agent(stub).systemd_units().way_in(MAC, &key.public());
    let root = RootDisk::new(image, &layer);
    let mut machine = Machine::builder(image, "units-service", &root).run_as(RunAs::Service).nic(Nic::user(MAC)).boot();
    machine.wait_for_ssh(Duration::from_secs(120));
    let journal = machine.ssh("root", &key, "journalctl -b --no-pager -o cat -u handoff.service");
    let lines: Vec<&str> = journal.lines().collect();
    for line in ["inactive inactive inactive inactive inactive", "writable", "0", "identified"] {
        assert!(lines.contains(&line), "no line {line:?} in the journal:\n{journal}");
    }
    assert_eq!(machine.ssh("root", &key, "systemctl is-active handoff.service network-pre.target"), "active\nactive\n");
    assert_eq!(machine.ssh("root", &key, "journalctl -b --no-pager -o cat | grep -i 'ordering cycle' || true"), "");
    assert_eq!(machine.ssh("root", &key, "systemctl list-units --failed --no-legend --plain"), "");
    assert!(machine.console().lines().any(|line| line.contains("writable")), "the unit's output is on the console");
    machine.power_off();
}

#[test]
fn a_service_that_fails_ends_the_boot_in_the_stopped_target_before_anything_else_starts() {
    let image = Image::debian();
    let stub = r#"case $1 in
  boot) echo refused; exit 11 ;;
  wait)
    echo "stopped: not signed"
    sleep 3
    systemctl list-units --no-legend --plain --state=active,activating 'ssh*' 'systemd-networkd.service' \
      'systemd-logind*' '*getty*' 'probe-*' 'sysinit.target'
    echo "end of list"
    systemctl poweroff --force ;;
esac"#;
    let root = RootDisk::new(image, &Layer::new().stub_agent(stub).systemd_units());
    let machine = Machine::builder(image, "units-stopped", &root).run_as(RunAs::Service).boot();
    let console = machine.wait_for_end(Duration::from_secs(120));
    let from = console.find("stopped: not signed").unwrap_or_else(|| panic!("{console}"));
    let listed: Vec<&str> = console[from..].lines().skip(1).take_while(|line| !line.contains("end of list")).collect();
    assert!(console.contains("end of list"), "{console}");
    assert!(!listed.iter().any(|line| line.contains(".service") || line.contains(".target")), "{listed:?}");
}

#[test]
fn ready_is_looked_for_when_the_services_are_started_and_noted_in_the_status() {
    let image = Image::debian();
    let scratch = Scratch::new();
    let key = scratch.ssh_key("root");
    let layer = Layer::new()
        .agent()
        .systemd_units()
        .wanted("handoff-ready.service")
        .file(
            "/usr/lib/handoff/class.json",
            0o644,
            r#"{"version":1,"policy":{"settings":"optional","wait_seconds":0}}"#,
        )
        .way_in(MAC, &key.public());
    let root = RootDisk::new(image, &layer);
    let mut machine = Machine::builder(image, "units-ready", &root).run_as(RunAs::Service).nic(Nic::user(MAC)).boot();
    machine.wait_for_ssh(Duration::from_secs(120));
    let waited = "for i in $(seq 60); do systemctl is-active --quiet handoff-ready.service && break; sleep 1; done; ";
    let status = machine.ssh("root", &key, &format!("{waited}/usr/sbin/handoff-agent status"));
    assert!(status.contains("\n  ready      after 0.0 s: no probe is declared\n"), "{status}");
    assert!(machine.console().lines().any(|line| line.contains("handoff: ready after 0.0 s")), "{}", machine.console());
    // After the target, and part of no cycle.
    let times = "for unit in multi-user.target handoff-ready.service; do \
        systemctl show -P ActiveEnterTimestampMonotonic $unit; done | sort -nc && echo after";
    assert_eq!(machine.ssh("root", &key, times), "after\n");
    assert_eq!(machine.ssh("root", &key, "journalctl -b --no-pager -o cat | grep -i 'ordering cycle' || true"), "");
    machine.power_off();
}

#[test]
fn pid_1_can_ask_systemd_for_the_stopped_target() {
    let image = Image::debian();
    let stub = r#"if [ $$ = 1 ]; then exec /sbin/init --unit=handoff-stopped.target; fi
echo "stopped: not signed"
systemctl list-units --no-legend --plain --state=active,activating 'ssh*' 'systemd-networkd.service' 'sysinit.target'
echo "end of list"
systemctl poweroff --force"#;
    let root = RootDisk::new(image, &Layer::new().stub_agent(stub).systemd_units());
    let machine = Machine::builder(image, "units-stopped-pid1", &root).run_as(RunAs::Pid1).boot();
    let console = machine.wait_for_end(Duration::from_secs(120));
    assert!(console.contains("stopped: not signed"), "{console}");
    assert!(console.contains("end of list"), "{console}");
    assert!(!console.contains("sysinit.target"), "{console}");
}
