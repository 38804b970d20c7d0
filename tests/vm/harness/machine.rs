//! A guest in QEMU: Debian's kernel started directly, a root disk, settings disks, network, and its console as a log.

use super::fence::{self, Fenced};
use super::image::Image;
use super::root_disk::RootDisk;
use super::scratch::{Scratch, SshKey};
use super::{qmp, tool};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Who starts the agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunAs {
    /// The kernel, in place of init: `init=/usr/sbin/handoff-agent`. Nothing else is needed in the image.
    Pid1,
    /// systemd, by its unit; the layer has to hold [`super::Layer::systemd_units`].
    Service,
}

/// One network interface. Each is in a network of its own, made by QEMU in user space, or on a [`Hub`] with others.
#[derive(Clone, Debug)]
pub struct Nic {
    mac: String,
    forward: Vec<u16>,
    restrict: bool,
    network: Option<(String, String, String)>,
    hub: Option<Hub>,
}

/// A network of guests with nobody else in it: every frame goes to all of them, as a datagram to a group of the loopback.
/// It is there as long as somebody is on it; who comes and goes does not matter to the others.
#[derive(Clone, Copy, Debug)]
pub struct Hub {
    port: u16,
}

impl Hub {
    /// One that no other test uses.
    pub fn new() -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Hub { port }
    }
}

impl Nic {
    /// The interface that SSH comes in by. DHCP gives 10.0.2.15, the host is 10.0.2.2.
    pub fn user(mac: &str) -> Self {
        Nic { mac: mac.to_owned(), forward: vec![22], restrict: false, network: None, hub: None }
    }

    /// An interface whose network has nothing in it but the host's address.
    pub fn isolated(mac: &str) -> Self {
        Nic { mac: mac.to_owned(), forward: Vec::new(), restrict: true, network: None, hub: None }
    }

    /// An interface on a hub.
    pub fn on(hub: Hub, mac: &str) -> Self {
        Nic { mac: mac.to_owned(), forward: Vec::new(), restrict: false, network: None, hub: Some(hub) }
    }

    /// The ports of the guest that can be reached from outside, instead of that of SSH; see [`Machine::port_of`].
    #[must_use]
    pub fn forward(mut self, ports: &[u16]) -> Self {
        self.forward = ports.to_vec();
        self
    }

    /// The network, as `10.0.0.0/24`, the host's address in it, which answers pings, and the guest's, which is
    /// where forwarded ports lead. Needed where the guest has a static address.
    #[must_use]
    pub fn network(mut self, network: &str, host: &str, guest: &str) -> Self {
        self.network = Some((network.to_owned(), host.to_owned(), guest.to_owned()));
        self
    }

    fn arguments(&self, number: usize, ports: &BTreeMap<u16, u16>) -> [String; 4] {
        let mut backend = match self.hub {
            Some(Hub { port }) => format!("socket,id=net{number},mcast=239.192.0.1:{port},localaddr=127.0.0.1"),
            None => format!("user,id=net{number}"),
        };
        let mut guest = "";
        if let Some((network, host, address)) = &self.network {
            backend += &format!(",net={network},host={host}");
            guest = address;
        }
        if self.restrict {
            backend += ",restrict=on";
        }
        for port in &self.forward {
            backend += &format!(",hostfwd=tcp:127.0.0.1:{}-{guest}:{port}", ports[port]);
        }
        // Without the boot ROM of the card, which would cost a second at each start.
        let device = format!("virtio-net-pci,romfile=,netdev=net{number},mac={}", self.mac);
        ["-netdev".into(), backend, "-device".into(), device]
    }
}

/// The first drive of a machine that has a root disk.
const ROOT_DRIVE: &str = "drive0";

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    kernel: PathBuf,
    initrd: PathBuf,
    append: String,
    devices: Vec<String>,
    nics: Vec<Nic>,
    uuid: Option<String>,
    memory_mib: u32,
    deadline: Duration,
    writes_per_second: Option<u32>,
}

