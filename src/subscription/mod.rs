//! The registration list: who is told of which events, how and where.

pub mod check;
pub mod credential;
mod disabled;
pub mod failing;
pub mod header_check;
pub mod heartbeat;
mod key_text;
pub mod labels;
pub mod list;
pub mod model;
pub mod on_dead;
pub mod rate;
pub mod register;
pub mod rekey;
pub mod retry;
pub mod rotation;
pub mod sealed;
pub mod secret;
pub mod selection;
pub mod start;
pub mod state;
pub mod store;
pub mod verify;
mod webhook_check;
