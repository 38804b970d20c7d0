//! Machines to test on: an image, throw-away disks made from it, and guests that run on them.
//!
//! Everything here panics instead of returning errors: a machine that cannot be set up is a failed test, and the message
//! says what to do. Nothing here outlives the test: guests are killed when their value is dropped, when the thread that
//! started them ends, and at their deadline.
#![allow(dead_code, unused_imports)] // Each program that includes the harness uses another part of it.

mod fence;
mod image;
mod layer;
mod machine;
mod nspawn;
mod qmp;
mod root_disk;
mod scratch;
mod settings;
mod tiny;
mod tool;
mod tree;

pub use image::Image;
pub use layer::{Layer, built_agent};
pub use machine::{Builder, Hub, Machine, Nic, RunAs};
pub use nspawn::{Container, Finished, Running};
pub use root_disk::RootDisk;
pub use scratch::{Scratch, SshKey};
pub use settings::{handoff, pack, trusted_line};
pub use tiny::TinyRoot;
pub use tool::{find, program, repository, run, target_dir};
