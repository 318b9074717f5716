//! The registration list: who is told of which events, how and where.

pub mod model;
pub mod secret;
