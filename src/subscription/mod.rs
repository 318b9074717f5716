//! The registration list: who is told of which events, how and where.

pub mod check;
mod key_text;
pub mod model;
mod rate;
pub mod register;
pub mod secret;
pub mod selection;
pub mod start;
pub mod state;
pub mod store;
