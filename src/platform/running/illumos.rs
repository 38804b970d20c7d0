//! The running system on illumos, and on what else compiles this.

use crate::error::Result;
use crate::guest::{Live, RunningInit};
use crate::root::Root;
use std::io;

/// What the running system holds now.
///
/// # Errors
/// None here.
pub fn live(_root: &Root, pid1: bool) -> Result<Live> {
    let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let init = (!pid1).then_some(RunningInit::Other);
    Ok(Live { hostname, interfaces: Vec::new(), init, first_boot: false })
}

/// Sets the kernel's host name.
///
/// # Errors
/// What the system reports.
pub fn set_hostname(_name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Renames a network interface.
///
/// # Errors
/// It is not supported here.
pub fn rename_interface(_from: &str, _to: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no systemd-networkd here.
pub fn is_networkd_running() -> bool {
    false
}

/// There is no kernel log to write to.
pub fn log_to_kernel(_line: &str, _warning: bool) {}

/// The root made ready for work before the init runs. There is nothing to do here.
#[derive(Debug)]
pub struct PreparedRoot {}

impl PreparedRoot {
    /// Nothing to prepare.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> Result<Self> {
        Ok(PreparedRoot {})
    }
}

/// Nothing was made read-only.
///
/// # Errors
/// None here.
pub fn make_root_writable() -> Result<()> {
    Ok(())
}
