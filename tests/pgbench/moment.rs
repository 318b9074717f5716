//! The moments at which Rowcall is killed. Two of them are made to last, by a lock on the table
//! that it is about to write, so that the kill can't miss them.

use std::time::{Duration, Instant};

use diesel::{PgConnection, connection::SimpleConnection as _};

use crate::{bank::Bank, books::number, ledger::Ledger, support::program::Serving};

/// What an instance has delivered when it is killed under load.
const RECEIPTS_PER_LIFE: usize = 2_000;
/// How long an instance may take until its moment comes.
const LIFE_LIMIT: Duration = Duration::from_secs(30);

/// What the instance held that claimed last.
const UNDER_WAY: &str = "\
    select count(*) from rowcall.delivery where state = 'sending' and lease_holder = ( \
        select lease_holder from rowcall.delivery where state = 'sending' \
        order by lease_until desc limit 1)";
/// Windows that are closed and not condensed.
const CLOSED: &str = "select count(*) from rowcall.digest where state = 'closed'";

/// When an instance is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// While it delivers.
    UnderLoad,
    /// While it adds the events of a batch to digests, in the transaction that publishes them.
    Gathering,
    /// After a window was closed, while its parts are written.
    Condensing,
    /// After a part of a digest was received, before that was answered.
    PartUnanswered,
}

impl Moment {
    /// Kills the instance at this moment. Returns how many deliveries it had under way.
    pub(crate) fn kill(self, mut serving: Serving, bank: &Bank, ledger: &Ledger) -> usize {
        // What it locks is free when it is dropped, after the kill: then nobody is there any more
        // who could commit what goes on.
        let mut locking = bank.connect();
        let has_come = match self {
            Self::UnderLoad => ledger.wait_for(ledger.count() + RECEIPTS_PER_LIFE, LIFE_LIMIT),
            Self::Gathering => stop_writers(&mut locking, "rowcall.digest_member"),
            Self::Condensing => stop_writers(&mut locking, "rowcall.digest_part"),
            Self::PartUnanswered => ledger.leave_part_unanswered(LIFE_LIMIT),
        };
        let received = ledger.count();
        assert!(
            has_come,
            "{self:?} did not come, {received} receipts:\n{}",
            serving.log()
        );
        serving.kill();
        ledger.answer_parts();
        if self == Self::Condensing {
            assert!(number(&mut locking, CLOSED) > 0, "no window is closed");
        }
        number(&mut locking, UNDER_WAY)
    }
}

/// Locks a table until the end of the connection, and waits until somebody wants to write it; false
/// if nobody does.
fn stop_writers(connection: &mut PgConnection, table: &str) -> bool {
    connection
        .batch_execute(&format!("begin; lock table {table} in share mode"))
        .unwrap();
    let writers = format!(
        "select count(*) from pg_locks where relation = '{table}'::regclass \
         and mode = 'RowExclusiveLock' and not granted"
    );
    let begun = Instant::now();
    while number(connection, &writers) == 0 {
        if begun.elapsed() > LIFE_LIMIT {
            return false;
        }
    }
    true
}
