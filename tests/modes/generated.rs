//! Constraints that hold and suppress, under generated writes, failures, lost leases, pauses and
//! hours that pass: whatever happens, every event comes to exactly one end for every subscription,
//! the order of objects is kept, and nothing is left behind.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use rowcall::{account::account_read, db::Database, stage::Stage as _};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    shop::{body, shop, write},
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
    },
};

const ROUNDS: u64 = 12;
const STEPS: u64 = 60;

const METADATA: &str = r#"
    [subscription.mirror]
    object_types = ["sales.order"]
    mode = "synchronous"
    retry = { schedule = ["0s", "0s", "1m", "1h", "1h", "1h", "1h", "1h", "1h"] }
    SINK
    [subscription.digest]
    object_types = ["sales.order"]
    mode = "batch"
    condense = "none"
    schedule = { cron = "0 */4 * * *", max_items = 7 }
    retry = { schedule = ["0s", "0s", "1m", "1h", "1h", "1h", "1h", "1h", "1h"] }
    SINK
    [constraint.mornings]
    applies_to = { object_types = ["sales.order"], subscriptions = ["mirror"] }
    window = { from = "00:00", to = "12:00" }
    judge = "at_send"
    otherwise = "hold"
    hold_at_most = "6h"
    [constraint.gently]
    applies_to = { object_types = ["sales.order"], subscriptions = ["mirror"] }
    rate = "5/h"
    otherwise = "hold"
    hold_at_most = "3h"
    [constraint.large]
    applies_to = { object_types = ["sales.order"] }
    condition = "row.amount >= 10"
    otherwise = "suppress"
    [constraint.cooling]
    applies_to = { object_types = ["sales.order"], subscriptions = ["mirror"] }
    condition = "row.amount < 40 || now - event.time > duration('2h')"
    judge = "at_send"
    otherwise = "hold"
    hold_at_most = "5h"
    [constraint.daytime]
    applies_to = { object_types = ["sales.order"], subscriptions = ["digest"] }
    window = { from = "06:00", to = "18:00" }
    otherwise = "hold"
    hold_at_most = "4h"
"#;

/// SplitMix64: the seed alone gives what happens.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn change(random: &mut Random, app: &TestApp) {
    let (key, amount) = (random.below(3), random.below(60));
    write(
        app,
        &match random.below(6) {
            0..=3 => format!(
                "insert into orders (id, amount) values ({key}, {amount}) \
                 on conflict (id) do update set amount = {amount}"
            ),
            4 => format!("delete from orders where id = {key}"),
            _ => format!(
                "update orders set id = {key} + 10 where id = {key} \
                 and not exists (select from orders where id = {key} + 10)"
            ),
        },
    );
}

async fn step(random: &mut Random, app: &mut TestApp) {
    let now = app.clock.now();
    match random.below(10) {
        0..=3 => change(random, app),
        4..=5 => _ = app.instance.publish.run_once(now).await.unwrap(),
        6 => _ = app.instance.deliver.run_once(now).await.unwrap(),
        7 => _ = app.instance.digest.run_once(now).await.unwrap(),
        8 => {
            app.clock
                .advance(TimeDelta::minutes(random.below(90) as i64));
            if random.below(4) == 0 {
                app.sql(
                    "update rowcall.delivery set lease_until = created_at where state = 'sending'",
                );
            }
        }
        _ => {
            let state = ["active", "paused"][random.below(2) as usize];
            let name = ["mirror", "digest"][random.below(2) as usize];
            app.sql(&format!(
                "update rowcall.subscription set state = '{state}' where name = '{name}'; \
                 update rowcall.registry set revision = revision + 1; \
                 update rowcall.delivery set due_at = created_at where due_at = 'infinity'"
            ));
        }
    }
}

/// Lets days pass until everything is settled.
async fn settle(app: &mut TestApp, seed: u64) {
    app.sql(
        "update rowcall.subscription set state = 'active'; \
         update rowcall.registry set revision = revision + 1; \
         update rowcall.delivery set due_at = created_at where due_at = 'infinity'",
    );
    for _ in 0..200 {
        app.run_until_idle().await;
        let open = app.count(
            "select (select count(*) from rowcall.delivery where settled_at is null) \
                 + (select count(*) from rowcall.digest where state in ('open', 'closed'))",
        );
        if open == 0 {
            return;
        }
        app.clock.advance(TimeDelta::minutes(61));
    }
    let left = app.texts(
        "select concat_ws(' ', state, position, due_at, hold_until, lane, lane_previous, urgency) \
         from rowcall.delivery where settled_at is null order by position",
    );
    panic!(
        "left behind with seed {seed} at {}: {left:#?}",
        app.clock.now()
    );
}

/// Position, key and former key of every event by id.
fn events(app: &TestApp) -> HashMap<String, (i64, Vec<String>)> {
    let rows = app
        .texts("select concat_ws(' ', id, position, object_key, previous_key) from rowcall.event");
    let event = |row: &String| {
        let mut words = row.split(' ').map(str::to_owned);
        let id = words.next().unwrap();
        let position = words.next().unwrap().parse().unwrap();
        (id, (position, words.collect()))
    };
    rows.iter().map(event).collect()
}

