//! A real input: PostgreSQL's own pgbench, with its tables as they are.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod bank;
mod declared;
mod kills;
mod ledger;
mod oracle;
#[path = "../support/mod.rs"]
mod support;