impl Builder {
    /// Who starts the agent.
    #[must_use]
    pub fn run_as(self, mode: RunAs) -> Self {
        match mode {
            RunAs::Pid1 => self.append("init=/usr/sbin/handoff-agent"),
            RunAs::Service => self,
        }
    }

    /// A disk that the guest may not write: `/dev/vdb` and on, in the order given (`/dev/vda` in a tiny guest).
    #[must_use]
    pub fn disk(self, path: &Path) -> Self {
        self.drive(path, "virtio-blk-pci", "format=raw,readonly=on")
    }

    /// A disk that the guest may write.
    #[must_use]
    pub fn writable_disk(self, path: &Path) -> Self {
        self.drive(path, "virtio-blk-pci", "format=raw,cache=unsafe")
    }

    /// A disk that the guest may write, each write and each flush of which is recorded in the order in which they are
    /// completed; see QEMU's driver `blklogwrites`. No flush waits for the host's own disk, so that no write slips in
    /// between a flush and its record.
    #[must_use]
    pub fn recorded_disk(mut self, path: &Path, log: &Path) -> Self {
        for (node, file) in [("recorded-file", path), ("recorded-log", log)] {
            let file = file.to_str().unwrap().replace(',', ",,");
            let node = format!("driver=file,node-name={node},filename={file},cache.no-flush=on");
            self.devices.extend(["-blockdev".into(), node]);
        }
        let node = "driver=blklogwrites,node-name=recorded,file=recorded-file,log=recorded-log,log-sector-size=512";
        self.devices.extend(["-blockdev".into(), node.into()]);
        self.devices.extend(["-device".into(), "virtio-blk-pci,drive=recorded,write-cache=on".into()]);
        self
    }

    /// A disk that the guest may write, and finds as `/dev/disk/by-id/virtio-SERIAL`.
    #[must_use]
    pub fn volume(self, path: &Path, serial: &str) -> Self {
        self.drive(path, &format!("virtio-blk-pci,serial={serial}"), "format=raw,cache=unsafe")
    }

    /// An optical drive: `/dev/sr0` and on.
    #[must_use]
    pub fn cdrom(self, path: &Path) -> Self {
        self.drive(path, "ide-cd", "format=raw,media=cdrom,readonly=on")
    }

    /// A slot in which [`Machine::attach`] puts a disk while the guest runs.
    #[must_use]
    pub fn slot_for_a_disk(mut self) -> Self {
        self.devices.extend(["-device".into(), "pcie-root-port,id=late-slot,chassis=1".into()]);
        self
    }

