//! The raw container on a disk.

use crate::trust::{Blob, container};

/// Disks come in whole sectors, and the largest are of 4096 bytes.
const SECTOR: usize = 4096;

/// The container, padded with zeros to whole sectors.
pub(super) fn image(blob: &Blob) -> Vec<u8> {
    let mut image = container::encode(blob);
    image.resize(image.len().next_multiple_of(SECTOR), 0);
    image
}
