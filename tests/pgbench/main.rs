//! A real input: PostgreSQL's own pgbench, with its tables as they are.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod bank;
mod barrier;
mod books;
mod contents;
mod declared;
mod digests;
mod instances;
mod kills;
mod ledger;
mod moment;
mod oracle;
mod stopped;
mod subscriptions;
#[path = "../support/mod.rs"]
mod support;
mod totals;
mod verdict;
mod wire;

/// Those that load the machine run one after the other, or each would see the others' load.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
