//! Writers, two instances, a third publisher and failing receivers at once: whatever the
//! interleaving, every committed change is received, in the order of its object, and nothing is
//! left behind.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::{publish::Publish, stage::Stage as _};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    publisher::without_lock,
    shop::{ORDERS, event, subscribe, subscription},
    support::{
        app::TestApp,
        receiver::{Answer, Received, Receiver},
    },
};

const ROUNDS: u64 = 24;
/// Objects of a round; few, so that the writers meet.
const KEYS: u64 = 4;
const TRANSACTIONS: u64 = 12;
const RETRY: &str =
    r#"retry = { schedule = ["0s", "0s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"] }"#;

/// A small generator (SplitMix64): the seed alone gives what happens.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Checks the first receipts against the rows: each event begins with what the one before it left
/// under its key, and under its former key, and in the end there is what the table has.
pub(crate) fn assert_order(app: &TestApp, received: &[Received]) {
    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    let mut rows: HashMap<String, Value> = HashMap::new();
    for request in received {
        if let Some(first) = bodies.insert(&request.id, &request.body) {
            assert_eq!(first, request.body, "a repeat with another body");
            continue;
        }
        let data = &event(request)["data"];
        let key_of = |image: &Value| image["id"].to_string();
        let (before, after) = (&data["before"], &data["after"]);
        if !before.is_null() {
            let known = rows.remove(&key_of(before));
            assert_eq!(known.as_ref(), Some(before), "out of order: {data}");
        }
        if !after.is_null() {
            let known = rows.insert(key_of(after), after.clone());
            assert_eq!(known, None, "out of order: {data}");
        }
    }
    let changes = app.count("select count(*) from rowcall.change");
    assert_eq!(
        bodies.len() as i64,
        changes,
        "changes committed and received"
    );
    let table: HashMap<String, Value> = app
        .texts("select row_to_json(o) from public.orders o")
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .map(|image: Value| (image["id"].to_string(), image))
        .collect();
    assert_eq!(
        rows, table,
        "what was received does not lead to what is there"
    );
}

/// A transaction of one to three writes to the round's keys.
fn transaction(random: &mut Random, round: u64) -> String {
    let mut sql = "begin;".to_owned();
    for _ in 0..=random.below(3) {
        let (key, other) = (random.below(KEYS), random.below(KEYS));
        let (key, other) = (round * KEYS + key, round * KEYS + other);
        // A revision is used once, so that every image is another.
        sql += &match random.below(8) {
            0..=2 => format!(
                "insert into orders values ({key}, nextval('revisions')) \
                 on conflict (id) do update set revision = nextval('revisions');"
            ),
            3..=4 => format!("update orders set revision = nextval('revisions') where id = {key};"),
            5 => format!("delete from orders where id = {key};"),
            _ => format!(
                "update orders set id = {other}, revision = nextval('revisions') where id = {key} \
                 and not exists (select from orders where id = {other});"
            ),
        };
    }
    // Nothing of these may be received.
    sql + if random.below(8) == 0 {
        "rollback"
    } else {
        "commit"
    }
}

fn write(url: &str, mut random: Random, round: u64) {
    let mut connection = crate::support::postgres::connect(url);
    for _ in 0..TRANSACTIONS {
        // A key that another writer took, or a deadlock with it, rolls back.
        if connection
            .batch_execute(&transaction(&mut random, round))
            .is_err()
        {
            connection.batch_execute("rollback").unwrap();
        }
    }
}

/// Runs the stages until told to stop.
async fn work(app: &mut TestApp, publisher: Option<&mut Publish>, stop: &AtomicBool) {
    let mut publisher = publisher;
    while !stop.load(Ordering::Acquire) {
        let now = app.clock.now();
        match &mut publisher {
            Some(publisher) => publisher.run_once(now).await.unwrap(),
            None => app.instance.publish.run_once(now).await.unwrap(),
        };
        app.instance.deliver.run_once(now).await.unwrap();
    }
}