    /// Another interface.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// More of the kernel's command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append.push(' ');
        self.append.push_str(words);
        self
    }

    /// The machine's UUID, as SMBIOS tells it.
    #[must_use]
    pub fn uuid(mut self, uuid: &str) -> Self {
        self.uuid = Some(uuid.to_owned());
        self
    }

    /// How long the guest may run at all; 3 minutes where nothing is said.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the root disk slow at writing, so that a moment in the middle of something can be met.
    #[must_use]
    pub fn writes_per_second(mut self, number: u32) -> Self {
        self.writes_per_second = Some(number);
        self
    }

    fn drive(mut self, path: &Path, device: &str, options: &str) -> Self {
        let number = self.devices.len();
        let file = path.to_str().unwrap().replace(',', ",,");
        self.devices.extend(["-drive".into(), format!("if=none,id=drive{number},file={file},{options}")]);
        self.devices.extend(["-device".into(), format!("{device},drive=drive{number}")]);
        self
    }

    /// Starts the machine.
    pub fn boot(self) -> Machine {
        // Between the choice of a free port and its use by QEMU somebody else may take it.
        for _ in 0..3 {
            let mut machine = self.start();
            if machine.qemu.wait(Duration::from_millis(300)).is_none() {
                return machine;
            }
            let said = machine.complaints();
            assert!(said.contains("host forwarding rule"), "QEMU did not start: {said}");
        }
        panic!("no free port on 127.0.0.1 in three attempts");
    }

    fn start(&self) -> Machine {
        // All are held until the last is chosen, so that they differ.
        let listeners =
            self.nics.iter().flat_map(|nic| &nic.forward).map(|port| (*port, TcpListener::bind("127.0.0.1:0")));
        let listeners: Vec<(u16, TcpListener)> = listeners.map(|(port, listener)| (port, listener.unwrap())).collect();
        let ports = listeners.iter().map(|(port, listener)| (*port, listener.local_addr().unwrap().port())).collect();
        drop(listeners);
        let run_dir = Scratch::new();
        // A socket's path may have 107 bytes; that of the build directory may be longer.
        let socket_dir = tempfile::tempdir().unwrap();
        let socket = socket_dir.path().join("qmp");
        let log = log_file(&self.name);
        let complaints = run_dir.path().join("qemu.err");

        let mut qemu = fence::command(self.deadline, tool::find("qemu-system-x86_64"));
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        if std::env::var_os("HANDOFF_TEST_KVM").is_some_and(|v| v == "1") {
            qemu.args(["-machine", "q35,accel=kvm", "-cpu", "host"]);
        } else {
            qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max"]);
        }
        qemu.args(["-smp", "2", "-m", &self.memory_mib.to_string()]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd).args(["-append", self.append.trim()]);
        qemu.args(&self.devices);
        if let Some(number) = self.writes_per_second {
            qemu.args(["-set", &format!("drive.{ROOT_DRIVE}.throttling.iops-write={number}")]);
        }
        if self.nics.is_empty() {
            qemu.args(["-nic", "none"]);
        }
        for (number, nic) in self.nics.iter().enumerate() {
            qemu.args(nic.arguments(number, &ports));
        }
        qemu.args(self.uuid.iter().flat_map(|uuid| ["-uuid", uuid.as_str()]));
        // A guest without entropy waits for it.
        qemu.args(["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]);
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&complaints).unwrap());
        let started = Instant::now();
        let qemu = Fenced::spawn(&mut qemu);
        Machine { name: self.name.clone(), qemu, ports, log, complaints, socket, socket_dir, run_dir, started }
    }
}

/// A running guest. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Machine {
    name: String,
    // First, so that the guest is gone before its directories are.
    qemu: Fenced,
    ports: BTreeMap<u16, u16>,
    log: PathBuf,
    complaints: PathBuf,
    socket: PathBuf,
    socket_dir: tempfile::TempDir,
    run_dir: Scratch,
    started: Instant,
}

impl Machine {
    /// A machine that boots the image's kernel on a root disk. Its console goes to `target/vm-logs/NAME.log`; a second
    /// boot of the same name in one program gets `NAME-2.log`.
    pub fn builder(image: &Image, name: &str, root: &RootDisk) -> Builder {
        // The kernel's messages below a warning and a splash of status lines are noise in a log that people read.
        // No mitigations: an emulated machine is slow enough. No check of the timer: on a busy host it fails, and the kernel
        // panics.
        let append =
            "root=/dev/vda console=ttyS0 quiet no_timer_check mitigations=off audit=0 systemd.show_status=false";
        Self::bare(image, name, &image.initrd(), append, 512).writable_disk(root.path())
    }