/// Of each object, in the order of the changes.
fn assert_order<'a>(
    what: &str,
    received: impl Iterator<Item = &'a str>,
    events: &HashMap<String, (i64, Vec<String>)>,
) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    let mut seen = HashSet::new();
    for id in received.filter(|id| seen.insert(id.to_string())) {
        let (position, keys) = &events[id];
        for key in keys {
            let before = last.insert(key, *position);
            assert!(
                before < Some(*position),
                "{what}: {id} came too late for {key}"
            );
        }
    }
}

fn assert_ends(app: &TestApp, receiver: &Receiver) {
    let events = events(app);
    let received = receiver.received();
    let of = |name: &str| -> Vec<Value> {
        let is_digest = name == "digest";
        let bodies = received.iter().map(body);
        bodies
            .filter(|event| (event["type"] == "rowcall.digest") == is_digest)
            .collect()
    };
    // The order of what was sent by itself, and of what was told in digests.
    let mirror = of("mirror");
    assert_order(
        "mirror",
        mirror.iter().map(|e| e["id"].as_str().unwrap()),
        &events,
    );
    let digests = of("digest");
    let items: Vec<&Value> = digests
        .iter()
        .flat_map(|digest| digest["data"]["items"].as_array().unwrap())
        .collect();
    assert_order(
        "digest",
        items.iter().map(|e| e["id"].as_str().unwrap()),
        &events,
    );
    // Every event has one end for each subscription.
    let astray = app.texts(
        "select concat_ws(' ', s.name, e.position, count(d.id), count(m.event_id)) \
         from rowcall.event e cross join rowcall.subscription s \
         left join rowcall.delivery d on d.event_id = e.id and d.subscription_id = s.id \
         left join rowcall.digest_member m on m.event_id = e.id and m.subscription_id = s.id \
         group by s.name, e.position having count(d.id) + count(m.event_id) <> 1",
    );
    assert_eq!(astray, [""; 0], "events with no end, or with two");
    let told: HashSet<&str> = items.iter().map(|e| e["id"].as_str().unwrap()).collect();
    let members = app.texts("select event_id::text from rowcall.digest_member");
    let dead = app.count("select count(*) from rowcall.delivery where state = 'dead'");
    assert_eq!(dead, 0, "the schedule is long enough");
    assert_eq!(told, members.iter().map(String::as_str).collect());
    let too_many = app.count("select count(*) from rowcall.digest where events > 7");
    assert_eq!(too_many, 0);
    // What was sent has a number, and the numbers have no gaps.
    let gaps = app.texts(
        "select concat_ws(' ', s.name, count(d.sequence), max(d.sequence), q.assigned) \
         from rowcall.subscription s \
         join rowcall.subscription_sequence q on q.subscription_id = s.id \
         left join rowcall.delivery d on d.subscription_id = s.id \
         group by s.name, q.assigned \
         having count(d.sequence) <> q.assigned or coalesce(max(d.sequence), 0) <> q.assigned \
             or count(distinct d.sequence) <> q.assigned",
    );
    assert_eq!(gaps, [""; 0], "gaps in the sequence");
    // What is not sent says why.
    let unexplained = app.count(
        "select count(*) from rowcall.delivery d where state in ('suppressed', 'withdrawn') \
         and not exists (select from rowcall.judgement j where j.event_id = d.event_id \
             and j.subscription_id = d.subscription_id \
             and j.decision = case d.state when 'suppressed' then 'suppress' else 'withdraw' end)",
    );
    assert_eq!(unexplained, 0);
    let overspent = app.count("select count(*) from rowcall.rate where spent > 5");
    assert_eq!(overspent, 0);
}

#[tokio::test]
async fn every_event_comes_to_one_end_in_order() {
    let base = Uuid::new_v4().as_u64_pair().0;
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let seed = base.wrapping_add(round);
        println!("round {round} with seed {seed}");
        let mut random = Random(seed);
        let receiver = Receiver::start().await;
        let mut failing = Random(random.below(u64::MAX));
        receiver.answer_with(move |_| match failing.below(8) {
            0 => Answer::Status(503),
            1 => Answer::Reset,
            _ => Answer::Status(200),
        });
        let mut app = shop(&receiver, METADATA).await;
        for _ in 0..STEPS {
            step(&mut random, &mut app).await;
        }
        settle(&mut app, seed).await;
        assert_ends(&app, &receiver);
        let database = Database::new(&app.database.url, 1);
        let account = database
            .transaction(|connection| {
                account_read(connection, "default").map_err(rowcall::db::DbError::from)
            })
            .await
            .unwrap();
        assert!(account.adds_up(), "seed {seed}: {account:?}");
        for (state, count) in app
            .texts("select state || ' ' || count(*) from rowcall.delivery group by state")
            .iter()
            .filter_map(|row| row.split_once(' '))
        {
            *ends.entry(state.to_owned()).or_default() += count.parse::<i64>().unwrap();
        }
    }
    // Otherwise nothing was shown.
    for state in ["delivered", "suppressed", "withdrawn"] {
        assert!(ends.contains_key(state), "none was {state}: {ends:?}");
    }
}
