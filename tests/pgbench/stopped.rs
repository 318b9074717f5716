//! An instance that hangs with everything in its hands (the publish lock, the doorbell, a request
//! under way) stands in nobody's way, and writes nothing when it wakes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::{
    bank::Bank, instances::until_published, kills::tell, ledger::Ledger,
    subscriptions::declaration, support::program::Serving, turn,
};

/// How long something may take that needs no waiting.
const LIMIT: Duration = Duration::from_secs(30);
/// From the stop of a publisher until another one publishes: it may be silent for ten seconds, and
/// the machine is busy.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(20);
/// The same after a kill.
const FAILOVER_LIMIT: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Transactions of Rowcall that are open.
const OPEN: &str = "select count(*) from pg_stat_activity where datname = current_database() \
    and application_name = 'rowcall' and state <> 'idle'";

fn write(bank: &Bank) {
    bank.execute("update pgbench_tellers set tbalance = tbalance + 1 where tid = 1");
}

fn wait_until(ledger: &Ledger, what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what} never came");
        ledger.wait_for(usize::MAX, LOOK_INTERVAL);
    }
}

fn published(bank: &Bank) -> usize {
    bank.number("select changes_published from rowcall.source")
}

/// Writes, and returns how long it takes until that is published.
fn write_and_wait(bank: &Bank, ledger: &Ledger) -> Duration {
    let before = published(bank);
    write(bank);
    until_published(bank, ledger, before)
}

/// An instance that was stopped while a part of a digest was under way, and which deliveries it
/// held then.
fn stop_with_a_part_under_way(bank: &Bank, ledger: &Ledger) -> (Serving, usize) {
    let serving = bank.serve();
    write(bank);
    assert!(ledger.leave_part_unanswered(LIMIT), "no part of a digest");
    // Between two transactions: one that it has begun is in the way until Postgres ends it.
    wait_until(ledger, "a moment without a transaction", || {
        serving.signal(Signal::STOP);
        let is_between = bank.number(OPEN) == 0;
        if !is_between {
            serving.signal(Signal::CONT);
        }
        is_between
    });
    bank.execute(
        "create table held as select id, lease_holder from rowcall.delivery where state = 'sending'",
    );
    ledger.answer_parts();
    let held = bank.number("select count(*) from held");
    assert!(held > 0, "nothing was under way");
    (serving, held)
}

#[test]
fn one_that_is_stopped_is_replaced_and_finishes_nothing_when_it_wakes() {
    let _turn = turn();
    // GIVEN an instance that is stopped while a request of it is under way
    let bank = Bank::open(1);
    let ledger = Ledger::start();
    bank.declare(&declaration(&ledger));
    let (mut stopped, held) = stop_with_a_part_under_way(&bank, &ledger);
    // WHEN another one is there
    let begun = Instant::now();
    let other = bank.serve();
    // THEN it delivers what the first one held, when the lease has ended
    let delivered = "select count(*) from rowcall.delivery join held using (id) \
                     where state = 'delivered' and lost_leases = 1 and attempts = 1";
    wait_until(&ledger, "the delivery of what was held", || {
        bank.number(delivered) == held
    });
    let rescued = begun.elapsed();
    // AND it publishes, though the first one has the lock and the doorbell
    write_and_wait(&bank, &ledger);
    let taken_over = begun.elapsed();
    assert!(taken_over < TAKEOVER_LIMIT, "{taken_over:?}");
    // WHEN the first one wakes, with the answer to its request
    stopped.signal(Signal::CONT);
    // THEN it writes nothing
    stopped.wait_for("results came after their leases had ended");
    assert_eq!(bank.number(delivered), held);
    let attempts = "select count(*) from rowcall.attempt as a join held on held.id = a.delivery_id";
    assert_eq!(bank.number(attempts), held);
    // AND the part that it had sent came twice, and was the same
    let (_, parts) = ledger.receipts();
    let twice = parts.iter().enumerate().filter(|(place, part)| {
        let mut before = parts[..*place].iter();
        before.any(|one| one.id == part.id && one.body_hash == part.body_hash)
    });
    assert_eq!(twice.count(), held, "{parts:?}");
    // WHEN the second one is killed
    other.kill();
    let failed_over = write_and_wait(&bank, &ledger);
    // THEN the first one publishes again
    assert!(failed_over < FAILOVER_LIMIT, "{failed_over:?}");
    let unsettled = "select (select count(*) from rowcall.delivery where settled_at is null) \
                     + (select count(*) from rowcall.digest where state in ('open', 'closed'))";
    wait_until(&ledger, "the end of all deliveries", || {
        bank.number(unsettled) == 0
    });
    let account = bank.account();
    assert!(account.adds_up() && account.unread == 0, "{account:?}");
    tell(&format!(
        "{held} held by the stopped one; delivered by the other {rescued:.2?} after it was started, \
         which published after {taken_over:.2?}; after a kill the first one did within \
         {failed_over:.2?}"
    ));
}
