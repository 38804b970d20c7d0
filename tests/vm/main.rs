//! Tests on whole machines: Debian 12 in QEMU and in systemd-nspawn, with the agent baked in.
//!
//! They need root, the packages of `tests/packages` and a few minutes, so plain `cargo test` leaves them out and
//! `make check` runs them: `cargo test --features vm-tests --test vm`. What is missing is a failure that names it, never
//! a test that passes by not running.
//!
//! `HANDOFF_TEST_AGENT` names a static agent to bake in instead of one built for the test; `HANDOFF_TEST_KVM=1` uses
//! hardware virtualisation, which is off by default because a `/dev/kvm` that exists may still hang its guests;
//! `HANDOFF_TEST_CACHE` is where the image is kept; `HANDOFF_TEST_MIRROR` is the Debian mirror it is made from.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, clippy::print_stderr)]

mod appliance;
mod catalog;
mod contained;
#[path = "../proof/dice.rs"]
mod dice;
mod discovery;
mod harness;
mod harness_works;
mod policy;
mod power_cut;
#[path = "../proof/report.rs"]
mod report;
mod stopped;
mod trial;
mod units;
