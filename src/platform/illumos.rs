//! illumos, and for what compiles there any other Unix.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Waiting for block devices: without news of them, a sleep.
#[derive(Debug)]
pub struct BlockEvents {}

impl BlockEvents {
    /// Nothing to open.
    pub fn open() -> Self {
        BlockEvents {}
    }

    /// Returns after `timeout`.
    pub fn wait(&mut self, timeout: Duration) {
        std::thread::sleep(timeout);
    }
}

/// Opens an optical drive for reading. An empty one is an error here.
///
/// # Errors
/// What the system reports.
pub fn open_drive(path: &Path) -> io::Result<Option<File>> {
    super::open_disk(path).map(Some)
}
