//! Whether the work must wait for the init, because file systems that it needs are not mounted before.

use crate::class::Volume;
use crate::error::{Error, Result};
use crate::guest::{GuestPath, View};

/// Mount points that do not matter to us: the kernel's own, boot loaders', and places for passing media.
const PASSED_OVER: [&str; 10] = ["/", "/proc", "/sys", "/dev", "/run", "/tmp", "/boot", "/efi", "/mnt", "/media"];

/// The mount points of `/etc/fstab` that hold what we read or write, and that are not mounted yet. The data volumes of the
/// class are its services' own: fstab has them from our last run, and the init mounts them.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn missing_mounts(guest: &dyn View, volumes: &[Volume]) -> Result<Vec<String>> {
    let Some(fstab) = guest.read(&GuestPath::of("/etc/fstab"))? else { return Ok(Vec::new()) };
    let mounts = guest.read(&GuestPath::of("/proc/self/mounts"))?.unwrap_or_default();
    let mut missing = missing(&String::from_utf8_lossy(&fstab), &String::from_utf8_lossy(&mounts));
    missing.retain(|target| !volumes.iter().any(|volume| volume.mount.as_str() == target));
    Ok(missing)
}

/// fstab(5) against proc_pid_mounts(5), which have the same columns.
fn missing(fstab: &str, mounts: &str) -> Vec<String> {
    let mounted: Vec<&str> = mounts.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let mut missing = Vec::new();
    for line in fstab.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut words = line.split_whitespace().skip(1);
        let (Some(target), kind, options) = (words.next(), words.next(), words.next().unwrap_or_default()) else {
            continue;
        };
        let passed = PASSED_OVER
            .iter()
            .any(|place| target == *place || (*place != "/" && target.starts_with(&format!("{place}/"))));
        let manual = options.split(',').any(|option| option == "noauto");
        if !target.starts_with('/') || passed || manual || kind == Some("swap") || mounted.contains(&target) {
            continue;
        }
        missing.push(target.to_owned());
    }
    missing
}

/// Whether `handoff.service` will do the work.
///
/// # Errors
/// It is not enabled: then nobody would.
pub(super) fn check_service(guest: &dyn View, mounts: &[String]) -> Result<()> {
    let link = GuestPath::of("/etc/systemd/system/sysinit.target.wants/handoff.service");
    if guest.node(&link)?.is_some() {
        return Ok(());
    }
    Err(Error::not_applied(
        mounts.join(", "),
        "is not mounted before the init runs, and handoff.service is not enabled",
        "enable handoff.service in the image, or let the initramfs mount it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::guest::Tree;

    #[test]
    fn a_data_volume_of_the_class_is_waited_for_by_its_services_and_not_by_us() {
        let guest = Tree::new().with("/etc/fstab", "/dev/vdc /srv/data ext4\n/dev/vdd /srv/other ext4\n");
        let class = r#"{"version":1,"volumes":{"data":{"serial":"data","mount":"/srv/data"}}}"#;
        let class = Class::parse(class.as_bytes()).unwrap();
        assert_eq!(missing_mounts(&guest, &class.volumes).unwrap(), ["/srv/other"]);
    }

    #[test]
    fn only_missing_mounts_that_matter_are_named() {
        let fstab = "# x\nUUID=1 / ext4 defaults 0 1\nUUID=2 /var ext4 defaults 0 2\nUUID=3 none swap sw 0 0\n\
            UUID=4 /boot/efi vfat umask=0077 0 1\nUUID=5 /home ext4 noauto 0 0\nLABEL=s /srv xfs\ntmpfs /tmp tmpfs\n/dev/sr0 /media/cdrom iso9660 ro\n";
        assert_eq!(missing(fstab, "/dev/vda / ext4 rw 0 0\n"), ["/var", "/srv"]);
        assert_eq!(missing(fstab, "/dev/vda / ext4 rw 0 0\n/dev/vdb /var ext4 rw 0 0\n"), ["/srv"]);
        assert!(missing("", "").is_empty());
    }
}
