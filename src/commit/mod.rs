//! The only writer of the guest's files: staging, journal, generations, recovery.

pub mod state;
