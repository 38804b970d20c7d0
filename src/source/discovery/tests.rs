use super::*;
use crate::error::Class;
use crate::trust::container;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A `/sys` and a `/dev` in a scratch directory, with files for devices.
struct Machine {
    dir: TempDir,
    places: Places,
}

fn blob(text: &str) -> Blob {
    Blob::new("test", text.into(), None).unwrap()
}

fn disk(text: &str) -> Vec<u8> {
    container::encode(&blob(text))
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { sys_class_block: dir.path().join("class"), dev: dir.path().join("dev") };
        for path in [&places.sys_class_block, &places.dev, &dir.path().join("devices")] {
            fs::create_dir(path).unwrap();
        }
        Machine { dir, places }
    }

    /// Adds a device, as the kernel shows it: its directory, the link to it, its node.
    fn add(&self, name: &str, parent: Option<&str>, content: &[u8]) {
        fs::write(self.dev(name), content).unwrap();
        let sys = self.dir.path().join("devices").join(parent.unwrap_or_default()).join(name);
        fs::create_dir_all(&sys).unwrap();
        fs::write(sys.join("size"), format!("{}\n", content.len().div_ceil(512))).unwrap();
        if parent.is_some() {
            fs::write(sys.join("partition"), "1\n").unwrap();
        }
        symlink(sys, self.places.sys_class_block.join(name)).unwrap();
    }

    fn dev(&self, name: &str) -> PathBuf {
        self.places.dev.join(name)
    }

    fn scan(&self) -> Result<Option<Found>> {
        scan(&self.places)
    }

    fn wait(&self, milliseconds: u64) -> Result<Option<Found>> {
        wait(&[Spec::Auto], &self.places, Instant::now() + Duration::from_millis(milliseconds), &mut None)
    }
}

#[test]
fn the_one_settings_disk_is_found_among_others() {
    let machine = Machine::new();
    assert!(machine.scan().unwrap().is_none());
    machine.add("vda", None, &[0; 8192]);
    machine.add("vda1", Some("vda"), &[7; 4096]);
    machine.add("sr0", None, &[1; 100]);
    assert!(machine.scan().unwrap().is_none());
    machine.add("vdb", None, &disk("{}"));
    let found = machine.scan().unwrap().unwrap();
    assert_eq!(found.blob, blob("{}"));
    assert_eq!(found.place, format!("{} (raw container)", machine.dev("vdb").display()));
}

#[test]
fn a_machine_without_the_list_of_disks_has_none() {
    let places = Places { sys_class_block: "/nonexistent".into(), dev: "/dev".into() };
    assert!(scan(&places).unwrap().is_none());
    assert!(list(&places).is_empty());
}

#[test]
fn two_that_qualify_are_an_error_that_names_both() {
    let machine = Machine::new();
    machine.add("vdc", None, &disk("{}"));
    machine.add("vdb", None, &disk("{}"));
    let error = machine.scan().unwrap_err();
    assert_eq!(error.class(), Class::NotVerified);
    let (b, c) = (machine.dev("vdb"), machine.dev("vdc"));
    let names = format!("{} (raw container) and {} (raw container): ", b.display(), c.display());
    assert!(error.to_string().starts_with(&names), "{error}");
    assert!(machine.wait(0).is_err());
}

#[test]
fn a_partition_that_shows_the_volume_of_its_own_disk_counts_once() {
    let machine = Machine::new();
    machine.add("sda", None, &disk("{}"));
    machine.add("sda1", Some("sda"), &disk("{}"));
    // Not as long as the volume.
    machine.add("sda2", Some("sda"), &disk("{}")[..49]);
    let found = machine.scan().unwrap().unwrap();
    assert!(found.place.contains("sda (raw"), "{}", found.place);
    // The same bytes on another disk are another disk.
    machine.add("sdb", None, &[0; 4096]);
    machine.add("sdb1", Some("sdb"), &disk("{}"));
    assert!(machine.scan().is_err());
}

#[test]
fn a_partition_with_other_settings_than_its_disk_is_a_second_one() {
    let machine = Machine::new();
    machine.add("sda", None, &disk("{}"));
    machine.add("sda1", Some("sda"), &disk("{ }"));
    assert!(machine.scan().is_err());
}

#[test]
fn a_broken_settings_disk_is_not_passed_over() {
    let machine = Machine::new();
    let mut damaged = disk("{}");
    damaged[49] ^= 1;
    machine.add("vdb", None, &damaged);
    let named = |error: Error| assert_eq!(error.object(), machine.dev("vdb").display().to_string());
    named(machine.scan().unwrap_err());
    // It is reported soon, and not at the deadline.
    let start = Instant::now();
    named(machine.wait(60_000).unwrap_err());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // Nor where there is a good one, before or after it.
    machine.add("vda", None, &disk("{}"));
    named(machine.scan().unwrap_err());
    fs::rename(machine.places.sys_class_block.join("vda"), machine.places.sys_class_block.join("vdc")).unwrap();
    fs::rename(machine.dev("vda"), machine.dev("vdc")).unwrap();
    named(machine.scan().unwrap_err());
}

