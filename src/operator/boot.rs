//! `handoff boot`: an image and a settings disk in QEMU, so that an operator sees what a host would.
//!
//! The command line is made by a pure function, [`arguments`], which `--print` shows instead of running it.

use crate::error::{Error, Result};
use crate::platform;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The program that is run.
pub const QEMU: &str = "qemu-system-x86_64";
/// What starts first where the agent is process 1.
const AGENT: &str = "/usr/sbin/handoff-agent";
/// The kernel's arguments where none are given: the first disk as root, and the console that the terminal shows.
const APPEND: &str = "root=/dev/vda console=ttyS0";
/// How often a running machine is looked at, where it has a deadline.
const TICK: Duration = Duration::from_millis(50);
/// How long a machine that was asked to end may take for it.
const GRACE: Duration = Duration::from_secs(3);

/// The format of a disk image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImageFormat {
    /// Plain bytes.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl ImageFormat {
    /// The format of this file, by its first bytes.
    ///
    /// # Errors
    /// It cannot be read: [`crate::Class::Usage`].
    pub fn of(path: &Path) -> Result<Self> {
        let mut first = Vec::new();
        match File::open(path).and_then(|file| file.take(4).read_to_end(&mut first)) {
            Ok(_) if first == *b"QFI\xfb" => Ok(ImageFormat::Qcow2),
            Ok(_) => Ok(ImageFormat::Raw),
            Err(error) => Err(Error::usage(
                path.display(),
                format_args!("cannot be read ({error})"),
                "name a disk image that you may read",
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
        }
    }
}

/// A kernel that is started directly, without the image's own boot loader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kernel {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system, where it needs one.
    pub initrd: Option<PathBuf>,
    /// Its arguments. `None`: the first disk as root, and the serial console.
    pub append: Option<String>,
    /// Whether the agent shall be process 1.
    pub agent_is_first: bool,
}

/// One virtual machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Machine {
    /// The appliance's disk.
    pub image: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// Whether what the guest writes stays in the image. Otherwise it is forgotten at the end.
    pub write: bool,
    /// The settings disk, in any of our formats. The guest can only read it.
    pub settings: Option<PathBuf>,
    /// A kernel of its own.
    pub kernel: Option<Kernel>,
    /// The port of 127.0.0.1 that leads to the guest's port 22.
    pub ssh_port: Option<u16>,
    /// The hardware address of the network card.
    pub mac: String,
    /// The machine's UUID, where it matters.
    pub uuid: Option<String>,
    /// Memory in MiB.
    pub memory: u32,
    /// Number of processors.
    pub processors: u32,
    /// Whether the processor itself runs the guest, instead of software.
    pub kvm: bool,
}

/// The arguments of QEMU for this machine. No shell ever sees them.
pub fn arguments(machine: &Machine) -> Vec<OsString> {
    let mut list = Arguments::default();
    list.add("-machine", if machine.kvm { "q35,accel=kvm" } else { "q35,accel=tcg" });
    list.add("-cpu", if machine.kvm { "host" } else { "max" });
    list.add("-m", machine.memory.to_string());
    list.add("-smp", machine.processors.to_string());
    if let Some(uuid) = &machine.uuid {
        list.add("-uuid", uuid);
    }
    list.flag("-nodefaults");
    list.flag("-no-reboot");
    list.add("-display", "none");
    // Ctrl-A X ends the machine, Ctrl-A H helps.
    list.add("-serial", "mon:stdio");
    list.add("-device", "virtio-rng-pci");

    let snapshot = if machine.write { "off" } else { "on" };
    let options = format!(",if=none,id=image,format={},snapshot={snapshot}", machine.format.name());
    list.drive(&machine.image, &options);
    list.add("-device", "virtio-blk-pci,drive=image,bootindex=1");
    if let Some(settings) = &machine.settings {
        list.drive(settings, ",if=none,id=settings,format=raw,readonly=on");
        list.add("-device", "virtio-blk-pci,drive=settings");
    }

    let forward = machine.ssh_port.map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22")).unwrap_or_default();
    list.add("-netdev", format!("user,id=net{forward}"));
    list.add("-device", format!("virtio-net-pci,netdev=net,mac={}", machine.mac));

    if let Some(kernel) = &machine.kernel {
        list.add("-kernel", &kernel.kernel);
        if let Some(initrd) = &kernel.initrd {
            list.add("-initrd", initrd);
        }
        let mut append = kernel.append.clone().unwrap_or_else(|| APPEND.into());
        if kernel.agent_is_first {
            append.push_str(" init=");
            append.push_str(AGENT);
        }
        list.add("-append", append);
    }
    list.0
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn add(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    /// A drive on this file. QEMU ends a value at a comma, and takes two for one of them.
    fn drive(&mut self, path: &Path, options: &str) {
        use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
        let mut value = b"file=".to_vec();
        // A name with a colon would be taken for a protocol.
        if path.is_relative() {
            value.extend_from_slice(b"./");
        }
        for byte in path.as_os_str().as_bytes() {
            value.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
        }
        value.extend_from_slice(options.as_bytes());
        self.add("-drive", OsString::from_vec(value));
    }
}

/// The command as somebody would type it into a shell.
pub fn command_line(arguments: &[OsString]) -> String {
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/@+%".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    let mut line = QEMU.to_owned();
    for word in arguments {
        // One option to a line.
        line.push_str(if word.to_string_lossy().starts_with('-') { " \\\n    " } else { " " });
        line.push_str(&quoted(word));
    }
    line
}

/// Runs the machine on this terminal until it ends by itself, or the deadline is over.
///
/// # Errors
/// It cannot be started, failed, or did not end in time: [`crate::Class::NotApplied`].
pub fn run(machine: &Machine, deadline: Option<Duration>) -> Result<()> {
    let failed = |error: io::Error| {
        Error::not_applied(QEMU, format_args!("cannot be run ({error})"), "install QEMU for x86-64 (qemu-system-x86)")
    };
    let mut child = Command::new(QEMU).args(arguments(machine)).spawn().map_err(failed)?;
    let end = deadline.map(|deadline| (deadline, Instant::now() + deadline));
    let status = match end {
        None => child.wait().map_err(failed)?,
        Some((deadline, end)) => match wait_until(&mut child, end).map_err(failed)? {
            Some(status) => status,
            None => {
                stop(&mut child).map_err(failed)?;
                return Err(Error::not_applied(
                    machine.image.display(),
                    format_args!("did not end within {} seconds, and was stopped", deadline.as_secs()),
                    "look at its console above, or give it a longer --deadline",
                ));
            }
        },
    };
    match status.success() {
        true => Ok(()),
        false => Err(Error::not_applied(
            machine.image.display(),
            format_args!("was not run: {QEMU} ended with {status}"),
            "see its message above",
        )),
    }
}

/// How the child ended. `None`: it still runs when the time is over.
fn wait_until(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= end {
            return Ok(status);
        }
        std::thread::sleep(TICK);
    }
}

