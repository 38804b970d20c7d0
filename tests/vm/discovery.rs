//! Settings disks of every kind, as a machine shows them to the agent as PID 1, in guests of a few seconds. Most of them
//! are made by tools that are not ours: `ssh-keygen` signs, and xorriso, genisoimage, mkfs.vfat and mcopy pack.

use crate::harness::{Builder, Image, Layer, Scratch, SshKey, TinyRoot, pack, program, run, trusted_line};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The init that the agent hands over to, and that shows what it finds.
const INIT: &str = "echo name $(hostname) $(cat /etc/hostname)\ncat /run/handoff/status.json\npoweroff -f\n";
const SETTINGS: &str = r#"{ "version": 1, "instance": { "id": "tiny-1", "serial": 4 }, "hostname": "tiny-1" }"#;

/// What a test of this file begins with: a directory, a key that the image trusts, and the image.
struct Bench {
    scratch: Scratch,
    signer: SshKey,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let signer = scratch.ssh_key("signer");
        Bench { scratch, signer }
    }

    fn root(&self, class: &str) -> TinyRoot {
        let layer = Layer::new().agent().trusted_keys(&trusted_line(&self.signer));
        TinyRoot::new(Image::debian(), &layer.file("/usr/lib/handoff/class.json", 0o644, class), INIT)
    }

    /// A directory with `settings.json` and `settings.json.sig`, as an operator without our tool makes it.
    fn signed(&self) -> PathBuf {
        let directory = self.scratch.path().join("signed");
        fs::create_dir(&directory).unwrap();
        let settings = directory.join("settings.json");
        fs::write(&settings, SETTINGS).unwrap();
        run(program("ssh-keygen")
            .args(["-Y", "sign", "-q", "-n", "handoff-settings", "-f"])
            .arg(&self.signer.private)
            .arg(&settings));
        directory
    }

    fn disk(&self) -> PathBuf {
        self.scratch.path().join("disk.img")
    }
}

const DEFAULT_CLASS: &str = r#"{ "version": 1 }"#;

/// Boots to the end of the init, and holds that the guest is as the settings say. The line names `place`.
fn is_configured(builder: Builder, place: &str) -> String {
    let mut machine = builder.deadline(Duration::from_secs(120)).boot();
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(90));
    assert!(line.starts_with("handoff: applied tiny-1 serial 4 (generation 1): "), "{line}");
    assert!(line.contains(&format!(" from {place}")), "{line}");
    let console = machine.wait_for_end(Duration::from_secs(60));
    assert!(console.contains("name tiny-1 tiny-1\n"), "{console}");
    eprintln!("{line}");
    console
}

#[test]
fn an_iso_of_xorriso_in_an_optical_drive() {
    let bench = Bench::new();
    run(program("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-V", "HANDOFF", "-J", "-r", "-o"])
        .arg(bench.disk())
        .arg(bench.signed()));
    let root = bench.root(DEFAULT_CLASS).with_optical_drives();
    is_configured(root.builder(Image::debian(), "discovery-optical").cdrom(&bench.disk()), "/dev/sr0 (ISO 9660");
}

#[test]
fn an_iso_of_genisoimage_on_a_disk() {
    let bench = Bench::new();
    run(program("genisoimage").args(["-quiet", "-V", "handoff", "-o"]).arg(bench.disk()).arg("-r").arg(bench.signed()));
    let root = bench.root(DEFAULT_CLASS);
    is_configured(root.builder(Image::debian(), "discovery-iso").disk(&bench.disk()), "/dev/vda (ISO 9660");
}

#[test]
fn a_fat_volume_on_a_partition_beside_other_disks() {
    /// Where the partition begins, and how long it is, in sectors of 512 bytes.
    const START: u32 = 2048;
    const SECTORS: u32 = 2880;
    let bench = Bench::new();
    let volume = bench.scratch.file("volume.img", vec![0; SECTORS as usize * 512]);
    run(program("mkfs.vfat").args(["-n", "HANDOFF"]).arg(&volume));
    let signed = bench.signed();
    run(program("mcopy")
        .arg("-i")
        .arg(&volume)
        .args([signed.join("settings.json"), signed.join("settings.json.sig")])
        .arg("::/"));
    let mut disk = partition_table(START, SECTORS);
    disk.resize(START as usize * 512, 0);
    disk.extend(fs::read(&volume).unwrap());
    fs::write(bench.disk(), disk).unwrap();
    let other = bench.scratch.file("other.img", vec![0; 1 << 20]);
    let root = bench.root(DEFAULT_CLASS);
    let builder = root.builder(Image::debian(), "discovery-fat").disk(&other).disk(&bench.disk());
    is_configured(builder, "/dev/vdb1 (FAT");
}

