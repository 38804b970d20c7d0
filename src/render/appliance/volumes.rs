//! Data volumes: our lines of `/etc/fstab`, and what makes the units wait for them. Formats: fstab(5), systemd.mount(5).
//!
//! `x-systemd.makefs` makes a file system only where a volume holds nothing at all; `x-systemd.growfs` lets it fill a volume
//! that has grown. A volume that is missing holds up the units that need it, and nothing else.
//!
//! Whoever made the volume, or has it in another guest, can put programs on it that make root of whoever starts them, and
//! devices. `nosuid` and `nodev` take that from them; a class that wants it back says so in its options, which come later.

use super::super::{Context, block, current_file};
use crate::class::Volume;
use crate::error::Result;
use crate::guest::{File, GuestPath, Node, Owner};
use crate::plan::Desired;

/// How long is waited for the device; systemd's own default, said aloud. A slow host takes half a minute to show a disk.
const DEVICE_TIMEOUT: &str = "x-systemd.device-timeout=90s";

pub(super) fn render(context: &Context<'_>, desired: &mut Desired) -> Result<()> {
    let path = GuestPath::of("/etc/fstab");
    let volumes = &context.class.volumes;
    let current = current_file(context.guest, &path)?;
    let text: String = volumes.iter().map(line).collect();
    match current {
        Some(file) if !volumes.is_empty() || block::is_in(&file.content) => {
            let content = block::replace(&file.content, text.as_bytes());
            desired.edited(path, Node::file_of(content, file.mode, file.owner), false)?;
        }
        None if !volumes.is_empty() => {
            let fresh = File { content: block::replace(b"", text.as_bytes()), mode: 0o644, owner: Owner::ROOT };
            desired.edited(path, Node::File(fresh), false)?;
        }
        _ => {}
    }
    let mut needed: Vec<(&str, Vec<&str>)> = Vec::new();
    for volume in volumes {
        for unit in &volume.services {
            match needed.iter_mut().find(|(name, _)| *name == unit.as_str()) {
                Some((_, mounts)) => mounts.push(volume.mount.as_str()),
                None => needed.push((unit.as_str(), vec![volume.mount.as_str()])),
            }
        }
    }
    for (unit, mounts) in needed {
        let path = GuestPath::parse(&format!("/etc/systemd/system/{unit}.d/50-handoff-volumes.conf"))?;
        desired.file(path, format!("[Unit]\nRequiresMountsFor={}\n", mounts.join(" ")), 0o644)?;
    }
    Ok(())
}

fn line(volume: &Volume) -> String {
    let mut options = vec!["nofail", "nosuid", "nodev"];
    if volume.device.starts_with('/') {
        options.push("x-systemd.makefs");
    }
    options.extend(["x-systemd.growfs", DEVICE_TIMEOUT]);
    options.extend(volume.options.iter().map(String::as_str));
    format!("{}\t{}\t{}\t{}\t0\t2\n", volume.device, volume.mount, volume.filesystem, options.join(","))
}
