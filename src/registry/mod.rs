//! The catalogue and the registration list at run time, and the one row that orders their edits.
//!
//! An edit of the catalogue or of the registration list locks that row for update and raises its
//! revision; publishing locks it for share. So a batch sees all of an edit or nothing of it, and
//! the revision tells whoever keeps a copy of the metadata whether it is still good. An edit of one
//! subscription is noted with its revision, so that nobody has to read the others again.

pub mod alone;
mod candidates;
mod filters;
mod ground;
mod groups;
pub mod index;
pub mod live;
mod maker;
mod ranges;
pub mod registered;
pub mod roster;
mod store;
pub mod suspended;
pub mod target;
mod webhook;

pub use store::{
    SecretKeyError, registry_lock, registry_raise, registry_raise_for, registry_revision,
    registry_share, secret_key_check,
};
