//! What becomes of a guest whose settings are refused, or break it, in both ways to run: containers of half a second, with a
//! systemd of their own. What needs a kernel of its own (disks, a power cut) is in `trial.rs` and `stopped.rs`.

use crate::harness::{Container, Image, Layer, RunAs, Running, Scratch, SshKey, pack, trusted_line};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A server that needs its port for itself.
const SERVER: &str = r#"use IO::Socket::INET;
my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1:$ENV{PORT}") or die "port $ENV{PORT}: $!\n";
while (my $client = $server->accept) { close $client }
"#;
const WEB: &str = "[Unit]\nAfter=taken.socket\n[Service]\nEnvironmentFile=-/etc/web.conf\n\
    ExecStart=/usr/bin/perl /usr/lib/server\n[Install]\nWantedBy=multi-user.target\n";

/// What listens there before.
const SOCKET: &str = "[Socket]\nListenStream=127.0.0.1:8000\n";
const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

/// Holds the end of the boot up for as long as the host wants.
const GATE: &str = "[Unit]\nBefore=multi-user.target\n[Service]\nType=oneshot\n\
    ExecStart=/bin/sh -c 'while [ -e /srv/offered/hold ]; do sleep 0.1; done'\n";

/// The port of the program beside it.
const TAKEN: u16 = 8000;

/// Tells how it went when the boot is at its end, and shuts down.
const REPORT: &str = r#"[Unit]
After=multi-user.target handoff-ready.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '{ handoff-agent status --json; echo END; \
  echo "ready" $(systemctl show -P ExecMainStatus -P Result -P ActiveState handoff-ready.service); \
  echo "web $(systemctl is-active web)"; } >/srv/offered/report; systemctl --no-block poweroff'
"#;

const READY: &str = r#""ready": { "deadline": "2s", "probes": [{ "unit": "web" }, { "tcp": "port" }] }"#;
const STATE: &str = "/var/lib/handoff/state.json";
const A_WHILE: Duration = Duration::from_secs(100);

/// An appliance and its operator.
struct Web {
    mode: RunAs,
    scratch: Scratch,
    signer: SshKey,
    offered: PathBuf,
    container: Container,
}

/// What a boot has told at its end.
struct Report {
    console: String,
    status: Value,
    ready: String,
    web: String,
}

impl Report {
    fn new(told: &str, console: String) -> Self {
        let (json, rest) = told.split_once("END\n").unwrap_or_else(|| panic!("{told}\n{console}"));
        let status = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in:\n{told}"));
        let line = |start: &str| rest.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        Report { status, ready: line("ready "), web: line("web "), console }
    }

    /// Whether a line of the console says so. The line of PID 1 is looked for in the status: systemd
    /// empties the console's buffer when it starts, and only a machine has a kernel log beside it.
    fn says(&self, text: &str) -> bool {
        let by_pid_1 = self.last_run("mode") == "pid1" && self.last_run("message").contains(text);
        by_pid_1 || self.console.lines().any(|line| line.contains("handoff: ") && line.contains(text))
    }

    fn last_run(&self, key: &str) -> &str {
        self.status["last_run"][key].as_str().unwrap_or_default()
    }
}

