//! What is published for a subscription of the mode `batch`, from its gathering to its digest.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod account;
mod condensing;
mod crashes;
mod gathering;
mod groups;
mod harness;
mod large;
mod late;
mod life;
mod memory;
mod plans;
mod races;
mod schema;
mod seam;
mod seams;
#[path = "../support/mod.rs"]
mod support;
mod windows;
