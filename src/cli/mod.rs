//! The sub-commands, one file each.

pub mod key;
pub mod metadata;
