//! The registration list: who is told of which events, how and where.

pub mod check;
mod disabled;
pub mod failing;
pub mod heartbeat;
mod key_text;
pub mod model;
pub mod on_dead;
pub mod register;
pub mod retry;
pub mod secret;
pub mod selection;
pub mod start;
pub mod state;
pub mod store;
