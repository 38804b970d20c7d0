//! What makes bytes from outside believable: framing, digest, signature, trusted keys.

pub mod blob;
pub mod container;
mod public_key;
mod sshsig;

pub use blob::{Blob, Digest, MAX_BLOB};
pub use public_key::{PublicKey, SUPPORTED_KEY_TYPES};
pub use sshsig::{NAMESPACE, SettingsSignature};