impl Web {
    fn new(mode: RunAs, policy: &str, ready: &str) -> Self {
        let scratch = Scratch::new();
        let offered = scratch.path().join("offered");
        fs::create_dir(&offered).unwrap();
        let signer = scratch.ssh_key("signer");
        let ready = if ready.is_empty() { String::new() } else { format!(", {ready}") };
        let class = format!(
            r#"{{ "version": 1, "class": "web",
            "policy": {{ "sources": ["file:/srv/offered/settings.img"], "wait_seconds": 0, {policy} }},
            "fields": {{ "port": {{ "type": "port", "help": "Where it listens" }} }},
            "templates": [{{ "text": "PORT={{{{ port }}}}\n", "target": "/etc/web.conf", "syntax": "plain",
              "restart": ["web"], "check": ["/usr/bin/grep", "-v", "=666$", "/etc/web.conf"] }}],
            "services": [{{ "name": "web" }}]{ready} }}"#
        );
        let mut layer = Layer::new()
            .agent()
            .systemd_units()
            .trusted_keys(&trusted_line(&signer))
            .file("/usr/lib/handoff/class.json", 0o644, class)
            .file("/usr/lib/systemd/system/web.service", 0o644, WEB)
            .file("/usr/lib/systemd/system/taken.service", 0o644, SLEEPER)
            .file("/usr/lib/systemd/system/taken.socket", 0o644, SOCKET)
            .file("/usr/lib/systemd/system/gate.service", 0o644, GATE)
            .file("/usr/lib/systemd/system/report.service", 0o644, REPORT)
            .file("/usr/lib/server", 0o644, SERVER)
            .directory("/srv/offered", 0o755);
        for unit in ["taken.socket", "gate.service", "report.service", "handoff-ready.service"] {
            layer = layer.wanted(unit);
        }
        let container = Container::new(Image::debian(), &layer);
        Web { mode, scratch, signer, offered, container }
    }

    fn settings(serial: u32, port: u16) -> String {
        format!(
            r#"{{ "version": 1, "instance": {{ "id": "web-1", "serial": {serial} }}, "appliance": {{ "class": "web" }},
            "fields": {{ "port": {port} }} }}"#
        )
    }

    /// What the next boot finds.
    fn offer_text(&self, settings: &str, signer: &SshKey) {
        let packed = pack(&self.scratch, "packed", settings, signer);
        fs::rename(packed, self.offered.join("settings.img")).unwrap();
    }

    fn offer(&self, serial: u32, port: u16) {
        self.offer_text(&Self::settings(serial, port), &self.signer);
    }

    fn start(&self) -> Running<'_> {
        let program = match self.mode {
            RunAs::Pid1 => "/usr/sbin/handoff-agent",
            RunAs::Service => "/sbin/init",
        };
        let bind = format!("--bind={}:/srv/offered", self.offered.display());
        self.container.boot(&[program, "--show-status=0"], &[&bind], A_WHILE + Duration::from_secs(20))
    }

    /// A boot to its end.
    fn boot(&self) -> Report {
        self.report(self.start())
    }

    /// What is told at the end of a boot.
    fn report(&self, running: Running<'_>) -> Report {
        let console = running.wait_for_end(A_WHILE);
        let file = self.offered.join("report");
        let told = fs::read_to_string(&file).unwrap_or_else(|error| panic!("no report ({error}):\n{console}"));
        fs::remove_file(file).unwrap();
        Report::new(&told, console)
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.container.read_text(STATE)).unwrap()
    }
}

