//! What is published for a subscription of the mode `batch`, from its gathering to its digest.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod gathering;
mod harness;
#[path = "../support/mod.rs"]
mod support;
