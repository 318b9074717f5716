//! From a committed row change to its receipt, and what happens on the way when things break.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod aside;
mod backlog;
mod barrier;
mod breaker;
mod delayed;
mod disabling;
mod edits;
mod eligible;
mod flow;
mod gaps;
mod hanging;
mod interleavings;
mod isolation;
mod large;
mod lease;
mod lookout;
mod matching;
mod order;
mod plans;
mod priority;
mod publisher;
mod races;
mod rate;
mod repeats;
mod repository;
mod retry;
mod shop;
mod states;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod truncated;
mod verification;
