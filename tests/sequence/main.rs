//! The numbers by which receivers know what they were sent: gapless, told by heartbeats, and asked
//! for by receivers that miss some.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod gapless;
mod harness;
mod heartbeat;
mod library;
mod plans;
mod receivers;
mod since;
#[path = "../support/mod.rs"]
mod support;
