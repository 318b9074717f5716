//! The conservation account: it adds up whatever became of events, and what is lost behind
//! Rowcall's back is noticed and named.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod alarm;
mod asked;
mod leaves;
mod losses;
mod meant;
mod outcomes;
mod shop;
#[path = "../support/mod.rs"]
mod support;
