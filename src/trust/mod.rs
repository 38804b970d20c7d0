//! What makes bytes from outside believable: framing, digest, signature, trusted keys.

pub mod blob;

pub use blob::{Blob, Digest, MAX_BLOB};
