//! Settings disks made by the tools that operators have, and ours read by those tools. Needs genisoimage, xorriso, mkfs.vfat,
//! fsck.vfat and mtools.

// The helpers of an integration test are test code too, which the lints do not know.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![cfg(feature = "operator")]

use handoff::operator::disk::{Format, image};
use handoff::source::{self, probe};
use handoff::trust::Blob;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A scratch directory with the two files in `files/`.
struct Scratch {
    dir: TempDir,
    blob: Blob,
}

/// Runs a tool that must succeed, in the given directory. Returns what it printed.
fn run(dir: &Path, command: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(command)
        .args(arguments)
        .current_dir(dir)
        .env("PATH", path)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("MTOOLSRC", "/dev/null")
        .output()
        .unwrap_or_else(|error| panic!("{command} cannot be run ({error}); install it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command} {arguments:?}: {text}");
    text
}

impl Scratch {
    fn new() -> Scratch {
        // Longer than a block and no multiple of one, and not the same from block to block.
        let settings: Vec<u8> = (0..9001u32).flat_map(|i| format!("{i} ").into_bytes()).collect();
        Scratch::with(Blob::new("test", settings, Some(b"a signature\n".to_vec())).unwrap())
    }

    fn with(blob: Blob) -> Scratch {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        fs::write(dir.path().join("files/settings.json"), blob.settings()).unwrap();
        if let Some(signature) = blob.signature() {
            fs::write(dir.path().join("files/settings.json.sig"), signature).unwrap();
        }
        Scratch { dir, blob }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> String {
        run(self.dir.path(), command, arguments)
    }

    /// Makes `disk.iso` of `files/`, afresh, and reads it.
    fn iso(&self, command: &[&str], arguments: &[&str], label: &str) -> Vec<u8> {
        let path = self.path("disk.iso");
        let _ = fs::remove_file(&path);
        let mut all = command[1..].to_vec();
        all.extend(["-quiet", "-V", label]);
        all.extend(arguments);
        all.extend(["-o", "disk.iso", "files"]);
        self.run(command[0], &all);
        fs::read(path).unwrap()
    }

    /// Makes `disk.fat` of this size in KiB, and puts the two files on it.
    fn fat(&self, arguments: &[&str], kib: u32) -> Vec<u8> {
        let path = self.path("disk.fat");
        let _ = fs::remove_file(&path);
        let kib = kib.to_string();
        let mut all = arguments.to_vec();
        all.extend(["-C", "disk.fat", &kib]);
        self.run("mkfs.vfat", &all);
        self.mcopy();
        fs::read(path).unwrap()
    }

    fn mcopy(&self) {
        self.run("mcopy", &["-i", "disk.fat", "files/settings.json", "files/settings.json.sig", "::/"]);
    }

    fn assert_found(&self, disk: &[u8], what: &str) {
        let found = probe("disk", &disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.as_ref(), Some(&self.blob), "{what}");
    }
}

const GENISOIMAGE: &[&str] = &["genisoimage"];
const XORRISO: &[&str] = &["xorriso", "-as", "mkisofs"];

#[test]
fn isos_of_genisoimage_and_xorriso_are_read_whatever_names_they_have() {
    let scratch = Scratch::new();
    for tool in [GENISOIMAGE, XORRISO] {
        let plain: &[&str] = if tool == XORRISO { &["--norock"] } else { &[] };
        let names: [&[&str]; 5] = [plain, &["-J"], &["-R"], &["-J", "-R"], &["-r", "-J", "-joliet-long"]];
        let levels: [&[&str]; 7] = [
            &["-iso-level", "1"],
            &["-iso-level", "2"],
            &["-iso-level", "3"],
            &["-iso-level", "4"],
            &["-U"],
            &["-relaxed-filenames", "-l"],
            &["-allow-lowercase", "-l"],
        ];
        for names in names {
            for level in levels {
                let arguments = [names, level].concat();
                let disk = scratch.iso(tool, &arguments, "HANDOFF");
                scratch.assert_found(&disk, &format!("{tool:?} {arguments:?}"));
            }
        }
        let more: [&[&str]; 4] = [&["-N"], &["-d", "-l"], &["-no-pad"], &["-allow-multidot", "-l"]];
        for arguments in more {
            scratch.assert_found(&scratch.iso(tool, arguments, "HANDOFF"), &format!("{tool:?} {arguments:?}"));
        }
    }
}

#[test]
fn an_iso_with_many_files_is_read_and_long_rock_ridge_names_do_not_confuse() {
    let scratch = Scratch::new();
    // Not many more, or xorriso 1.5.4 itself fails.
    for index in 0..60 {
        // Names that need continuation areas, before and after ours.
        let name = format!("files/{}{}", if index % 2 == 0 { "a" } else { "z" }, format!("{index:03}").repeat(60));
        fs::write(scratch.path(&name), "x").unwrap();
    }
    fs::create_dir_all(scratch.path("files/deep/settings.json")).unwrap();
    for tool in [GENISOIMAGE, XORRISO] {
        for names in [&["-R"][..], &["-J", "-R", "-joliet-long"]] {
            scratch.assert_found(&scratch.iso(tool, names, "HANDOFF"), &format!("{tool:?} {names:?}"));
        }
    }
}

#[test]
fn an_iso_made_by_xorriso_itself_is_read() {
    let scratch = Scratch::new();
    scratch.run("xorriso", &["-outdev", "own.iso", "-volid", "HANDOFF", "-joliet", "on", "-map", "files", "/"]);
    scratch.assert_found(&fs::read(scratch.path("own.iso")).unwrap(), "xorriso -map");
}

#[test]
fn a_label_counts_in_any_case_and_another_label_is_absent() {
    let scratch = Scratch::new();
    for label in ["handoff", "Handoff", "HANDOFF"] {
        scratch.assert_found(&scratch.iso(XORRISO, &["-J"], label), label);
        scratch.assert_found(&scratch.fat(&["-F", "12", "-n", label], 1440), label);
    }
    for label in ["HANDOFF2", "CIDATA", "HAND OFF"] {
        assert!(probe("disk", &scratch.iso(XORRISO, &["-J"], label)).unwrap().is_none(), "{label}");
        assert!(probe("disk", &scratch.fat(&["-F", "12", "-n", label], 1440)).unwrap().is_none(), "{label}");
    }
}

#[test]
fn a_volume_with_our_label_and_without_settings_is_broken() {
    let scratch = Scratch::new();
    fs::rename(scratch.path("files/settings.json"), scratch.path("files/settings.jsonc")).unwrap();
    for arguments in [&["-R"][..], &["-J"], &["-J", "-R"]] {
        let error = probe("/dev/vdb", &scratch.iso(GENISOIMAGE, arguments, "HANDOFF")).unwrap_err();
        assert!(error.to_string().starts_with("/dev/vdb: has our label and no settings.json"), "{error}");
    }
    scratch.run("mkfs.vfat", &["-n", "HANDOFF", "-C", "empty.fat", "1440"]);
    let error = probe("/dev/vdb", &fs::read(scratch.path("empty.fat")).unwrap()).unwrap_err();
    assert_eq!(error.class().exit_code(), 11);
}

#[test]
fn fat_volumes_of_every_width_and_size_are_read() {
    let scratch = Scratch::new();
    let cases: [(&[&str], u32); 12] = [
        (&["-F", "12"], 1440),
        (&["-F", "12", "-s", "8"], 1440),
        (&["-F", "12", "-S", "1024"], 2880),
        (&["-F", "16"], 16 * 1024),
        (&["-F", "16", "-s", "16"], 64 * 1024),
        (&["-F", "16", "-S", "4096"], 64 * 1024),
        (&["-F", "16", "-f", "1", "-r", "16"], 16 * 1024),
        (&["-F", "32"], 40 * 1024),
        (&["-F", "32", "-s", "1"], 64 * 1024),
        (&["-F", "32", "-S", "2048"], 300 * 1024),
        (&["-I"], 8 * 1024),
        (&["-a", "-R", "7"], 4 * 1024),
    ];
    for (arguments, kib) in cases {
        let arguments = [arguments, &["-n", "HANDOFF"]].concat();
        scratch.assert_found(&scratch.fat(&arguments, kib), &format!("{arguments:?}"));
    }
}

#[test]
fn a_fat_volume_is_known_by_either_of_its_labels() {
    let scratch = Scratch::new();
    for (width, kib, at) in [("12", 1440, 43), ("16", 16 * 1024, 43), ("32", 40 * 1024, 71)] {
        // In the boot sector only: the root directory's entry is made another one's.
        let disk = scratch.fat(&["-F", width, "-n", "HANDOFF"], kib);
        let places: Vec<usize> =
            disk.windows(11).enumerate().filter(|(_, w)| w == b"HANDOFF    ").map(|(i, _)| i).collect();
        let entry = *places.last().unwrap();
        assert!(places.contains(&at) && entry != at, "{places:?}");
        let mut boot_only = disk.clone();
        boot_only[entry..entry + 11].copy_from_slice(b"SOMETHING  ");
        scratch.assert_found(&boot_only, "boot sector");

        let mut root_only = disk.clone();
        root_only[at..at + 11].copy_from_slice(b"NO NAME    ");
        scratch.assert_found(&root_only, "root directory");
        boot_only[at..at + 11].copy_from_slice(b"NO NAME    ");
        assert!(probe("disk", &boot_only).unwrap().is_none());

        scratch.fat(&["-F", width], kib);
        scratch.run("mlabel", &["-i", "disk.fat", "::handoff"]);
        scratch.assert_found(&fs::read(scratch.path("disk.fat")).unwrap(), "mlabel");
    }
}

#[test]
fn a_fat_volume_of_mformat_with_a_fragmented_file_is_read() {
    let scratch = Scratch::new();
    scratch.run("mformat", &["-C", "-f", "1440", "-v", "HANDOFF", "-i", "disk.fat", "::"]);
    let names: Vec<String> = (0..200).map(|index| format!("files/{index}.txt")).collect();
    for name in &names {
        fs::write(scratch.path(name), vec![b'x'; 700]).unwrap();
    }
    let mut arguments = vec!["-i", "disk.fat"];
    arguments.extend(names.iter().map(String::as_str));
    arguments.push("::/");
    scratch.run("mcopy", &arguments);
    // Every second one goes, so that what comes next is in pieces.
    let gone: Vec<String> = (0..200).step_by(2).map(|index| format!("::/{index}.txt")).collect();
    let mut arguments = vec!["-i", "disk.fat"];
    arguments.extend(gone.iter().map(String::as_str));
    scratch.run("mdel", &arguments);
    scratch.mcopy();
    scratch.assert_found(&fs::read(scratch.path("disk.fat")).unwrap(), "mformat");
}

#[test]
fn a_partition_is_read_and_the_disk_around_it_is_not_ours() {
    const OFFSET: usize = 1 << 20;
    struct Partition<'a>(&'a [u8]);
    impl source::ReadAt for Partition<'_> {
        fn size(&self) -> u64 {
            (self.0.len() - OFFSET) as u64
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read_at(offset + OFFSET as u64, buffer)
        }
    }
    let scratch = Scratch::new();
    let mut disk = vec![0; OFFSET];
    // A partition table with one FAT partition, as fdisk writes it.
    disk[446..462].copy_from_slice(&[0, 0x20, 0x21, 0, 6, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 0x80, 0, 0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(scratch.fat(&["-F", "16", "-h", "2048", "-n", "HANDOFF"], 16 * 1024));
    assert!(probe("disk", &disk).unwrap().is_none());
    assert_eq!(probe("disk", &Partition(&disk)).unwrap().as_ref(), Some(&scratch.blob));
}

#[test]
fn a_hybrid_iso_that_shows_as_disk_and_as_partition_counts_once() {
    let scratch = Scratch::new();
    let disk = scratch.iso(XORRISO, &["-R", "-J", "-partition_offset", "16", "--protective-msdos-label"], "HANDOFF");
    let partition = &disk[16 * 2048..];
    scratch.assert_found(&disk, "disk");
    scratch.assert_found(partition, "partition");

    let places = source::Places { sys_class_block: scratch.path("class"), dev: scratch.path("dev") };
    fs::create_dir(&places.sys_class_block).unwrap();
    fs::create_dir(&places.dev).unwrap();
    for (name, sys, content) in [("sda", "devices/sda", &disk[..]), ("sda1", "devices/sda/sda1", partition)] {
        fs::write(places.dev.join(name), content).unwrap();
        fs::create_dir_all(scratch.path(sys)).unwrap();
        std::os::unix::fs::symlink(scratch.path(sys), places.sys_class_block.join(name)).unwrap();
    }
    fs::write(scratch.path("devices/sda/sda1/partition"), "1\n").unwrap();
    let found = source::scan(&places).unwrap().unwrap();
    assert_eq!(found.place, format!("{} (ISO 9660 volume HANDOFF)", places.dev.join("sda").display()));
    fs::remove_file(scratch.path("devices/sda/sda1/partition")).unwrap();
    assert!(source::scan(&places).is_err());
}

#[test]
fn our_iso_is_read_by_the_tools() {
    let scratch = Scratch::new();
    fs::write(scratch.path("our.iso"), image(Format::Iso, &scratch.blob).unwrap()).unwrap();
    let names: [(&[&str], &str, &str); 3] = [
        (&["-R"], "/settings.json", "/settings.json.sig"),
        (&["-J"], "/settings.json", "/settings.json.sig"),
        (&[], "/SETTINGS.JSO;1", "/SETTINGS.SIG;1"),
    ];
    for (names, settings, signature) in names {
        for (name, content) in [(settings, scratch.blob.settings()), (signature, scratch.blob.signature().unwrap())] {
            let output = Command::new("isoinfo")
                .args(names)
                .args(["-i"])
                .arg(scratch.path("our.iso"))
                .args(["-x", name])
                .output();
            assert!(output.unwrap().stdout == content, "isoinfo {names:?} -x {name}");
        }
    }
    let info = scratch.run("isoinfo", &["-d", "-i", "our.iso"]);
    for line in ["Volume id: HANDOFF", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let text = scratch.run("xorriso", &["-osirrox", "on", "-indev", "our.iso", "-extract", "/", "out", "-lsl", "/"]);
    assert!(fs::read(scratch.path("out/settings.json")).unwrap() == scratch.blob.settings(), "{text}");
    assert!(fs::read(scratch.path("out/settings.json.sig")).unwrap() == scratch.blob.signature().unwrap(), "{text}");
    assert!(
        text.contains("Volume id    : 'HANDOFF'") && !text.contains("WARNING") && !text.contains("damaged"),
        "{text}"
    );
    assert_eq!(label(&scratch, "our.iso"), "HANDOFF");
}

#[test]
fn our_fat_volume_is_read_and_liked_by_the_tools() {
    let scratch = Scratch::new();
    fs::write(scratch.path("our.fat"), image(Format::Fat, &scratch.blob).unwrap()).unwrap();
    scratch.run("fsck.vfat", &["-n", "-v", "our.fat"]);
    let listing = scratch.run("mdir", &["-i", "our.fat", "::"]);
    assert!(listing.contains("Volume in drive : is HANDOFF"), "{listing}");
    assert!(listing.contains("settings.json") && listing.contains("settings.json.sig"), "{listing}");
    scratch.run("mcopy", &["-i", "our.fat", "::settings.json", "::settings.json.sig", "."]);
    assert!(fs::read(scratch.path("settings.json")).unwrap() == scratch.blob.settings());
    assert!(fs::read(scratch.path("settings.json.sig")).unwrap() == scratch.blob.signature().unwrap());
    assert_eq!(label(&scratch, "our.fat"), "HANDOFF");
}

/// What blkid says is the label of an image.
fn label(scratch: &Scratch, name: &str) -> String {
    scratch.run("blkid", &["-p", "-s", "LABEL", "-o", "value", name]).trim().to_owned()
}

/// One disk of each kind, each with all the names it can have, and a small one of each so that tests that try many are quick.
fn disks(scratch: &Scratch) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("raw", image(Format::Raw, &scratch.blob).unwrap()),
        ("our iso", image(Format::Iso, &scratch.blob).unwrap()),
        ("our fat", image(Format::Fat, &scratch.blob).unwrap()),
        ("genisoimage", scratch.iso(GENISOIMAGE, &["-J", "-R"], "HANDOFF")),
        ("genisoimage -J", scratch.iso(GENISOIMAGE, &["-J"], "HANDOFF")),
        ("xorriso", scratch.iso(XORRISO, &["-J", "-R"], "HANDOFF")),
        ("fat16", scratch.fat(&["-F", "16", "-n", "HANDOFF"], 16 * 1024)),
        ("fat32", scratch.fat(&["-F", "32", "-n", "HANDOFF"], 40 * 1024)),
    ]
}

#[test]
fn a_truncated_disk_never_gives_other_settings() {
    let scratch = Scratch::new();
    for (name, disk) in disks(&scratch) {
        // The last byte that matters is somewhere in the middle for a large volume: half of the places are before it.
        let used = disk.iter().rposition(|&b| b != 0).unwrap() + 1;
        let places = (0..100).map(|i| used * i / 100).chain((0..100).map(|i| disk.len() * i / 100));
        let mut refused = 0;
        for length in places {
            match probe("disk", &&disk[..length]) {
                Ok(Some(blob)) => assert_eq!(blob, scratch.blob, "{name} cut to {length}"),
                Ok(None) | Err(_) => refused += 1,
            }
        }
        assert!(refused >= 100, "{name}: {refused}");
    }
}

#[test]
fn a_raw_container_cut_anywhere_is_refused() {
    let scratch = Scratch::new();
    let disk = handoff::trust::container::encode(&scratch.blob);
    for length in (8..disk.len()).step_by(disk.len() / 200).chain(8..60).chain([disk.len() - 1]) {
        assert_eq!(probe("disk", &&disk[..length]).unwrap_err().class().exit_code(), 11, "{length}");
    }
    for length in 0..8 {
        assert!(probe("disk", &&disk[..length]).unwrap().is_none(), "{length}");
    }
}

#[test]
fn flipped_bits_never_make_us_panic_or_hang() {
    let blob = Blob::new("test", b"{ \"version\": 1 }".repeat(40), Some(b"signature".to_vec())).unwrap();
    let scratch = Scratch::with(blob);
    for (name, mut disk) in disks(&scratch) {
        // The places that hold metadata, that is anything but zeros: each bit of them, evenly thinned out to a few thousand.
        let places: Vec<usize> = (0..disk.len()).filter(|&i| disk[i] != 0).collect();
        let step = (places.len() * 8 / 4000).max(1);
        let start = std::time::Instant::now();
        for bit in (0..places.len() * 8).step_by(step) {
            let at = places[bit / 8];
            disk[at] ^= 1 << (bit % 8);
            let _ = probe("disk", &disk);
            disk[at] ^= 1 << (bit % 8);
        }
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
        assert_eq!(probe("disk", &disk).unwrap(), Some(scratch.blob.clone()));
    }
}

#[test]
fn every_byte_of_the_metadata_can_be_anything() {
    let blob = Blob::new("test", b"{}".to_vec(), Some(b"signature".to_vec())).unwrap();
    let scratch = Scratch::with(blob);
    for (name, mut disk) in disks(&scratch) {
        let places: Vec<usize> =
            (0..disk.len().min(80_000)).filter(|&i| disk[i] != 0 || (i < 512 && !name.contains("iso"))).collect();
        for at in places.iter().copied().step_by((places.len() / 700).max(1)) {
            let was = disk[at];
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                disk[at] = value;
                let _ = probe("disk", &disk);
            }
            disk[at] = was;
        }
    }
}

