//! A real input: PostgreSQL's own pgbench, with its tables as they are.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod bank;
mod barrier;
mod books;
mod contents;
mod declared;
mod digests;
mod kills;
mod ledger;
mod moment;
mod oracle;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;
mod totals;
mod verdict;
mod wire;