fn settings_that_break_the_appliance_are_left(mode: RunAs) {
    let web = Web::new(mode, r#""attempts": 2"#, READY);
    web.offer(1, 8022);
    let report = web.boot();
    assert!(report.says("applied web-1 serial 1 (generation 1, on trial)"), "{}", report.console);
    assert!(report.says("the trial of web-1 serial 1 (generation 1) is over"), "{}", report.console);
    assert_eq!((&report.status["last_good"], &report.status["trial"]), (&1.into(), &Value::Null));

    web.offer(2, TAKEN);
    let report = web.boot();
    let why = "generation 2 was not ready in 2 attempts: web.service is not active";
    let said = format!("WENT BACK: {why}; running on the last good settings, web-1 serial 1 (generation 3)");
    assert!(report.says("NOT READY: web.service is not active (") && report.says("waited); this was attempt 1 of 2"));
    assert!(report.says(&said) && report.says("ready after"), "{}", report.console);
    assert_eq!((report.last_run("outcome"), report.last_run("message")), ("last-good", said.as_str()));
    assert_eq!(report.status["last_run"]["code"], 14);
    assert_eq!(report.status["last_run"]["ready"]["state"], "ready");
    assert_eq!(report.status["rejected"].as_object().unwrap().values().collect::<Vec<_>>(), [why]);
    assert_eq!((&report.status["last_good"], &report.status["trial"]), (&3.into(), &Value::Null));
    // 14 is no failure of the unit.
    assert_eq!(report.ready, "ready success 14 active");
    assert_eq!(report.web, "web active");
    assert_eq!(web.container.read_text("/etc/web.conf"), "PORT=8022\n");

    // The same again: it says why, writes nothing of ours, and serves.
    let before = web.container.written();
    let report = web.boot();
    assert!(report.says("NOT APPLIED (code 14)") && report.says(why), "{}", report.console);
    assert!(report.says("; running on the last good settings, web-1 serial 1 (generation 3)"), "{}", report.console);
    assert_eq!((report.last_run("outcome"), report.web.as_str()), ("last-good", "web active"));
    let after = web.container.written();
    for (path, seen) in before.iter().filter(|(path, _)| path.starts_with("etc") || path.starts_with("var/lib/handoff"))
    {
        assert_eq!(after.get(path), Some(seen), "{}", path.display());
    }
}

#[test]
fn settings_that_break_the_appliance_are_left_where_the_agent_was_pid_1() {
    settings_that_break_the_appliance_are_left(RunAs::Pid1);
}

#[test]
fn settings_that_break_the_appliance_are_left_where_the_agent_is_a_service() {
    settings_that_break_the_appliance_are_left(RunAs::Service);
}

/// A first generation that never gets the appliance ready: after its boots the guest stops, stays stopped, and takes
/// corrected settings there.
fn a_guest_that_never_got_ready_stops(mode: RunAs, failure: &str) {
    let web = Web::new(mode, &format!(r#""attempts": 1, "failure": "{failure}""#), READY);
    web.offer(1, TAKEN);
    let report = web.boot();
    assert!(report.says("applied web-1 serial 1 (generation 1, on trial)"), "{}", report.console);
    assert!(report.says("NOT READY: web.service is not active"), "{}", report.console);
    assert_eq!((&report.status["last_good"], &report.status["trial"]["attempt"]), (&Value::Null, &1.into()));

    let why = "settings: generation 1 did not get ready in 1 attempt, and there are none to go back to; give corrected \
               settings with a higher instance.serial; the boot stops here";
    let mut running = web.start();
    running.wait_for_line(&format!("  last run   NOT APPLIED (code 13): {why}"), A_WHILE);
    running.cut_power();
    let state = web.state();
    assert_eq!((&state["trial"]["attempt"], &state["trial"]["good"]), (&2.into(), &Value::Null));

    // Another boot counts nothing more. The same settings, put in again, do not end the stop, and corrected ones do.
    let mut running = web.start();
    running.wait_for_line("  last run   NOT APPLIED (code 13): settings: generation 1 did not", A_WHILE);
    assert_eq!(web.state(), state);
    web.offer(1, TAKEN);
    std::thread::sleep(Duration::from_secs(4));
    let console = running.console();
    assert!(!console.contains("handoff: applied"), "{console}");
    assert_eq!(web.state(), state);
    web.offer(2, 8022);
    let report = web.report(running);
    assert!(report.says("applied web-1 serial 2 (generation 2, on trial)"), "{}", report.console);
    assert!(report.says("the trial of web-1 serial 2 (generation 2) is over"), "{}", report.console);
    assert_eq!((report.last_run("mode"), report.last_run("outcome")), ("stopped", "applied"));
    assert_eq!((&report.status["last_good"], report.web.as_str()), (&2.into(), "web active"));
}

#[test]
fn a_guest_that_never_got_ready_stops_and_takes_corrected_settings_where_the_agent_was_pid_1() {
    a_guest_that_never_got_ready_stops(RunAs::Pid1, "stop");
}

#[test]
fn a_guest_that_never_got_ready_stops_and_takes_corrected_settings_where_the_agent_is_a_service() {
    a_guest_that_never_got_ready_stops(RunAs::Service, "last-good");
}

/// With the policy `continue` no boot stops, and each says why it could have.
fn a_boot_goes_on_whatever_is_refused(mode: RunAs) {
    let web = Web::new(mode, r#""failure": "continue""#, "");
    let stranger = web.scratch.ssh_key("stranger");
    web.offer_text(&Web::settings(1, 8022), &stranger);
    let report = web.boot();
    assert!(report.says("NOT APPLIED (code 11): /srv/offered/settings.img"), "{}", report.console);
    assert!(report.says("; the boot goes on as the image is"), "{}", report.console);
    assert_eq!((report.last_run("outcome"), &report.status["last_run"]["code"]), ("continued", &11.into()));
    assert_eq!((&report.status["generation"], report.web.as_str()), (&0.into(), "web inactive"));
    assert_eq!(web.container.read(STATE), None);
    assert_eq!(web.container.read("/etc/web.conf"), None);

    // The class does not say how to find out whether the appliance is ready: the end of the boot ends the trial.
    web.offer(1, 8022);
    fs::write(web.offered.join("hold"), "").unwrap();
    let running = web.start();
    let end = Instant::now() + A_WHILE;
    while web.container.read(STATE).is_none() {
        assert!(Instant::now() < end, "{}", running.console());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
    running.cut_power();
    fs::remove_file(web.offered.join("hold")).unwrap();
    assert_eq!(web.state()["trial"]["attempt"], 1);
    let report = web.boot();
    assert!(report.says("the trial of web-1 serial 1 (generation 1) is over"), "{}", report.console);
    assert!(report.says("ready after 0.0 s: no probe is declared"), "{}", report.console);
    assert_eq!((&report.status["last_good"], &report.status["trial"]), (&1.into(), &Value::Null));

    web.offer_text(&Web::settings(2, 8023), &stranger);
    let before = (web.container.read(STATE), web.container.read("/etc/web.conf"));
    let report = web.boot();
    assert!(report.says("NOT APPLIED (code 11)"), "{}", report.console);
    assert!(report.says("; the boot goes on with web-1 serial 1 (generation 1)"), "{}", report.console);
    assert_eq!((report.last_run("outcome"), report.web.as_str()), ("continued", "web active"));
    assert_eq!((web.container.read(STATE), web.container.read("/etc/web.conf")), before);
}

#[test]
fn a_boot_goes_on_whatever_is_refused_where_the_agent_was_pid_1() {
    a_boot_goes_on_whatever_is_refused(RunAs::Pid1);
}

#[test]
fn a_boot_goes_on_whatever_is_refused_where_the_agent_is_a_service() {
    a_boot_goes_on_whatever_is_refused(RunAs::Service);
}

/// Each of these is refused while the appliance serves, and while new settings are on trial.
#[test]
fn what_is_refused_costs_no_guest_its_last_good_settings() {
    let web = Web::new(RunAs::Service, r#""attempts": 9"#, READY);
    let stranger = web.scratch.ssh_key("stranger");
    web.offer(5, 8022);
    assert_eq!(web.boot().status["last_good"], 1);
    let ours = || -> Vec<_> {
        let is_ours = |path: &PathBuf| path.starts_with("var/lib/handoff") || path.starts_with("etc/web.conf");
        web.container.written().into_iter().filter(|(path, _)| is_ours(path)).collect()
    };
    let before = ours();
    let good = Web::settings(6, 8023);
    let refused = [
        ("NOT APPLIED (code 11)", good.clone(), &stranger),
        ("NOT APPLIED (code 11)", Web::settings(4, 8023), &web.signer),
        ("NOT APPLIED (code 12)", good.replace("\"web\"", "\"mail\""), &web.signer),
        ("NOT APPLIED (code 12)", good.replace("8023", "666"), &web.signer),
    ];
    for (line, settings, signer) in &refused {
        web.offer_text(settings, signer);
        let report = web.boot();
        assert!(report.says(line), "{}", report.console);
        assert!(
            report.says("; running on the last good settings, web-1 serial 5 (generation 1)"),
            "{}",
            report.console
        );
        assert_eq!((report.last_run("outcome"), report.web.as_str()), ("last-good", "web active"));
        assert_eq!(ours(), before, "{settings}");
    }
}
