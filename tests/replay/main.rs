//! Dead letters, replays, and dead deliveries that hold their lanes.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod blocked;
mod digests;
mod failing;
mod forgotten;
mod house;
mod interleavings;
mod large;
mod leases;
mod letters;
mod plans;
mod rate;
mod refused;
mod selection;
mod single;
#[path = "../support/mod.rs"]
mod support;
