//! The raw container on a disk.

use crate::trust::{Blob, container};

/// Disks come in whole sectors, and the largest are of 4096 bytes.
const SECTOR: usize = 4096;

/// The least size of a disk, in bytes. Linux looks for partition tables in the first sectors and complains on the console
/// where a disk is too small to have them.
const LEAST: usize = 64 << 10;

/// The container, padded with zeros to whole sectors.
pub(super) fn image(blob: &Blob) -> Vec<u8> {
    let mut image = container::encode(blob);
    image.resize(image.len().next_multiple_of(SECTOR).max(LEAST), 0);
    image
}
