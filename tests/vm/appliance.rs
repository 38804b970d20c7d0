//! The main job: a Debian machine that comes up as its signed settings say, and nobody logged in to it before. Then its
//! settings change, stay, and are refused, over several boots of the same root disk.

use crate::harness::{Builder, Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch, SshKey, pack, trusted_line};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const FRONT: &str = "52:54:00:12:34:56";
const BACK: &str = "52:54:00:12:34:57";
/// What the image ships by mistake, and no clone may keep.
const IMAGE_ID: &str = "0123456789abcdef0123456789abcdef\n";
const PASSWORD: &str = "correct horse";
/// The same, as crypt(5) keeps it.
const HASH: &str =
    "$6$settings12$1ERtvx.YxBBscHWLnXkwnd3csA0ikC5X5MGK.CfdQgyXUoBMjnOQf0Ng7a4J9CvCnYKhtdp.eTHbOgpo6kOTW/";

/// Something of every kind that a boot has to show; with serial 2 another address, a user less and a file less.
fn settings(serial: u32, user_key: &str) -> String {
    let front = front(serial);
    let leaver = format!(
        r#",
    {{ "name": "leaver", "uid": 1202, "groups": ["adm"], "shell": "/bin/bash", "ssh_authorized_keys": ["{user_key}"] }}"#
    );
    let (leaver, motd) = match serial {
        1 => (leaver.as_str(), r#"{ "path": "/etc/motd", "content": "configured\n" },"#),
        _ => ("", ""),
    };
    format!(
        r#"{{
  "version": 1,
  "instance": {{ "id": "lb-eu-1", "serial": {serial} }},
  "hostname": "lb-eu-1.example.net",
  "hosts": [{{ "address": "10.0.0.5", "names": ["db"] }}],
  "network": {{
    "interfaces": [
      {{ "name": "front", "match": {{ "mac": "{FRONT}" }}, "addresses": ["{front}/24", "2001:db8::10/64"],
        "dhcp": "none", "gateways": ["10.0.0.1", "2001:db8::1"] }},
      {{ "name": "back", "match": {{ "mac": "{BACK}" }}, "addresses": ["10.9.0.10/24", "2001:db8:9::10/64"],
        "dhcp": "none", "mtu": 1400,
        "routes": [{{ "to": "10.1.0.0/16", "via": "10.9.0.1", "metric": 100 }},
          {{ "to": "2001:db8:100::/48", "via": "2001:db8:9::1", "metric": 200 }}] }}
    ],
    "dns": {{ "servers": ["10.0.0.1", "2001:db8::53"], "search": ["example.net"] }}
  }},
  "users": [
    {{ "name": "ops", "uid": 1200, "groups": ["sudo"], "shell": "/bin/bash", "sudo": "nopasswd",
      "ssh_authorized_keys": ["{user_key}"] }},
    {{ "name": "local", "uid": 1201, "shell": "/bin/bash", "sudo": "password", "password_hash": "{HASH}" }}{leaver}
  ],
  "services": [
    {{ "name": "probe-env", "enabled": true, "environment": [{{ "name": "MODE", "value": "http" }}] }},
    {{ "name": "probe-off", "enabled": false }},
    {{ "name": "probe-mask", "masked": true }}
  ],
  "files": [{motd} {{ "path": "/etc/issue.net", "content": "stays\n" }}],
  "timezone": "Europe/Paris"
}}"#
    )
}

fn front(serial: u32) -> &'static str {
    if serial == 1 { "10.0.0.10" } else { "10.0.0.20" }
}

/// What the change from serial 1 to serial 2 touches, and nothing else.
const DIFFERENCE: [&str; 6] = [
    "/etc/group",
    "/etc/gshadow",
    "/etc/motd",
    "/etc/shadow",
    "/etc/systemd/network/10-handoff-front.network",
    "/home/leaver/.ssh/authorized_keys",
];

/// One appliance, its operator and its user.
struct Appliance {
    mode: RunAs,
    name: &'static str,
    scratch: Scratch,
    signer: SshKey,
    user: SshKey,
    root: RootDisk,
}

impl Appliance {
    fn new(mode: RunAs, name: &'static str) -> Self {
        let scratch = Scratch::new();
        let (signer, user) = (scratch.ssh_key("signer"), scratch.ssh_key("user"));
        let layer = Layer::new().agent().trusted_keys(&trusted_line(&signer)).file("/etc/machine-id", 0o444, IMAGE_ID);
        let layer = if mode == RunAs::Service { layer.systemd_units() } else { layer };
        let root = RootDisk::new(Image::debian(), &layer);
        Appliance { mode, name, scratch, signer, user, root }
    }

