//! The harness itself, proved with a stub in the agent's place: a test that passes on a broken machine proves nothing.

use crate::harness::{Container, Image, Layer, Machine, Nic, RootDisk, RunAs, Scratch, TinyRoot};
use std::time::{Duration, Instant};

const MAC: &str = "52:54:00:00:00:01";

#[test]
fn a_debian_guest_boots_through_pid_1_takes_a_login_and_leaves_its_files_to_be_read() {
    let image = Image::debian();
    let scratch = Scratch::new();
    let key = scratch.ssh_key("root");
    let stub = "echo \"stub $$ $*\" >/dev/console\nexec /sbin/init \"$@\"\n";
    let layer = Layer::new().stub_agent(stub).way_in(MAC, &key.public()).file("/opt/new/file", 0o640, "baked in\n");
    let root = RootDisk::new(image, &layer);
    let settings = scratch.file("settings", vec![7; 4096]);
    let mut machine = Machine::builder(image, "harness-pid1", &root)
        .run_as(RunAs::Pid1)
        .disk(&settings)
        .nic(Nic::user(MAC))
        .uuid("4c4c4544-0042-3510-8052-b4c04f4e3132")
        .boot();
    assert_eq!(machine.wait_for_line("stub ", Duration::from_secs(60)), "stub 1 ");
    machine.wait_for_ssh(Duration::from_secs(90));
    eprintln!("ssh answers after {:?}", machine.age());

    assert_eq!(
        machine.ssh("root", &key, "stat -c '%a %U %G' /opt/new/file; cat /opt/new/file"),
        "640 root root\nbaked in\n"
    );
    assert_eq!(
        machine.ssh("root", &key, "cat /sys/class/dmi/id/product_uuid"),
        "4c4c4544-0042-3510-8052-b4c04f4e3132\n"
    );
    assert_eq!(machine.ssh("root", &key, "head -c 4 /dev/vdb | od -An -tx1"), " 07 07 07 07\n");
    assert_eq!(machine.ssh("root", &key, "systemctl list-units --failed --no-legend --plain"), "");
    machine.ssh("root", &key, "echo from inside >/etc/left-behind");
    eprintln!("{}", machine.ssh("root", &key, "systemd-analyze; systemd-analyze blame | head -25"));
    machine.power_off();
    assert_eq!(root.read_text("/etc/left-behind"), "from inside\n");
    assert_eq!(root.read("/etc/no-such-file"), None);
    assert!(root.list("/etc").contains(&"left-behind".to_owned()));
}

#[test]
fn a_tiny_guest_starts_runs_its_program_as_pid_1_and_sees_its_disk() {
    let image = Image::debian();
    let scratch = Scratch::new();
    let layer = Layer::new().stub_agent("echo \"stub $$\"\nexec /sbin/init\n");
    let root = TinyRoot::new(image, &layer, "od -An -tx1 -N4 /dev/vda\necho end of tiny\npoweroff -f\n");
    let settings = scratch.file("settings", vec![9; 4096]);
    let start = Instant::now();
    let machine = root.builder(image, "harness-tiny").disk(&settings).deadline(Duration::from_secs(60)).boot();
    let console = machine.wait_for_end(Duration::from_secs(60));
    eprintln!("tiny guest took {:?}", start.elapsed());
    assert!(console.contains("stub 1\n"), "{console}");
    assert!(console.contains("09 09 09 09\n"), "{console}");
    assert!(console.contains("end of tiny\n"), "{console}");
}

#[test]
fn a_container_runs_its_program_as_pid_1() {
    let image = Image::debian();
    let layer =
        Layer::new().stub_agent("echo \"stub $$\"\nhostname\necho left >/etc/left-behind\nrm /etc/issue\nexit 3\n");
    let container = Container::new(image, &layer);
    let finished = container.run(&["/usr/sbin/handoff-agent"], &["--hostname=box"], Duration::from_secs(20));
    assert_eq!(finished.console, "stub 1\nbox\n");
    assert_eq!(finished.status.code(), Some(3));
    assert_eq!(container.read_text("/etc/left-behind"), "left\n");
    assert_eq!(container.read("/etc/issue"), None);
    assert_eq!(container.changed(), ["/etc/issue (removed)", "/etc/left-behind"]);
}

#[test]
fn a_container_boots_systemd() {
    let image = Image::debian();
    let unit = "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nStandardOutput=tty\nExecStart=/bin/sh -c 'echo up and running >/dev/console'\n";
    let layer = Layer::new()
        .file("/etc/systemd/system/tell.service", 0o644, unit)
        .link("/etc/systemd/system/multi-user.target.wants/tell.service", "/etc/systemd/system/tell.service");
    let container = Container::new(image, &layer);
    let start = Instant::now();
    let mut running = container.boot(&["/sbin/init"], &[], Duration::from_secs(65));
    running.wait_for_line("up and running", Duration::from_secs(60));
    eprintln!("container booted in {:?}", start.elapsed());
    running.cut_power();
}
