//! Subscriptions that begin with what is there: the rows that exist, or past events.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod existing;
mod kinds;
mod past;
mod random;
mod refused;
mod shop;
mod splits;
#[path = "../support/mod.rs"]
mod support;
mod tables;