    /// A machine of just a kernel and an initramfs; see [`super::TinyRoot`].
    pub fn bare(image: &Image, name: &str, initrd: &Path, append: &str, memory_mib: u32) -> Builder {
        Builder {
            name: name.to_owned(),
            kernel: image.kernel(),
            initrd: initrd.to_owned(),
            // On a busy host an emulated timer is late, which the kernel would take for a broken machine.
            append: format!("{append} no_timer_check"),
            devices: Vec::new(),
            nics: Vec::new(),
            uuid: None,
            memory_mib,
            deadline: Duration::from_secs(180),
            writes_per_second: None,
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its console is logged.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// All that the console has shown, without carriage returns and terminal controls.
    pub fn console(&self) -> String {
        plain(&String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()))
    }

    /// Waits until a whole line of the console contains `text`, and returns that line. Panics at the deadline and where
    /// the guest ends before, with the end of the console.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        let end = Instant::now() + deadline;
        loop {
            let ended = self.qemu.ended(); // Before the look at the console, so that its last line is not missed.
            let console = self.console();
            let whole =
                if ended.is_some() { &console[..] } else { console.rsplit_once('\n').map_or("", |(all, _)| all) };
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            if let Some(status) = ended {
                self.fail(&format!("ended ({status}) before its console showed {text:?}"));
            }
            if Instant::now() >= end {
                self.fail(&format!("did not show {text:?} on its console in {} s", deadline.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Puts a disk that the guest may not write into the slot of [`Builder::slot_for_a_disk`].
    pub fn attach(&self, disk: &Path) {
        let file = disk.to_str().unwrap();
        let node = format!(
            r#"{{"driver":"raw","node-name":"late","read-only":true,"file":{{"driver":"file","read-only":true,"filename":"{file}"}}}}"#
        );
        qmp::order_with(&self.socket, "blockdev-add", &node);
        let device = r#"{"driver":"virtio-blk-pci","drive":"late","bus":"late-slot"}"#;
        qmp::order_with(&self.socket, "device_add", device);
    }

    /// Waits until the guest's SSH server answers. Panics at the deadline.
    pub fn wait_for_ssh(&mut self, deadline: Duration) {
        let end = Instant::now() + deadline;
        while !self.ssh_answers() {
            if let Some(status) = self.qemu.ended() {
                self.fail(&format!("ended ({status}) before its SSH server answered"));
            }
            if Instant::now() >= end {
                self.fail(&format!("has no SSH server that answers in {} s", deadline.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether something on the guest's port 22 sends the first bytes of SSH within a second. QEMU itself accepts the
    /// connection at once, so that alone says nothing.
    pub fn ssh_answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port_of(22))) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut start = [0; 4];
        stream.read_exact(&mut start).is_ok() && &start == b"SSH-"
    }

    /// Runs a command in the guest, at most for 60 seconds, and returns what came of it, whatever it was. Call
    /// [`Machine::wait_for_ssh`] before.
    pub fn try_ssh(&self, user: &str, key: &SshKey, command: &str) -> Output {
        self.ssh_command(user, key, &[]).arg(command).stdin(Stdio::null()).output().unwrap()
    }

    /// Like [`Machine::try_ssh`], and panics where the command fails. Returns its standard output.
    pub fn ssh(&self, user: &str, key: &SshKey, command: &str) -> String {
        let output = self.try_ssh(user, key, command);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let out = String::from_utf8_lossy(&output.stdout).into_owned();
            self.fail(&format!("{user} ran {command:?}, which ended with {}: {out}{said}", output.status));
        }
        String::from_utf8(output.stdout).unwrap()
    }

    /// Tries to log in with a password and nothing else, and runs a command. A password needs somebody to type it, which
    /// `ssh` leaves to a program here.
    pub fn ssh_with_password(&self, user: &str, password: &str, command: &str) -> Output {
        let typist = self.run_dir.file("typist", "#!/bin/sh\nprintf '%s\\n' \"$PASSWORD\"\n");
        std::fs::set_permissions(&typist, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut ssh = self.ssh_without_key(
            user,
            &[
                "-o",
                "BatchMode=no",
                "-o",
                "PubkeyAuthentication=no",
                "-o",
                "NumberOfPasswordPrompts=1",
                "-o",
                "PreferredAuthentications=password",
            ],
        );
        ssh.env("SSH_ASKPASS", typist).env("SSH_ASKPASS_REQUIRE", "force").env("PASSWORD", password);
        ssh.arg(command).stdin(Stdio::null()).output().unwrap()
    }

    /// `ssh` up to and with the destination, with more options for it. Nothing of the user's own configuration counts,
    /// and the guest's host key is taken as it comes.
    pub fn ssh_command(&self, user: &str, key: &SshKey, options: &[&str]) -> Command {
        let identity = key.private.to_str().unwrap();
        self.ssh_without_key(user, &[&["-o", "BatchMode=yes", "-i", identity], options].concat())
    }

    fn ssh_without_key(&self, user: &str, options: &[&str]) -> Command {
        let mut ssh = fence::command(Duration::from_secs(60), tool::find("ssh"));
        ssh.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        ssh.args(options).args(["-p", &self.port_of(22).to_string()]);
        ssh.arg(format!("{user}@127.0.0.1"));
        ssh
    }

    /// The port on 127.0.0.1 that leads to this port of the guest. Panics where none does.
    pub fn port_of(&self, port: u16) -> u16 {
        *self.ports.get(&port).unwrap_or_else(|| panic!("port {port} of guest {} is not forwarded", self.name))
    }

    /// Presses the power button, again and again because nobody listens to it early in a boot, and returns the console
    /// when the guest has ended. Panics where it does not in two minutes.
    pub fn power_off(mut self) -> String {
        for _ in 0..24 {
            qmp::order(&self.socket, "system_powerdown");
            if self.qemu.wait(Duration::from_secs(5)).is_some() {
                break;
            }
        }
        self.wait_for_end(Duration::from_secs(1))
    }

    /// Waits until the guest ends by itself (a reboot is an end, too), and returns its console.
    pub fn wait_for_end(mut self, deadline: Duration) -> String {
        match self.qemu.wait(deadline) {
            Some(status) if status.success() => self.console(),
            Some(status) => self.fail(&format!("ended with {status}: {}", self.complaints())),
            None => self.fail(&format!("still ran after {} s", deadline.as_secs())),
        }
    }

    /// Cuts the power when the root disk has carried out this many writes, or where it never does, when the console shows
    /// `text`. What else the guest has written is in its memory or on its way to the disk, and is lost.
    pub fn cut_power_after(mut self, writes: u64, text: &str, deadline: Duration) -> String {
        let end = Instant::now() + deadline;
        while self.root_writes() < writes && !self.console().contains(text) {
            if let Some(status) = self.qemu.ended() {
                self.fail(&format!("ended ({status}) before its root disk had {writes} writes"));
            }
            if Instant::now() >= end {
                self.fail(&format!("has not written {writes} times in {} s", deadline.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.cut_power()
    }

    /// How many writes the root disk has carried out.
    pub fn root_writes(&self) -> u64 {
        qmp::writes(&self.socket, ROOT_DRIVE).unwrap_or(0)
    }

    /// Cuts the power.
    pub fn cut_power(mut self) -> String {
        self.qemu.kill();
        self.console()
    }

    /// What QEMU itself complained about.
    fn complaints(&self) -> String {
        std::fs::read_to_string(&self.complaints).unwrap_or_default()
    }

    /// Fails the test with the end of the console.
    pub fn fail(&self, problem: &str) -> ! {
        let console = self.console();
        let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n  ");
        panic!("guest {} {problem}\n  whole console: {}\n  its end:\n  {tail}", self.name, self.log.display())
    }
}

/// The log of one boot. Logs of earlier runs of the tests are overwritten.
fn log_file(name: &str) -> PathBuf {
    static BOOTS: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let mut boots = BOOTS.lock().unwrap();
    let count = boots.entry(name.to_owned()).or_insert(0);
    *count += 1;
    let file = if *count == 1 { format!("{name}.log") } else { format!("{name}-{count}.log") };
    let dir = tool::target_dir().join("vm-logs");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(file);
    std::fs::write(&path, "").unwrap();
    path
}

/// The text without what a terminal would not show: escape sequences and carriage returns.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                // A control sequence ends with a byte from @ to ~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\u{1b}' => {
                chars.next();
            }
            '\r' | '\0' => {}
            _ => out.push(c),
        }
    }
    out
}
