//! pgbench writes while Rowcall is killed and restarted; nothing is lost, invented or out of order.

use std::time::{Duration, Instant};

use crate::{
    bank::{Bank, DELIVERIES_IN_MEMORY_MAX},
    ledger::{Ledger, Object},
    oracle::{Expected, judge},
};

const SCALE: u32 = 4;
const CLIENTS: u32 = 8;
const SECONDS: u32 = 12;
const KILLS: usize = 3;
/// What an instance has delivered when it is killed.
const RECEIPTS_PER_LIFE: usize = 2_000;
/// How long an instance may take for that.
const LIFE_LIMIT: Duration = Duration::from_secs(30);
/// The drain may take as long as this, ...
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// ... but not stand still for so long.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(20);
/// How often the repository is asked how much is left.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

const ORDERED: &str = "ordered";
const UNORDERED: &str = "unordered";

/// What the instance held that claimed last.
const UNDER_WAY: &str = "\
    select count(*) from rowcall.delivery where state = 'sending' and lease_holder = ( \
        select lease_holder from rowcall.delivery where state = 'sending' \
        order by lease_until desc limit 1)";

fn declaration(ledger: &Ledger) -> String {
    let (ordered, unordered) = (ledger.url(ORDERED), ledger.url(UNORDERED));
    let retry =
        "{ schedule = [\"0s\", \"100ms\", \"500ms\", \"1s\", \"1s\", \"2s\", \"2s\", \"2s\"] }";
    format!(
        r#"
        [namespace.bank]

        [object_type."bank.account"]
        table = "public.pgbench_accounts"
        key = ["aid"]

        [object_type."bank.teller"]
        table = "public.pgbench_tellers"
        key = ["tid"]

        [object_type."bank.branch"]
        table = "public.pgbench_branches"
        key = ["bid"]

        [subscription.{ORDERED}]
        object_types = ["bank.account", "bank.teller", "bank.branch"]
        mode = "synchronous"
        sink = {{ kind = "webhook", url = "{ordered}", secret = {{ env = "SIGNING_SECRET" }} }}
        retry = {retry}

        [subscription.{UNORDERED}]
        object_types = ["bank.teller"]
        mode = "synchronous"
        ordering = "none"
        sink = {{ kind = "webhook", url = "{unordered}", secret = {{ env = "SIGNING_SECRET" }} }}
        retry = {retry}
        "#
    )
}

