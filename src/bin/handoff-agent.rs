//! `handoff-agent`, the program in the guest.
fn main() {}
