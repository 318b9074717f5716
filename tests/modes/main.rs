//! What conditions, filters and constraints make of an event in each mode.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod api;
mod conditions;
mod constraints;
mod digests;
mod generated;
mod shop;
mod submitted;
#[path = "../support/mod.rs"]
mod support;
mod wide;
