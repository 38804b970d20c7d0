//! What makes bytes from outside believable: framing, digest, signature, trusted keys.
//!
//! A source gives a [`Blob`], whose bytes nobody may interpret. [`verify()`] turns it into [`Verified`] settings, or says
//! why not. [`freshness`] then asks whether genuine settings are meant for this machine, and are not old ones again.

pub mod blob;
pub mod container;
pub mod freshness;
mod pin;
mod public_key;
mod sshsig;
mod trusted_keys;
mod validity;
mod verify;

pub use blob::{Blob, Digest, MAX_BLOB};
pub use freshness::{Mark, Uuid};
pub use pin::pin_from_command_line;
pub use public_key::{PublicKey, SUPPORTED_KEY_TYPES};
pub use sshsig::{NAMESPACE, SettingsSignature};
pub use trusted_keys::{MAX_TRUSTED_KEYS, TrustedKey, TrustedKeys};
pub use validity::{Clock, ShownTime, Validity};
pub use verify::{Authority, Requirement, TRUSTED_KEYS_PATH, Verified, check_pin, verify};
