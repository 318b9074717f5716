//! Who may call the API: keys, roles, and the bootstrap key.
//!
//! The players: [`key`] knows the text form of a key and its check digits; [`Role`] says what a key
//! may do; [`authenticate`] turns the text that a caller sent into a [`Principal`].
//!
//! Guaranteed: a secret is stored only as a salted HMAC and is compared in constant time. Each
//! request asks the database, by a query that begins after it came, so a revoked key stops working
//! at once.

pub mod key;
pub mod role;
pub mod store;
mod verify;

pub use role::{Action, Reach, Role};
pub use verify::{AdminKey, AuthError, BOOTSTRAP, Keys, Principal, authenticate};
