//! Settings that pass every check and still break the appliance: the guest goes back to the last good ones by itself. What
//! the status says then, and the boots after that, are in `policy.rs`.

use crate::harness::{Image, Layer, Machine, RootDisk, RunAs, Scratch, SshKey, pack, trusted_line};
use std::time::Duration;

/// A second SSH server is the appliance; at port 22 there is one already.
const CLASS: &str = r#"{ "version": 1, "class": "web", "policy": { "attempts": 2 },
  "fields": { "port": { "type": "port", "help": "Where it listens" } },
  "templates": [{ "text": "PORT={{ port }}\n", "target": "/etc/web.conf", "syntax": "plain", "restart": ["web"] }],
  "services": [{ "name": "web" }],
  "ready": { "deadline": "10s", "probes": [{ "unit": "web" }, { "tcp": "port" }] } }"#;

const UNIT: &str = "[Unit]\nAfter=ssh.service\n[Service]\nEnvironmentFile=/etc/web.conf\n\
    ExecStart=/usr/sbin/sshd -D -o PidFile=none -p ${PORT}\n[Install]\nWantedBy=multi-user.target\n";

const A_WHILE: Duration = Duration::from_secs(240);

struct Web {
    mode: RunAs,
    name: &'static str,
    scratch: Scratch,
    signer: SshKey,
    root: RootDisk,
}

impl Web {
    fn new(mode: RunAs, name: &'static str) -> Self {
        let scratch = Scratch::new();
        let signer = scratch.ssh_key("signer");
        let layer =
            Layer::of_class(CLASS, &trusted_line(&signer)).file("/usr/lib/systemd/system/web.service", 0o644, UNIT);
        let root = RootDisk::new(Image::debian(), &layer);
        Web { mode, name, scratch, signer, root }
    }

    /// A boot with the disk of these settings.
    fn boot(&self, serial: u32, port: u16) -> Machine {
        let settings = format!(
            r#"{{ "version": 1, "instance": {{ "id": "web-1", "serial": {serial} }}, "appliance": {{ "class": "web" }},
            "fields": {{ "port": {port} }} }}"#
        );
        let disk = pack(&self.scratch, &format!("serial-{serial}"), &settings, &self.signer);
        let builder = Machine::builder(Image::debian(), self.name, &self.root).run_as(self.mode).disk(&disk);
        builder.deadline(Duration::from_secs(400)).boot()
    }

    fn come_up_with_good_ones(&self) {
        let mut machine = self.boot(1, 8022);
        machine.wait_for_line("applied web-1 serial 1 (generation 1, on trial)", A_WHILE);
        machine.wait_for_line("the trial of web-1 serial 1 (generation 1) is over", A_WHILE);
        machine.wait_for_line("handoff: ready after", A_WHILE);
        machine.power_off();
    }
}

#[test]
fn settings_that_break_the_appliance_are_tried_and_left() {
    let web = Web::new(RunAs::Service, "trial-ready");
    web.come_up_with_good_ones();

    let mut machine = web.boot(2, 22);
    machine.wait_for_line("applied web-1 serial 2 (generation 2, on trial)", A_WHILE);
    machine.wait_for_line("NOT READY: web.service is not active", A_WHILE);
    let line = machine.wait_for_line("WENT BACK: ", A_WHILE);
    let said = "generation 2 was not ready in 2 attempts: web.service is not active; running on the last good settings, \
                web-1 serial 1 (generation 3)";
    assert!(line.contains(said), "{line}");
    machine.wait_for_line("handoff: ready after", A_WHILE);
    machine.power_off();
    assert_eq!(web.root.read_text("/etc/web.conf"), "PORT=8022\n");
}

#[test]
fn a_guest_that_is_reset_again_and_again_goes_back_at_boot() {
    let web = Web::new(RunAs::Pid1, "trial-reset");
    web.come_up_with_good_ones();
    let mut machine = web.boot(2, 8023);
    machine.wait_for_line("applied web-1 serial 2 (generation 2, on trial)", A_WHILE);
    machine.cut_power();
    let mut machine = web.boot(2, 8023);
    machine.wait_for_line("nothing to do: web-1 serial 2 (generation 2, on trial) is in place", A_WHILE);
    machine.cut_power();
    let mut machine = web.boot(2, 8023);
    machine.wait_for_line("WENT BACK: generation 2 did not get ready in 2 attempts; running on the last good", A_WHILE);
    machine.wait_for_line("NOT APPLIED (code 14)", A_WHILE);
    machine.wait_for_line("handoff: ready after", A_WHILE);
    machine.power_off();
    assert_eq!(web.root.read_text("/etc/web.conf"), "PORT=8022\n");

    // Corrected ones are taken.
    let mut machine = web.boot(3, 8023);
    machine.wait_for_line("the trial of web-1 serial 3 (generation 4) is over", A_WHILE);
    machine.power_off();
    assert_eq!(web.root.read_text("/etc/web.conf"), "PORT=8023\n");
}
