//! From a committed row change to its receipt, and what happens on the way when things break.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod flow;
mod retry;
mod shop;
#[path = "../support/mod.rs"]
mod support;
