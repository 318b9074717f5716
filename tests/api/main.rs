//! The API against a real Postgres: requests go into the router, no socket is needed.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod account;
mod constraints;
mod defined;
mod digests;
mod event_types;
mod events;
mod explain;
mod filters;
mod harness;
mod idempotency;
mod key_texts;
mod keys;
mod patch;
mod problems;
mod refusals;
mod registration;
mod rekey;
mod secrets;
mod submitted;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod trust;
