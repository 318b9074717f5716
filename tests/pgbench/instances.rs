//! Three instances share the work, and are killed and stopped while pgbench writes: nothing is
//! lost, invented or out of order, and somebody else publishes at once.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    bank::{Bank, LEASE},
    kills::{assert_account_closes, drain, tell},
    ledger::Ledger,
    subscriptions::declaration,
    support::program::Serving,
    turn,
    verdict::Case,
    wire::Object,
};

const INSTANCES: usize = 3;
/// How often one is killed; `ROWCALL_TEST_KILLS` asks for more.
const KILLS: usize = 20;
const SCALE: u32 = 2;
const CLIENTS: u32 = 4;
/// Transactions in a second; three debug builds share the machine with it.
const RATE: u32 = 120;
/// How long something is rolled back, in seconds.
const IN_VAIN_S: u32 = 10;
/// What is delivered between two kills.
const RECEIPTS_PER_KILL: usize = 150;
/// How long that may take.
const LIFE_LIMIT: Duration = Duration::from_secs(30);
/// How long one may be without a publisher that was killed. The machine may be busy.
const FAILOVER_LIMIT: Duration = Duration::from_secs(5);
/// How often the cursor is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

fn kills() -> usize {
    let asked = std::env::var_os("ROWCALL_TEST_KILLS");
    asked.map_or(KILLS, |kills| kills.to_str().unwrap().parse().unwrap())
}

#[test]
fn instances_that_are_killed_and_stopped_leave_their_work_to_the_others() {
    let _turn = turn();
    // GIVEN three instances on one repository, under writers
    let bank = Bank::open(SCALE);
    let ledger = Ledger::start();
    bank.declare(&declaration(&ledger));
    let mut serving: Vec<Serving> = (0..INSTANCES).map(|_| bank.serve()).collect();
    let (kills, begun) = (kills(), Instant::now());
    let pgbench = bank.write(CLIENTS, RATE);
    let in_vain = bank.write_in_vain(IN_VAIN_S);
    // WHEN one after the other is killed, every fourth time the one that publishes, ...
    let (mut failovers, mut stops) = (Vec::new(), 0);
    for kill in 0..kills {
        let is_reached = ledger.wait_for(ledger.count() + RECEIPTS_PER_KILL, LIFE_LIMIT);
        assert!(
            is_reached,
            "kill {kill}: nothing is delivered: {}",
            logs(&mut serving)
        );
        let is_publisher = kill % 4 == 3;
        let victim = match is_publisher {
            true => publisher(&mut serving, &ledger),
            false => kill % INSTANCES,
        };
        // ... and another one is stopped beyond its leases, and goes on
        let stopped = (kill % 4 == 1).then_some((victim + 1) % INSTANCES);
        if let Some(stopped) = stopped {
            serving[stopped].signal(Signal::STOP);
            stops += 1;
        }
        let published = published(&bank);
        serving.remove(victim).kill();
        if is_publisher {
            failovers.push(until_published(&bank, &ledger, published));
        }
        if let Some(stopped) = stopped {
            // That long it hangs, and the third one is alone.
            let beyond = LEASE.to_std().unwrap() * 3 / 2;
            ledger.wait_for(usize::MAX, beyond);
            let place = stopped - usize::from(stopped > victim);
            serving[place].signal(Signal::CONT);
        }
        serving.insert(victim, bank.serve());
    }
    let killed = begun.elapsed();
    in_vain.end();
    bank.stop(pgbench);
    // THEN all that was committed is delivered
    let committed = bank.committed();
    let updates = Object::ALL.len() * committed.len();
    let drained = drain(&bank, &ledger, updates);
    for serving in serving {
        let (code, log) = serving.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    // AND in order, repeats are the same, digests are exact, and the account adds up
    let (receipts, parts) = ledger.receipts();
    let case = Case {
        bank: &bank,
        receipts: &receipts,
        parts: &parts,
        committed: &committed,
        balances: bank.balances(),
    };
    let singles = case.single_events();
    let digests = case.digests(&case.events());
    let duplicates = singles + digests.duplicates;
    let retries = bank.number("select count(*) from rowcall.attempt where outcome <> 'delivered'");
    let leases = bank.number("select coalesce(sum(lost_leases), 0) from rowcall.delivery");
    assert!(
        duplicates <= leases + retries,
        "{duplicates} duplicates, {leases} lost leases, {retries} retries"
    );
    assert_account_closes(&bank, committed.len(), &digests);
    // AND the deliveries were shared, and another one published soon
    let instances = bank.number("select count(distinct instance) from rowcall.attempt");
    assert!(instances > INSTANCES, "{instances} instances delivered");
    let slowest = failovers.iter().max().copied().unwrap_or_default();
    assert!(slowest < FAILOVER_LIMIT, "{failovers:?}");
    tell(&format!(
        "{kills} kills and {stops} stops in {:.1} s, {} transactions, {duplicates} duplicates, \
         {leases} lost leases, {retries} retries, {instances} instances delivered; publishing went \
         on after {failovers:.2?}; drained {:.1} s after the last commit",
        killed.as_secs_f64(),
        committed.len(),
        drained.as_secs_f64(),
    ));
}

/// What the instances have logged.
fn logs(serving: &mut [Serving]) -> String {
    let logs = serving.iter_mut().map(Serving::log);
    logs.collect::<Vec<_>>().join("\n\n")
}

fn published(bank: &Bank) -> usize {
    bank.number("select changes_published from rowcall.source")
}

/// How long it takes until more than `published` changes are.
pub(crate) fn until_published(bank: &Bank, ledger: &Ledger, before: usize) -> Duration {
    let begun = Instant::now();
    while published(bank) <= before {
        assert!(begun.elapsed() < LIFE_LIMIT, "nobody publishes");
        ledger.wait_for(usize::MAX, LOOK_INTERVAL);
    }
    begun.elapsed()
}

/// The place of the one that publishes.
fn publisher(serving: &mut [Serving], ledger: &Ledger) -> usize {
    let counts = |serving: &[Serving]| -> Vec<u64> {
        let count = |serving| counter(serving, "rowcall_changes_published_total");
        serving.iter().map(count).collect()
    };
    let (before, begun) = (counts(serving), Instant::now());
    loop {
        let now = counts(serving);
        if let Some(place) = (0..now.len()).find(|place| now[*place] > before[*place]) {
            return place;
        }
        let waited = begun.elapsed();
        assert!(waited < LIFE_LIMIT, "nobody publishes: {}", logs(serving));
        ledger.wait_for(usize::MAX, LOOK_INTERVAL);
    }
}

/// A counter that the instance tells; 0 if it has none yet.
fn counter(serving: &Serving, name: &str) -> u64 {
    let mut stream = TcpStream::connect(serving.address()).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: rowcall\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}