/// Ends the child: in order, so that the terminal is as it was, or else by force.
fn stop(child: &mut Child) -> io::Result<()> {
    platform::ask_to_end(child)?;
    if wait_until(child, Instant::now() + GRACE)?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            image: "/images/lb.img".into(),
            format: ImageFormat::Raw,
            write: false,
            settings: Some("/tmp/settings.img".into()),
            kernel: None,
            ssh_port: Some(2222),
            mac: "52:54:00:12:34:56".into(),
            uuid: None,
            memory: 1024,
            processors: 1,
            kvm: false,
        }
    }

    fn words(machine: &Machine) -> Vec<String> {
        arguments(machine).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    /// The values of this option.
    fn values(machine: &Machine, option: &str) -> Vec<String> {
        words(machine).windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].clone()).collect()
    }

    #[test]
    fn the_image_is_kept_as_it_is_unless_asked_otherwise() {
        let mut machine = machine();
        assert!(values(&machine, "-drive")[0].contains("file=/images/lb.img,"));
        assert!(values(&machine, "-drive")[0].contains("format=raw,snapshot=on"));
        machine.write = true;
        machine.format = ImageFormat::Qcow2;
        assert!(values(&machine, "-drive")[0].contains("format=qcow2,snapshot=off"));
    }

    #[test]
    fn the_settings_disk_comes_second_and_cannot_be_written() {
        let drives = values(&machine(), "-drive");
        assert_eq!(drives.len(), 2);
        assert!(drives[1].contains("/tmp/settings.img") && drives[1].contains("readonly=on"), "{drives:?}");
        assert_eq!(values(&Machine { settings: None, ..machine() }, "-drive").len(), 1);
    }

    #[test]
    fn ssh_is_reached_from_this_host_alone() {
        assert_eq!(values(&machine(), "-netdev"), ["user,id=net,hostfwd=tcp:127.0.0.1:2222-:22"]);
        assert_eq!(values(&Machine { ssh_port: None, ..machine() }, "-netdev"), ["user,id=net"]);
    }

    #[test]
    fn software_runs_the_guest_unless_kvm_is_asked_for() {
        assert_eq!(values(&machine(), "-machine"), ["q35,accel=tcg"]);
        assert_eq!(values(&Machine { kvm: true, ..machine() }, "-machine"), ["q35,accel=kvm"]);
    }

    #[test]
    fn the_agent_can_be_the_first_process() {
        let kernel = Kernel { kernel: "/k".into(), initrd: Some("/i".into()), append: None, agent_is_first: true };
        let machine = Machine { kernel: Some(kernel), ..machine() };
        assert_eq!(values(&machine, "-append"), ["root=/dev/vda console=ttyS0 init=/usr/sbin/handoff-agent"]);
        assert_eq!(values(&machine, "-initrd"), ["/i"]);
    }

    #[test]
    fn a_strange_file_name_stays_one_value() {
        let machine = Machine { image: "a,readonly=off:b.img".into(), ..machine() };
        assert!(values(&machine, "-drive")[0].starts_with("file=./a,,readonly=off:b.img,if=none"));
    }

    #[test]
    fn what_is_printed_can_be_pasted_into_a_shell() {
        let line = command_line(&["-append".into(), "a 'b' $(c)".into(), "-no-reboot".into()]);
        assert_eq!(line, "qemu-system-x86_64 \\\n    -append 'a '\\''b'\\'' $(c)' \\\n    -no-reboot");
    }
}
