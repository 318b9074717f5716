//! The one row that orders edits and publishing.
//!
//! An edit of the catalogue or of the registration list locks it for update and raises its
//! revision; publishing locks it for share. So a batch sees all of an edit or nothing of it, and the
//! revision tells whoever keeps a copy of the metadata whether it is still good.

mod store;

pub use store::{SecretKeyError, registry_lock, registry_raise, registry_share, secret_key_check};
