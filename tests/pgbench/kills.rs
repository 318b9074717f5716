//! pgbench writes while Rowcall is killed and restarted; nothing is lost, invented or out of order,
//! whatever the mode, and each event is counted in one digest.

use std::time::{Duration, Instant};

use rowcall::account::Account;

use crate::{
    bank::{Bank, DELIVERIES_IN_MEMORY_MAX},
    ledger::Ledger,
    moment::Moment,
    subscriptions::declaration,
    turn,
    verdict::{Case, Digests},
    wire::Object,
};

const SCALE: u32 = 4;
const CLIENTS: u32 = 8;
/// Transactions in a second: about as many as a debug build can keep up with.
const RATE: u32 = 500;
/// How long something is rolled back; pgbench writes at least as long.
const IN_VAIN_S: u32 = 20;
const KILLS: [Moment; 6] = [
    Moment::UnderLoad,
    Moment::Gathering,
    Moment::UnderLoad,
    Moment::Condensing,
    Moment::UnderLoad,
    Moment::PartUnanswered,
];
/// The drain may take as long as this, ...
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
/// ... but not stand still for so long.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(20);
/// How often the repository is asked how much is left.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[test]
fn every_committed_update_is_received_in_every_mode_though_rowcall_is_killed() {
    let _turn = turn();
    // GIVEN pgbench's tables as object types, with subscriptions of every mode
    let bank = Bank::open(SCALE);
    let ledger = Ledger::start();
    bank.declare(&declaration(&ledger));
    let mut serving = bank.serve();
    // WHEN pgbench writes, something is rolled back, and Rowcall is killed and restarted meanwhile
    let begun = Instant::now();
    let pgbench = bank.write(CLIENTS, RATE);
    let in_vain = bank.write_in_vain(IN_VAIN_S);
    let mut under_way = Vec::new();
    for moment in KILLS {
        let is_loaded = moment == Moment::UnderLoad;
        let held = moment.kill(serving, &bank, &ledger);
        under_way.push((moment, held, begun.elapsed().as_secs()));
        assert!(
            !is_loaded || held > 0,
            "killed under load with nothing under way"
        );
        serving = bank.serve();
    }
    let in_vain = in_vain.end();
    bank.stop(pgbench);
    let written = begun.elapsed();
    // THEN what was committed is delivered in a bounded time
    let committed = bank.committed();
    let updates = Object::ALL.len() * committed.len();
    let drained = drain(&bank, &ledger, updates);
    let whole = begun.elapsed();
    let (code, log) = serving.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(in_vain > 0, "nothing was rolled back");
    // AND every mode has told of each update what it should
    let (receipts, parts) = ledger.receipts();
    let case = Case {
        bank: &bank,
        receipts: &receipts,
        parts: &parts,
        committed: &committed,
        balances: bank.balances(),
    };
    let singles = case.single_events();
    let events = case.events();
    let barrier = case.barrier();
    let digests = case.digests(&events);
    // AND duplicates are what was under way when Rowcall was killed, or was answered too late
    let duplicates = singles + digests.duplicates;
    let retries = bank.number("select count(*) from rowcall.attempt where outcome <> 'delivered'");
    let leases = bank.number("select coalesce(sum(lost_leases), 0) from rowcall.delivery");
    assert!(
        duplicates <= leases + retries && duplicates <= most_duplicates(retries),
        "{duplicates} duplicates, {leases} lost leases, {retries} retries"
    );
    // AND the account of the repository closes
    assert_account_closes(&bank, committed.len(), &digests);
    tell(&format!(
        "{} transactions committed ({:.0}/s), {in_vain} rolled back in whole or in part; {updates} \
         events, {} receipts, {duplicates} duplicates, {leases} lost leases, {retries} retries; \
         {under_way:?} under way at the kills; {barrier}; {digests:?}; drained {:.1} s after the \
         last commit; {:.0} deliveries/s from first to last",
        committed.len(),
        committed.len() as f64 / written.as_secs_f64(),
        receipts.len() + parts.len(),
        drained.as_secs_f64(),
        (2 * updates + committed.len()) as f64 / whole.as_secs_f64(),
    ));
}

fn most_duplicates(retries: usize) -> usize {
    KILLS.len() * DELIVERIES_IN_MEMORY_MAX + retries
}

/// Waits until all changes are published, every delivery is settled and every digest sent; returns
/// how long it took.
pub(crate) fn drain(bank: &Bank, ledger: &Ledger, updates: usize) -> Duration {
    let begun = Instant::now();
    let (mut last, mut moved) = ((0, 0, 0, 0), begun);
    loop {
        let received = ledger.count();
        let published = bank.number("select changes_published from rowcall.source");
        let gathered =
            bank.number("select count(*) from rowcall.digest where state in ('open', 'closed')");
        let unsettled = bank
            .number("select count(*) from rowcall.delivery where state in ('pending', 'sending')");
        if published >= updates && gathered + unsettled == 0 {
            return begun.elapsed();
        }
        let now = (received, published, gathered, unsettled);
        if last != now {
            (last, moved) = (now, Instant::now());
        }
        assert!(
            moved.elapsed() < STANDSTILL_LIMIT && begun.elapsed() < DRAIN_LIMIT,
            "not drained after {:?}, the last change {:?} ago: {published} of {updates} changes \
             published, {gathered} digests open or closed, {unsettled} deliveries unsettled, \
             {received} receipts; {:?}",
            begun.elapsed(),
            moved.elapsed(),
            bank.account()
        );
        // Ends early only when all is received; then the last results are still to be written.
        ledger.wait_for(received + unsettled.max(1), LOOK_INTERVAL);
    }
}

/// Changes captured = published = events; every delivery is delivered, by one attempt of its own;
/// and Rowcall's own account says the same.
pub(crate) fn assert_account_closes(bank: &Bank, transactions: usize, digests: &Digests) {
    let updates = Object::ALL.len() * transactions;
    // One ordered and one delayed of all, and of the tellers an unordered one.
    let singles = 2 * updates + transactions;
    let deliveries = singles + digests.parts;
    let gathered = 3 * updates;
    for (query, expected) in [
        ("select count(*) from rowcall.change", updates),
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
        (
            "select count(*) from rowcall.delivery where state = 'delivered'",
            deliveries,
        ),
        ("select count(*) from rowcall.delivery", deliveries),
        ("select sum(events) from rowcall.digest", gathered),
        ("select sum(vanished) from rowcall.digest", digests.vanished),
    ] {
        assert_eq!(bank.number(query), expected, "{query}");
    }
    for closed_by in ["max_items", "schedule", "max_wait"] {
        let query = format!("select count(*) from rowcall.digest where closed_by = '{closed_by}'");
        assert!(
            bank.number(&query) > 0,
            "no window was closed by {closed_by}"
        );
    }
    let vanished = digests.vanished as i64;
    let (updates, matched) = (updates as i64, (singles + gathered) as i64);
    let expected = Account {
        captured: updates,
        published: updates,
        events: updates,
        matched,
        delivered: matched - vanished,
        condensed: vanished,
        ..Account::default()
    };
    assert_eq!(bank.account(), expected);
}

#[expect(
    clippy::print_stderr,
    reason = "figures are for whoever asks with --nocapture"
)]
pub(crate) fn tell(figures: &str) {
    eprintln!("{figures}");
}