/// Runs both instances until every delivery is settled; a delivery that nobody will ever touch
/// again fails.
async fn drain(apps: [&mut TestApp; 2]) {
    let end = Instant::now() + Duration::from_secs(30);
    let [one, two] = apps;
    let mut idle = 0;
    loop {
        let now = one.clock.now();
        let progress = (
            one.instance.publish.run_once(now).await.unwrap(),
            one.instance.deliver.run_once(now).await.unwrap(),
            two.instance.deliver.run_once(now).await.unwrap(),
        );
        use rowcall::stage::Progress::Idle;
        let at_work = one.instance.outbox.in_memory() + two.instance.outbox.in_memory();
        if progress != (Idle, Idle, Idle) || at_work > 0 {
            idle = 0;
            one.instance.deliver.rest(now).await;
        } else if one.count("select count(*) from rowcall.delivery where settled_at is null") == 0 {
            return;
        } else {
            // Retries and lost leases need the clock to move; beyond them nothing moves any more.
            one.clock.advance(TimeDelta::seconds(11));
            idle += 1;
        }
        if idle > 20 || Instant::now() > end {
            let left = one.texts(
                "select concat_ws(' ', state, due_at, lease_until, lane, lane_previous, position) \
                 from rowcall.delivery where settled_at is null order by position limit 10",
            );
            panic!("left behind: {left:#?}");
        }
    }
}

fn assert_account(app: &TestApp) {
    let broken = app.texts(
        "select concat_ws(' ', s.name, count(*), max(d.sequence), q.assigned) \
         from rowcall.delivery d join rowcall.subscription s on s.id = d.subscription_id \
         join rowcall.subscription_sequence q on q.subscription_id = s.id \
         group by s.name, q.assigned having count(*) <> max(d.sequence) \
         or count(distinct d.sequence) <> count(*) or q.assigned <> count(*) \
         or count(*) <> (select count(*) from rowcall.event)",
    );
    assert_eq!(
        broken, [""; 0],
        "sequences with gaps, or deliveries that are not events"
    );
    let miscounted = app.count(
        "select count(*) from rowcall.delivery d where attempts <> \
         (select coalesce(max(number), 0) from rowcall.attempt a where a.delivery_id = d.id) \
         or attempts <> (select count(*) from rowcall.attempt a where a.delivery_id = d.id)",
    );
    assert_eq!(miscounted, 0, "attempts counted twice or not written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_keeps_the_promises() {
    let (ordered, loose) = (Receiver::start().await, Receiver::start().await);
    let mut one = TestApp::start(&format!("{ORDERS}; create sequence public.revisions")).await;
    subscribe(
        &one,
        &[
            subscription("ordered", ordered.url(), RETRY),
            subscription(
                "loose",
                loose.url(),
                &format!("{RETRY}\nordering = \"none\""),
            ),
        ],
    )
    .await;
    let mut two = one.sibling().await;
    let mut third = without_lock(&two);
    let base = Uuid::new_v4().as_u64_pair().0;
    for round in 0..ROUNDS {
        let seed = base.wrapping_add(round);
        let mut random = Random(seed);
        // GIVEN receivers that fail now and then, and some rounds in which leases end under way
        for receiver in [&ordered, &loose] {
            let mut random = Random(random.next());
            receiver.answer_with(move |_| match random.below(8) {
                0 => Answer::Status(503),
                1 => Answer::Reset,
                _ => Answer::Status(200),
            });
        }
        let step_max = [0, 500, 4_000][random.below(3) as usize];
        // WHEN two writers, three publishers and two deliverers work at once
        let stop = Arc::new(AtomicBool::new(false));
        let writers = [(); 2].map(|()| {
            let (url, random) = (one.database.url.clone(), Random(random.next()));
            tokio::task::spawn_blocking(move || write(&url, random, round))
        });
        let (clock, stopped) = (one.clock.clone(), Arc::clone(&stop));
        let conduct = async {
            for writer in writers {
                writer.await.unwrap();
                clock.advance(TimeDelta::milliseconds(random.below(step_max + 1) as i64));
            }
            stopped.store(true, Ordering::Release);
        };
        tokio::join!(
            work(&mut one, None, &stop),
            work(&mut two, Some(&mut third), &stop),
            conduct
        );
        drain([&mut one, &mut two]).await;
        // THEN the promises are kept
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_order(&one, &ordered.received());
            assert_account(&one);
        }));
        assert!(
            checked.is_ok(),
            "round {round} with seed {seed} of base {base}; see above"
        );
    }
    assert!(loose.received().len() >= ordered.received().len() / 2);
    one.run_until_idle().await;
}