    fn pack(&self, serial: u32) -> std::path::PathBuf {
        pack(&self.scratch, &format!("serial-{serial}"), &settings(serial, &self.user.public()), &self.signer)
    }

    /// A machine in which the interfaces are not in the order of the settings, with the disk and the address of a serial.
    fn machine(&self, disk: &Path, serial: u32) -> Builder {
        Machine::builder(Image::debian(), self.name, &self.root)
            .run_as(self.mode)
            .disk(disk)
            .slot_for_a_disk()
            .nic(Nic::isolated(BACK).network("10.9.0.0/24", "10.9.0.1", "10.9.0.10"))
            .nic(Nic::user(FRONT).network("10.0.0.0/24", "10.0.0.1", front(serial)))
            .deadline(Duration::from_secs(400))
    }

    /// What the user `ops` sees for each command, what it complains about too.
    fn ask<const N: usize>(&self, machine: &Machine, commands: [&str; N]) -> [String; N] {
        // One login for all of them: it takes an emulated machine a second.
        let script: Vec<String> =
            commands.iter().map(|command| format!("{{ {command}\n}} 2>&1; echo -n '<end>'")).collect();
        let said = machine.ssh("ops", &self.user, &script.join("\n"));
        let answers: Vec<String> = said.split("<end>").map(str::to_owned).collect();
        assert_eq!(answers.len(), N + 1, "{said}");
        answers[..N].to_vec().try_into().unwrap()
    }
}

/// Waits for the agent's line, which is the only one that begins so.
fn line_of(machine: &mut Machine) -> String {
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(150));
    let from = line.find("handoff: ").unwrap();
    let line = line[from..].to_owned();
    eprintln!("{line}\n  ({} s after the power was turned on)", machine.age().as_secs());
    line
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Boot 1: everything is as the settings say.
fn comes_up_as_its_settings_say(appliance: &Appliance, machine: &Machine) {
    let Appliance { user, mode, .. } = appliance;
    let [running, names, machine_id, status, failed, cycles] = appliance.ask(
        machine,
        [
            // A login is possible before the last service has started.
            "systemctl is-system-running --wait",
            "hostname; cat /etc/hostname; getent hosts db",
            "cat /etc/machine-id",
            "cat /run/handoff/status.json",
            "systemctl list-units --failed --no-legend --plain",
            "journalctl -b --no-pager -o cat 2>/dev/null | grep -i 'ordering cycle'",
        ],
    );
    assert_eq!((running.as_str(), failed.as_str(), cycles.as_str()), ("running\n", "", ""));
    assert_eq!(names, "lb-eu-1.example.net\nlb-eu-1.example.net\n10.0.0.5        db\n");
    assert_eq!(machine_id.len(), 33, "{machine_id}");
    assert_ne!(machine_id, IMAGE_ID);
    let status = json(&status);
    assert_eq!((&status["outcome"], &status["code"], &status["serial"]), (&"applied".into(), &0.into(), &1.into()));
    assert_eq!(status["mode"], if *mode == RunAs::Pid1 { "pid1" } else { "service" });
    assert_eq!(status["warnings"], Value::Array(vec![]), "{status}");

    network_is_up(appliance, machine, 1);

    let [who, active, enabled, environment, recorded, files, verified] = appliance.ask(machine, [
        "id -u; id -nG; sudo -n id -u",
        "systemctl is-active probe-env probe-off probe-mask",
        "systemctl is-enabled probe-env probe-off probe-mask",
        "sudo -n cat /proc/$(systemctl show -p MainPID --value probe-env)/environ | tr '\\0' '\\n'",
        "cat /run/probe-env",
        "cat /etc/motd /etc/issue.net; date +%Z | grep -c CE",
        "systemd-analyze verify --man=no --recursive-errors=no probe-env.service $(ls -d /lib/systemd/system/handoff* 2>/dev/null)",
    ]);
    assert_eq!(who, "1200\nops sudo\n0\n");
    assert_eq!(active, "active\ninactive\ninactive\n");
    assert_eq!(enabled, "enabled\ndisabled\nmasked\n");
    assert!(environment.lines().any(|line| line == "MODE=http"), "{environment}");
    assert!(recorded.lines().any(|line| line == "MODE=http"), "{recorded}");
    assert_eq!(files, "configured\nstays\n1\n");
    assert_eq!(verified, "", "systemd-analyze verify");

    // Whoever has a password and no key comes in by it, which proves that the server takes passwords. Whoever has none
    // does not come in by any.
    let login =
        machine.ssh_with_password("local", PASSWORD, "id -u; sudo -n id; echo correct horse | sudo -S -p '' id -u");
    let said = String::from_utf8_lossy(&login.stdout).into_owned() + &String::from_utf8_lossy(&login.stderr);
    assert_eq!(String::from_utf8_lossy(&login.stdout), "1201\n0\n", "{said}");
    assert!(said.contains("a password is required"), "sudo asks local for a password: {said}");
    assert!(!machine.ssh_with_password("local", "wrong horse", "true").status.success());
    for password in [PASSWORD, "", "!", "*"] {
        let login = machine.ssh_with_password("ops", password, "true");
        let said = String::from_utf8_lossy(&login.stderr);
        assert!(!login.status.success() && said.contains("Permission denied"), "ops and {password:?}: {said}");
    }
    assert_eq!(machine.ssh("leaver", user, "id -u"), "1202\n");
    let [sudo] = appliance.ask(machine, ["sudo -n sudo -l -U leaver"]);
    assert!(sudo.starts_with("User leaver is not allowed to run sudo"), "{sudo}");
}