#[test]
fn devices_that_cannot_be_settings_disks_are_passed_over_unless_named() {
    let machine = Machine::new();
    for name in ["loop0", "ram1", "zram0", "dm-3", "md127", "fd0"] {
        machine.add(name, None, &disk("{}"));
    }
    machine.add("vdz", None, &[]);
    assert!(machine.scan().unwrap().is_none());
    let found = spec::load(&Spec::Disk(machine.dev("loop0")), &machine.places).unwrap().unwrap();
    assert_eq!(found.blob, blob("{}"));
    // A name that only begins like one of them.
    machine.add("mdisk", None, &disk("{}"));
    assert!(machine.scan().unwrap().is_some());
}

#[test]
fn a_device_without_a_node_and_one_in_a_directory() {
    let machine = Machine::new();
    machine.add("vda", None, &disk("{}"));
    fs::remove_file(machine.dev("vda")).unwrap();
    assert!(machine.scan().unwrap().is_none());
    machine.add("cciss!c0d0", None, &disk("{}"));
    assert!(machine.scan().unwrap().is_none());
    fs::create_dir(machine.dev("cciss")).unwrap();
    fs::rename(machine.dev("cciss!c0d0"), machine.dev("cciss/c0d0")).unwrap();
    assert!(machine.scan().unwrap().is_some());
}

#[test]
fn devices_are_in_the_order_in_which_people_count() {
    let mut names = ["vda10", "vdb", "vda2", "vda", "nvme1n1", "nvme0n1p2", "nvme0n1", "nvme0n1p10", "sr0", "vdaa"];
    names.sort_by(|a, b| natural(a, b));
    assert_eq!(names, ["nvme0n1", "nvme0n1p2", "nvme0n1p10", "nvme1n1", "sr0", "vda", "vda2", "vda10", "vdaa", "vdb"]);
    assert_eq!(natural("a01", "a1"), Ordering::Greater);
    assert_eq!(natural("a1", "a1"), Ordering::Equal);
}

#[test]
fn the_list_says_of_each_device_what_it_is() {
    let machine = Machine::new();
    machine.add("loop0", None, &disk("{}"));
    machine.add("vda", None, &[0; 4096]);
    machine.add("vdb", None, &disk("{}"));
    machine.add("vdc", None, &disk("{}")[..20]);
    let list = list(&machine.places);
    let names: Vec<_> = list.iter().map(|c| c.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["loop0", "vda", "vdb", "vdc"]);
    let verdicts: Vec<_> = list.iter().map(|c| &c.verdict).collect();
    let [Verdict::Passed(a), Verdict::Passed(b), Verdict::Qualifies, Verdict::Broken(_)] = verdicts.as_slice() else {
        panic!("{verdicts:?}");
    };
    assert_eq!((a.as_str(), b.as_str()), ("is a loop device", "holds nothing of ours"));
    assert_eq!((list[1].size, list[2].kind), (Some(4096), Some("raw container")));
}

#[test]
fn waiting_ends_at_the_deadline() {
    let machine = Machine::new();
    let start = Instant::now();
    assert!(machine.wait(120).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(120));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_disk_that_comes_later_is_found_before_the_deadline() {
    let machine = Machine::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            machine.add("vdb", None, &disk("{}"));
        });
        assert!(machine.wait(20_000).unwrap().is_some());
    });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_disk_that_is_still_being_written_is_given_a_moment() {
    let machine = Machine::new();
    machine.add("vdb", None, &disk("{}")[..49]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            fs::write(machine.dev("vdb"), disk("{}")).unwrap();
        });
        assert!(machine.wait(20_000).unwrap().is_some());
    });
}

#[test]
fn the_first_place_of_the_list_counts() {
    let machine = Machine::new();
    machine.add("vdb", None, &disk("{}"));
    let file = machine.dir.path().join("settings.json");
    let specs = [Spec::File(file.clone()), Spec::Auto];
    let found = wait(&specs, &machine.places, Instant::now(), &mut None).unwrap().unwrap();
    assert!(found.place.contains("vdb"));
    fs::write(&file, "{ }").unwrap();
    let found = wait(&specs, &machine.places, Instant::now(), &mut None).unwrap().unwrap();
    assert!(found.place.contains("settings.json"));
}

#[test]
fn four_gibibytes_of_zeros_cost_nothing() {
    let machine = Machine::new();
    machine.add("vdb", None, &[0]);
    fs::File::options().write(true).open(machine.dev("vdb")).unwrap().set_len(4 << 30).unwrap();
    let start = Instant::now();
    assert!(machine.scan().unwrap().is_none());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
