//! What the doctor finds, what /readyz and the API say of it, and how upkeep mends what it can.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod busy;
mod command;
mod house;
mod roles;
#[path = "../support/mod.rs"]
mod support;
mod suspended;
mod tables;