fn network_is_up(appliance: &Appliance, machine: &Machine, serial: u32) {
    let [addresses, routes, routes6, status, dns, domains] = appliance.ask(
        machine,
        [
            "ip -j address",
            "ip -j route",
            "ip -j -6 route",
            "networkctl status --no-pager front",
            "resolvectl dns",
            "resolvectl domain",
        ],
    );
    let addresses = json(&addresses);
    let links: Vec<&Value> = addresses.as_array().unwrap().iter().filter(|link| link["ifname"] != "lo").collect();
    let shown: BTreeSet<String> = links
        .iter()
        .map(|link| {
            let global = link["addr_info"].as_array().unwrap().iter().filter(|address| address["scope"] == "global");
            let global: Vec<String> =
                global.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect();
            format!("{} {} {} {}", link["ifname"], link["address"], link["mtu"], global.join(" "))
        })
        .collect();
    assert_eq!(
        shown,
        BTreeSet::from([
            format!(r#""front" "{FRONT}" 1500 {}/24 2001:db8::10/64"#, front(serial)),
            format!(r#""back" "{BACK}" 1400 10.9.0.10/24 2001:db8:9::10/64"#),
        ])
    );
    let has = |routes: &str, dst: &str, gateway: &str, dev: &str, metric: Option<u32>| {
        let found = json(routes).as_array().unwrap().iter().any(|route| {
            route["dst"] == dst
                && route["gateway"] == gateway
                && route["dev"] == dev
                && metric.is_none_or(|metric| route["metric"] == metric)
        });
        assert!(found, "no route to {dst} by {gateway}, {dev}: {routes}");
    };
    has(&routes, "default", "10.0.0.1", "front", None);
    has(&routes, "10.1.0.0/16", "10.9.0.1", "back", Some(100));
    has(&routes6, "default", "2001:db8::1", "front", None);
    has(&routes6, "2001:db8:100::/48", "2001:db8:9::1", "back", Some(200));
    for part in
        ["10-handoff-front.network", "routable (configured)", front(serial), "2001:db8::10", "10.0.0.1", "2001:db8::53"]
    {
        assert!(status.contains(part), "{part} is missing: {status}");
    }
    let of_front = |text: &str| text.lines().find(|line| line.contains("(front)")).unwrap_or_default().to_owned();
    assert!(of_front(&dns).ends_with("(front): 10.0.0.1 2001:db8::53"), "{dns}");
    assert!(of_front(&domains).ends_with("(front): example.net"), "{domains}");
}

/// While serial 1 runs, the disk of serial 2 is put in, and the plan says what will happen. Returns the paths it names.
fn plan_of_the_next_boot(appliance: &Appliance, machine: &Machine, next: &Path) -> BTreeSet<String> {
    machine.attach(next);
    let [sources, both, plan] = appliance.ask(
        machine,
        [
            "for i in $(seq 100); do [ -e /dev/vdc ] && break; sleep 0.1; done; sudo -n handoff-agent sources",
            "sudo -n handoff-agent plan; echo $?",
            "sudo -n handoff-agent plan --diff --source disk:/dev/vdc",
        ],
    );
    assert_eq!(sources.matches("raw container: holds settings").count(), 2, "{sources}");
    assert!(both.contains("only one may be there") && both.ends_with("\n11\n"), "{both}");
    eprintln!("{plan}");
    assert!(plan.contains("\n    - Address=10.0.0.10/24\n    + Address=10.0.0.20/24\n"), "{plan}");
    assert!(plan.contains("\n    - configured\n"), "{plan}");
    assert!(!plan.contains("$6$"), "a hash is shown: {plan}");
    let steps = plan.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    let steps = steps.filter(|line| !line.starts_with("then "));
    steps.filter_map(|line| Some(line[line.find(" /")? + 1..].split(' ').next()?.to_owned())).collect()
}

/// Every file of the root disk with all that a change of it would change; without what systemd and the journal write, and the
/// agent's own memory.
const LISTING: &str = "sudo -n find / -xdev \\( -path /var/log -o -path /var/lib/systemd -o -path /var/lib/handoff \
    -o -path /var/lib/sudo -o -path /tmp -o -path /var/tmp \\) -prune -o ! -type d \
    -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort";

fn differing(before: &str, after: &str) -> BTreeSet<String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let (before, after) = (lines(before), lines(after));
    before.symmetric_difference(&after).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The same settings again: nothing to do, and no file of the guest is opened for writing or changed in any other way.
fn has_nothing_to_do(appliance: &Appliance, machine: &Machine) {
    let calls = "open,openat,openat2,creat,%file,ftruncate,fchmod,fchown,pwrite64,execve";
    let trace = format!(
        "sudo -n strace -f -qq -y -e trace={calls} -o /run/trace handoff-agent apply && sudo -n cat /run/trace"
    );
    let [plan, trace] = appliance.ask(machine, ["sudo -n handoff-agent plan", trace.as_str()]);
    assert!(plan.starts_with("nothing to do: ") && plan.lines().count() == 1, "{plan}");
    let (said, calls) = trace.split_once('\n').unwrap();
    assert!(said.starts_with("handoff: nothing to do: lb-eu-1 serial "), "{trace}");
    assert!(calls.contains("/var/lib/handoff") || calls.contains("state.json"), "nothing was traced: {calls}");
    let changing = [
        "O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "creat(", "rename", "unlink", "mkdir", "rmdir", "link(", "linkat(",
        "chmod", "chown", "truncate", "utime", "setxattr", "mknod", "pwrite",
    ];
    let written: Vec<&str> = calls
        .lines()
        .filter(|call| !call.contains("readlink"))
        .filter(|call| changing.iter().any(|word| call.contains(word)))
        .filter(|call| !["\"/run/", "\"/dev/", "</run/", "</dev/"].iter().any(|place| call.contains(place)))
        .collect();
    assert!(written.is_empty(), "{written:#?}");
    assert_eq!(calls.matches("execve(").count(), 1, "no program is started: {calls}");
}

fn lives_through_its_boots(mode: RunAs, name: &'static str) {
    let appliance = Appliance::new(mode, name);
    let image_key = appliance.root.read_text("/etc/ssh/ssh_host_ed25519_key.pub");
    let image_motd = appliance.root.read_text("/etc/motd");
    let (first, second) = (appliance.pack(1), appliance.pack(2));

    let mut machine = appliance.machine(&first, 1).boot();
    let line = line_of(&mut machine);
    assert!(line.starts_with("handoff: applied lb-eu-1 serial 1 (generation 1): "), "{line}");
    assert!(line.contains(" from /dev/vdb (raw container), signed by ops@example.net (SHA256:"), "{line}");
    machine.wait_for_ssh(Duration::from_secs(200));
    comes_up_as_its_settings_say(&appliance, &machine);
    let planned = plan_of_the_next_boot(&appliance, &machine, &second);
    assert_eq!(planned, DIFFERENCE.map(str::to_owned).into());
    let [before, key] = appliance.ask(&machine, [LISTING, "cat /etc/ssh/ssh_host_ed25519_key.pub"]);
    assert_ne!(key, image_key);
    machine.power_off();

    let mut machine = appliance.machine(&second, 2).boot();
    let line = line_of(&mut machine);
    assert!(line.starts_with("handoff: applied lb-eu-1 serial 2 (generation 2): 6 changes from /dev/vdb"), "{line}");
    machine.wait_for_ssh(Duration::from_secs(200));
    let [after, motd, shadow, key_again, home, running] = appliance.ask(
        &machine,
        [
            LISTING,
            "cat /etc/motd",
            "sudo -n grep leaver /etc/shadow",
            "cat /etc/ssh/ssh_host_ed25519_key.pub",
            "stat -c '%u %n' /home/leaver",
            "systemctl is-system-running --wait",
        ],
    );
    assert_eq!(differing(&before, &after), planned, "what changed is what the plan said");
    assert_eq!(motd, image_motd);
    assert!(shadow.starts_with("leaver:!"), "{shadow}");
    assert_eq!((key_again, home.as_str(), running.as_str()), (key, "1202 /home/leaver\n", "running\n"));
    let login = machine.try_ssh("leaver", &appliance.user, "true");
    let said = String::from_utf8_lossy(&login.stderr);
    assert!(!login.status.success() && said.contains("Permission denied"), "{said}");
    network_is_up(&appliance, &machine, 2);
    has_nothing_to_do(&appliance, &machine);
    machine.power_off();

    // The same disk again. The power goes as soon as the line is there.
    let mut machine = appliance.machine(&second, 2).boot();
    let line = line_of(&mut machine);
    assert!(
        line.starts_with("handoff: nothing to do: lb-eu-1 serial 2 (generation 2) is in place, as /dev/vdb"),
        "{line}"
    );
    machine.cut_power();

    // The settings of before are a replay; the guest goes on with what it has.
    let mut machine = appliance.machine(&first, 2).boot();
    let line = line_of(&mut machine);
    assert!(line.starts_with("handoff: NOT APPLIED (code 11): /dev/vdb (raw container): "), "{line}");
    assert!(line.contains("; running on the last good settings, lb-eu-1 serial 2 (generation 2)"), "{line}");
    machine.wait_for_ssh(Duration::from_secs(200));
    let [status, unit, running] = appliance.ask(
        &machine,
        [
            "cat /run/handoff/status.json",
            "systemctl show -p ExecMainStatus -p ActiveState handoff.service",
            "systemctl is-system-running --wait",
        ],
    );
    let status = json(&status);
    assert_eq!((&status["outcome"], &status["code"], &status["serial"]), (&"last-good".into(), &11.into(), &2.into()));
    if mode == RunAs::Service {
        let lines: BTreeSet<&str> = unit.lines().collect();
        assert_eq!(lines, BTreeSet::from(["ActiveState=active", "ExecMainStatus=14"]));
    }
    assert_eq!(running, "running\n");
    machine.power_off();
}

#[test]
fn a_machine_lives_through_its_boots_with_the_agent_as_pid_1() {
    lives_through_its_boots(RunAs::Pid1, "appliance-pid1");
}

#[test]
fn a_machine_lives_through_its_boots_with_the_agent_as_a_service() {
    lives_through_its_boots(RunAs::Service, "appliance-service");
}

#[test]
fn settings_that_nobody_trusts_stop_the_first_boot_and_the_console_says_why() {
    let scratch = Scratch::new();
    let (signer, stranger) = (scratch.ssh_key("signer"), scratch.ssh_key("stranger"));
    let layer = Layer::new().agent().trusted_keys(&trusted_line(&signer)).systemd_units();
    let root = RootDisk::new(Image::debian(), &layer);
    let text = settings(1, &signer.public());
    let disk = pack(&scratch, "stranger", &text, &stranger);
    let mut machine = Machine::builder(Image::debian(), "appliance-stopped", &root)
        .run_as(RunAs::Pid1)
        .disk(&disk)
        .nic(Nic::user(FRONT).network("10.0.0.0/24", "10.0.0.1", "10.0.0.10"))
        .boot();
    let line = line_of(&mut machine);
    assert!(line.starts_with("handoff: NOT APPLIED (code 11): /dev/vdb (raw container): "), "{line}");
    assert!(line.ends_with("; the boot stops here"), "{line}");
    // The unit that says it again, once a minute.
    machine.wait_for_line("  last run   NOT APPLIED (code 11)", Duration::from_secs(100));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!machine.ssh_answers());
    machine.cut_power();
    assert_eq!(root.read_text("/etc/hostname"), "image\n");
    assert!(fs::read(&disk).unwrap().starts_with(b"HANDOFF1"));
}