#[test]
fn several_wrong_bytes_at_once_never_make_us_panic_or_hang() {
    let blob = Blob::new("test", b"{}".to_vec(), Some(b"signature".to_vec())).unwrap();
    let scratch = Scratch::with(blob);
    // A fixed sequence, so that a failure can be had again.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, disk) in disks(&scratch) {
        let places: Vec<usize> = (0..disk.len()).filter(|&i| disk[i] != 0 || i < 64).collect();
        let mut bent = disk.clone();
        for _ in 0..3000 {
            let changed: Vec<usize> = (0..1 + random(6)).map(|_| places[random(places.len())]).collect();
            for &at in &changed {
                bent[at] = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
            }
            let start = std::time::Instant::now();
            let _ = probe("disk", &bent);
            assert!(start.elapsed().as_secs() < 5, "{name}: {changed:?}");
            for &at in &changed {
                bent[at] = disk[at];
            }
        }
    }
}

/// The place of some bytes in an image, which must be there once.
fn find(disk: &[u8], bytes: &[u8]) -> usize {
    let places: Vec<usize> =
        disk.windows(bytes.len()).enumerate().filter(|(_, w)| *w == bytes).map(|(i, _)| i).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    places[0]
}

#[test]
fn lengths_that_lie_are_refused() {
    let scratch = Scratch::new();
    let refused = |disk: &Vec<u8>, what: &str| {
        let error = probe("/dev/vdb", disk).unwrap_err();
        assert_eq!(error.class().exit_code(), 11, "{what}");
        assert!(error.to_string().starts_with("/dev/vdb: "), "{error}");
    };
    let iso = image(Format::Iso, &scratch.blob).unwrap();
    // Rock Ridge's directory record of settings.json: the length is at 10, in both byte orders.
    let record = find(&iso, b"SETTINGS.JSO;1") - 33;
    for length in [(1u32 << 20) + 1, u32::MAX, 1 << 30] {
        let mut disk = iso.clone();
        disk[record + 10..record + 14].copy_from_slice(&length.to_le_bytes());
        refused(&disk, "an iso whose byte orders differ");
        disk[record + 14..record + 18].copy_from_slice(&length.to_be_bytes());
        refused(&disk, "an iso with a huge file");
    }
    // Within the limit, and beyond the end of the disk.
    let mut disk = iso.clone();
    disk[record + 10..record + 14].copy_from_slice(&1_000_000u32.to_le_bytes());
    disk[record + 14..record + 18].copy_from_slice(&1_000_000u32.to_be_bytes());
    refused(&disk, "an iso with a file beyond its end");

    let fat = image(Format::Fat, &scratch.blob).unwrap();
    let entry = find(&fat, b"SETTIN~1JSO");
    for length in [(1u32 << 20) + 1, u32::MAX, scratch.blob.settings().len() as u32 + 1024] {
        let mut disk = fat.clone();
        disk[entry + 28..entry + 32].copy_from_slice(&length.to_le_bytes());
        refused(&disk, "a fat volume with a file longer than its chain");
    }
    let mut disk = fat.clone();
    disk[entry + 26..entry + 28].copy_from_slice(&[0, 0]);
    refused(&disk, "a fat volume with a file that begins nowhere");
    // The chain bites its own tail; the file asks for all that a blob may have.
    let mut disk = fat.clone();
    disk[512 + 3..512 + 6].copy_from_slice(&[0x02, 0x20, 0x00]);
    disk[entry + 28..entry + 32].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&disk, "a fat volume with a loop");
}