/// A master boot record with one partition for FAT.
fn partition_table(start: u32, sectors: u32) -> Vec<u8> {
    let mut table = vec![0; 446];
    table.extend([0, 0, 0, 0, 0x0e, 0, 0, 0]);
    table.extend(start.to_le_bytes());
    table.extend(sectors.to_le_bytes());
    table.resize(510, 0);
    table.extend([0x55, 0xaa]);
    table
}

#[test]
fn a_raw_container_on_a_disk_that_is_attached_late() {
    let bench = Bench::new();
    let disk = pack(&bench.scratch, "disk", SETTINGS, &bench.signer);
    let root = bench.root(r#"{ "version": 1, "policy": { "wait_seconds": 60 } }"#);
    root.program("/usr/sbin/announce", "echo no disk yet: $(ls /sys/class/block)\nexec /usr/sbin/handoff-agent\n");
    let builder = root.builder_with_init(Image::debian(), "discovery-late", "/usr/sbin/announce").slot_for_a_disk();
    let mut machine = builder.deadline(Duration::from_secs(120)).boot();
    let line = machine.wait_for_line("no disk yet:", Duration::from_secs(60));
    assert!(!line.contains("vd"), "{line}");
    // Long enough for the agent to have looked around once, in vain.
    std::thread::sleep(Duration::from_secs(3));
    machine.attach(&disk);
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(90));
    assert!(line.contains(" from /dev/vda (raw container)"), "{line}");
    eprintln!("{line}");
    let console = machine.wait_for_end(Duration::from_secs(60));
    assert!(console.contains("name tiny-1 tiny-1\n"), "{console}");
    assert!(milliseconds(&console) > 1500, "{console}");
}

#[test]
fn without_a_disk_a_guest_that_needs_none_boots_and_one_that_does_stops_within_its_deadline() {
    let bench = Bench::new();
    let optional = bench.root(r#"{ "version": 1, "policy": { "settings": "optional", "wait_seconds": 1 } }"#);
    let console = optional
        .builder(Image::debian(), "discovery-optional")
        .deadline(Duration::from_secs(120))
        .boot()
        .wait_for_end(Duration::from_secs(100));
    assert!(console.contains("handoff: no settings found, and none are required\n"), "{console}");
    assert!(console.contains("name (none) tiny\n"), "{console}");

    let required = bench.root(r#"{ "version": 1, "policy": { "wait_seconds": 2 } }"#);
    let mut machine = required.builder(Image::debian(), "discovery-required").deadline(Duration::from_secs(120)).boot();
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(90));
    assert_eq!(
        line,
        "handoff: NOT APPLIED (code 10): sources: none held settings within 2 s; attach a settings disk made with \
         `handoff pack`; the boot stops here"
    );
    // Only systemd has a place to stop in, so no init is started here.
    std::thread::sleep(Duration::from_secs(1));
    let console = machine.cut_power();
    assert!(!console.contains("name "), "{console}");
    eprintln!("{line}");
}

/// How long the run took, by its status.
fn milliseconds(console: &str) -> u64 {
    let line = console.lines().find_map(|line| line.trim().strip_prefix("\"milliseconds\": ")).unwrap();
    line.trim_end_matches(',').parse().unwrap()
}

#[test]
fn two_disks_that_both_hold_settings_are_refused() {
    let bench = Bench::new();
    let disk = pack(&bench.scratch, "disk", SETTINGS, &bench.signer);
    let copy: &Path = &bench.scratch.file("copy.img", fs::read(&disk).unwrap());
    let root = bench.root(DEFAULT_CLASS);
    let builder = root.builder(Image::debian(), "discovery-two").disk(&disk).disk(copy);
    let mut machine = builder.deadline(Duration::from_secs(120)).boot();
    let line = machine.wait_for_line("handoff: ", Duration::from_secs(90));
    assert!(line.starts_with("handoff: NOT APPLIED (code 11): /dev/vda (raw container) and /dev/vdb (raw"), "{line}");
    machine.cut_power();
    eprintln!("{line}");
}