#[test]
fn every_committed_update_is_received_though_rowcall_is_killed_three_times() {
    // GIVEN pgbench's tables as object types, with an ordered and an unordered subscription
    let bank = Bank::open(SCALE);
    let ledger = Ledger::start();
    bank.declare(&declaration(&ledger));
    let mut serving = bank.serve();
    // WHEN pgbench writes, something is rolled back, and Rowcall is killed and restarted meanwhile
    let begun = Instant::now();
    let mut pgbench = bank.write(CLIENTS, SECONDS);
    let in_vain = bank.write_in_vain(SECONDS);
    let mut under_way = Vec::new();
    for kill in 1..=KILLS {
        let wanted = ledger.count() + RECEIPTS_PER_LIFE;
        assert!(
            ledger.wait_for(wanted, LIFE_LIMIT),
            "{} of {wanted} receipts before kill {kill}:\n{}",
            ledger.count(),
            serving.log()
        );
        serving.kill();
        under_way.push(bank.number(UNDER_WAY));
        serving = bank.serve();
    }
    assert!(
        pgbench.is_running(),
        "pgbench ended before Rowcall was killed {KILLS} times"
    );
    pgbench.end();
    let in_vain = in_vain.end();
    let written = begun.elapsed();
    // THEN what was committed is delivered in a bounded time
    let committed = bank.committed();
    let updates = Object::ALL.len() * committed.len();
    let drained = drain(&bank, &ledger, updates);
    let whole = begun.elapsed();
    let (code, log) = serving.stop();
    assert_eq!(code, Some(0), "{log}");
    // AND each event was received at least once, in the order of its object, and nothing else was
    let receipts = ledger.receipts();
    let balances = bank.balances();
    let judge = |subscription, objects, is_ordered| {
        let verdict = judge(
            &receipts,
            &Expected {
                subscription,
                objects,
                is_ordered,
                committed: &committed,
                balances: &balances,
            },
        );
        let faults = &verdict.faults;
        assert!(faults.is_empty(), "{subscription}: {faults:#?}");
        assert_eq!(verdict.ids.len(), objects.len() * committed.len());
        verdict
    };
    let ordered = judge(ORDERED, &Object::ALL, true);
    let unordered = judge(UNORDERED, &[Object::Teller], false);
    assert!(unordered.ids.is_subset(&ordered.ids));
    // AND duplicates are what was under way when Rowcall was killed, or was answered too late
    let duplicates = ordered.duplicates + unordered.duplicates;
    let retries = bank.number("select count(*) from rowcall.attempt where outcome <> 'delivered'");
    assert!(
        duplicates <= KILLS * DELIVERIES_IN_MEMORY_MAX + retries,
        "{duplicates} duplicates, {retries} retries"
    );
    // AND the kills hit Rowcall at work, and the account of the repository closes
    assert!(under_way.iter().all(|count| *count > 0), "{under_way:?}");
    assert!(in_vain > 0, "nothing was rolled back");
    assert_account_closes(&bank, committed.len());
    tell(&format!(
        "{} transactions committed ({:.0}/s), {in_vain} rolled back in whole or in part; {updates} \
         events, {} receipts, {duplicates} duplicates, {retries} retries; {under_way:?} under way at \
         the kills; drained {:.1} s after the last commit; {:.0} deliveries/s from first to last",
        committed.len(),
        committed.len() as f64 / written.as_secs_f64(),
        receipts.len(),
        drained.as_secs_f64(),
        (updates + committed.len()) as f64 / whole.as_secs_f64(),
    ));
}

/// Waits until all changes are published and every delivery is settled; returns how long it took.
fn drain(bank: &Bank, ledger: &Ledger, updates: usize) -> Duration {
    let begun = Instant::now();
    let (mut last, mut moved) = ((0, 0, 0), begun);
    loop {
        let received = ledger.count();
        let published = bank.number("select changes_published from rowcall.source");
        let unsettled = bank
            .number("select count(*) from rowcall.delivery where state in ('pending', 'sending')");
        if published >= updates && unsettled == 0 {
            return begun.elapsed();
        }
        if last != (received, published, unsettled) {
            (last, moved) = ((received, published, unsettled), Instant::now());
        }
        assert!(
            moved.elapsed() < STANDSTILL_LIMIT && begun.elapsed() < DRAIN_LIMIT,
            "not drained after {:?}, the last change {:?} ago: {published} of {updates} changes \
             published, {unsettled} deliveries unsettled, {received} receipts; {:?}",
            begun.elapsed(),
            moved.elapsed(),
            bank.states()
        );
        // Ends early only when all is received; then the last results are still to be written.
        ledger.wait_for(received + unsettled.max(1), LOOK_INTERVAL);
    }
}

/// Changes captured = published = events; every delivery is delivered, by one attempt of its own.
fn assert_account_closes(bank: &Bank, transactions: usize) {
    let updates = Object::ALL.len() * transactions;
    let deliveries = updates + transactions;
    for (query, expected) in [
        ("select count(*) from rowcall.change", updates),
        ("select changes_published from rowcall.source", updates),
        ("select count(*) from rowcall.event", updates),
        (
            "select count(distinct change_seq) from rowcall.event",
            updates,
        ),
        (
            "select count(*) from rowcall.attempt where outcome = 'delivered'",
            deliveries,
        ),
        (
            "select count(distinct delivery_id) from rowcall.attempt where outcome = 'delivered'",
            deliveries,
        ),
        (
            "select sum(assigned) from rowcall.subscription_sequence",
            deliveries,
        ),
    ] {
        assert_eq!(bank.number(query), expected, "{query}");
    }
    let states = bank.states();
    assert_eq!(states, [("delivered".to_owned(), deliveries)].into());
}

#[expect(
    clippy::print_stderr,
    reason = "figures are for whoever asks with --nocapture"
)]
fn tell(figures: &str) {
    eprintln!("{figures}");
}
