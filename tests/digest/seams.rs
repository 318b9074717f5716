//! Crashes at each statement between an event and its receipt in a digest.
//!
//! Each test goes through a step statement by statement: the claim of the close, the bodies, the
//! deliveries, the end; what is read in between, and each COMMIT. After each crash another instance
//! goes on. In the end every event was told once, all counts are exact, and what
//! was sent twice was the same to the byte.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use rowcall::{
    config::Limits,
    stage::{Progress, Stage as _},
};
use serde_json::Value;

use crate::{
    harness::{Made, bodies, deliver_all, digest, publish, resubscribe, schedule},
    seam::{Crash, arm, disarm, is_reached, watch},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

/// Events of a round: with three items a part, three parts.
const EVENTS: i64 = 7;
/// More statements than a step has.
const STATEMENTS_MAX: u32 = 200;
/// Broken connections of the pool show themselves one at a time.
const FAILURES_MAX: u32 = 20;
/// Longer than the lease of tests.
const LEASE: TimeDelta = TimeDelta::seconds(11);

const TABLE: &str = "create table public.orders (id integer primary key)";

async fn small_parts() -> TestApp {
    watch();
    let limits = Limits {
        digest_part_items_max: 3,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    TestApp::start_with(TABLE, options).await
}

/// Runs the digest stage until it is idle, or until the crash has happened.
async fn until_crash(app: &mut TestApp) {
    let now = app.clock.now();
    while !is_reached(app)
        && app
            .instance
            .digest
            .run_once(now)
            .await
            .unwrap_or(Progress::Worked)
            == Progress::Worked
    {}
}

/// Runs the digest stage until it is idle, though connections are broken.
async fn recover(app: &mut TestApp) {
    let (now, mut failures) = (app.clock.now(), 0);
    loop {
        match app.instance.digest.run_once(now).await {
            Ok(Progress::Idle) => return,
            Ok(Progress::Worked) => {}
            Err(error) => {
                failures += 1;
                assert!(failures < FAILURES_MAX, "{error:?}");
            }
        }
    }
}

/// Half a close is never seen: parts and deliveries are there with the digest's end, or not at all.
fn assert_whole(app: &TestApp, at: &str) {
    let torn = app.texts(
        "select d.state || ' ' || d.events || ' parts ' || coalesce(d.parts, 0) || ' bodies ' || ( \
             select count(*) from rowcall.digest_part p where p.digest_id = d.id) \
             || ' deliveries ' || ( \
             select count(*) from rowcall.delivery l where l.digest_id = d.id) \
         from rowcall.digest d where coalesce(d.parts, 0) <> ( \
             select count(*) from rowcall.digest_part p where p.digest_id = d.id) \
             or coalesce(d.parts, 0) <> ( \
             select count(*) from rowcall.delivery l where l.digest_id = d.id) \
             or d.events <> ( \
             select count(*) from rowcall.digest_member m where m.digest_id = d.id)",
    );
    assert!(torn.is_empty(), "{at}: {torn:?}");
}

/// The keys that parts tell of, with how often.
fn told(bodies: &[Value]) -> BTreeMap<i64, usize> {
    let mut told = BTreeMap::new();
    for data in bodies.iter().map(|body| &body["data"]) {
        let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
        let of_keys = list("events");
        let of_keys = of_keys
            .iter()
            .flat_map(|one| one["keys"].as_array().unwrap().clone());
        let items = list("items").into_iter().map(|item| item["data"].clone());
        for item in of_keys.chain(list("objects")).chain(items) {
            *told.entry(item["key"]["id"].as_i64().unwrap()).or_default() += 1;
        }
    }
    told
}

/// Every key up to `last` was told once, digests and parts are numbered without a gap, and the
/// digests' counts are those of what was published.
fn assert_told_once(app: &TestApp, last: i64) {
    let bodies = bodies(app);
    let expected: BTreeMap<i64, usize> = (1..=last).map(|key| (key, 1)).collect();
    assert_eq!(told(&bodies), expected);
    let counted = bodies.iter().filter(|body| body["data"]["part"] == 1);
    let counted: i64 = counted
        .map(|body| body["data"]["count"].as_i64().unwrap())
        .sum();
    assert_eq!(counted, last);
    assert_eq!(
        app.count("select count(*) from rowcall.digest_member"),
        last
    );
    let numbers = "select count(*) - max(number) from rowcall.digest where number is not null";
    assert_eq!(app.count(numbers), 0, "a number of a digest is missing");
    let sequence = app.count("select count(*) - max(sequence) from rowcall.delivery");
    assert_eq!(sequence, 0, "a sequence number is missing");
    let positions = "select count(*) - count(distinct position) from rowcall.delivery";
    assert_eq!(app.count(positions), 0);
}

#[tokio::test]
async fn a_close_that_is_cut_off_at_any_statement_is_done_once() {
    for (spec, condense) in [
        (
            "cron = \"0 * * * *\", late = \"each\", send_empty = true",
            "keys",
        ),
        ("max_wait = \"1h\"", "net_effect"),
    ] {
        let mut app = small_parts().await;
        resubscribe(&app, spec, &format!("condense = \"{condense}\"")).await;
        let compiled = schedule(spec);
        let mut other = app.sibling().await;
        digest(&mut app).await;
        let (mut last, mut ended) = (0, 0);
        for n in 0.. {
            assert!(n < STATEMENTS_MAX, "the close has no end");
            // GIVEN a digest of several parts whose time has come
            let made: Vec<Made> = (last + 1..=last + EVENTS)
                .map(|key| Made::created(key, "new"))
                .collect();
            publish(&app, &compiled, &made);
            last += EVENTS;
            app.clock.advance(TimeDelta::hours(1));
            // WHEN the session that closes and condenses it ends before the statement number n
            arm(&app, n);
            until_crash(&mut app).await;
            let crash = disarm(&app);
            // THEN nothing half is there
            assert_whole(&app, &format!("{condense}, statement {n}"));
            ended += u32::from(crash == Crash::Reached { is_ended: true });
            // AND whoever comes does the rest
            recover(&mut other).await;
            assert_whole(&app, &format!("{condense}, after statement {n}"));
            let open = app.count("select count(*) from rowcall.digest where state = 'closed'");
            assert_eq!(open, 0, "{condense}, after statement {n}");
            deliver_all(&app);
            if crash == Crash::NotReached {
                break;
            }
        }
        // THEN each event was told once; and most statements are inside of a transaction
        assert_told_once(&app, last);
        println!("{condense}: {ended} crashes, {last} events");
        assert!(
            ended >= 12,
            "{condense}: only {ended} transactions were cut off"
        );
        recover(&mut app).await;
        recover(&mut other).await;
        drop(other);
    }
}

#[tokio::test]
async fn publishing_that_is_cut_off_at_any_statement_puts_an_event_into_one_digest() {
    // GIVEN a digest that closes with five events, so that publishing closes and opens digests, too
    let spec = "max_items = 5";
    let mut app = small_parts().await;
    resubscribe(&app, spec, "").await;
    app.instance
        .publish
        .run_once(app.clock.now())
        .await
        .unwrap();
    let (mut last, mut ended) = (0, 0);
    for n in 0.. {
        assert!(n < STATEMENTS_MAX, "publishing has no end");
        // WHEN rows are written, and a session of the publisher ends before its statement number n
        app.sql(&format!(
            "insert into orders select n from generate_series({}, {}) as n",
            last + 1,
            last + EVENTS
        ));
        last += EVENTS;
        arm(&app, n);
        let (now, mut failures) = (app.clock.now(), 0);
        loop {
            match app.instance.publish.run_once(now).await {
                Ok(Progress::Idle) => break,
                Ok(Progress::Worked) => {}
                Err(error) => {
                    failures += 1;
                    assert!(failures < FAILURES_MAX, "{error:?}");
                }
            }
        }
        let crash = disarm(&app);
        ended += u32::from(crash == Crash::Reached { is_ended: true });
        assert_whole(&app, &format!("statement {n}"));
        if crash == Crash::NotReached {
            break;
        }
    }
    recover(&mut app).await;
    // THEN every row is in one digest; what is not closed yet is closed by the next
    let open =
        app.count("select coalesce(sum(events), 0) from rowcall.digest where state = 'open'");
    app.sql(&format!(
        "insert into orders select n from generate_series({}, {}) as n",
        last + 1,
        last + 5 - open
    ));
    last += 5 - open;
    app.instance
        .publish
        .run_once(app.clock.now())
        .await
        .unwrap();
    recover(&mut app).await;
    assert_told_once(&app, last);
    println!("publishing: {ended} crashes, {last} events");
    assert!(ended >= 8, "only {ended} transactions were cut off");
    deliver_all(&app);
}

#[tokio::test]
async fn a_part_that_is_sent_again_after_a_crash_is_the_same_to_the_byte() {
    // GIVEN a receiver of digests
    let receiver = Receiver::start().await;
    let mut app = small_parts().await;
    app.apply(&format!(
        r#"
        [namespace.sales]
        [object_type."sales.order"]
        table = "public.orders"
        key = ["id"]
        [subscription.news]
        object_types = ["sales.order"]
        mode = "batch"
        schedule = {{ max_wait = "1h" }}
        sink = {{ kind = "webhook", url = "{}", secret = {{ env = "SIGNING_SECRET" }} }}
        "#,
        receiver.url()
    ))
    .await;
    let (mut last, mut ended) = (0, 0);
    for n in 0.. {
        assert!(n < STATEMENTS_MAX, "sending has no end");
        // WHEN a digest of three parts is sent, and the instance is lost before the statement
        // number n: between parts, or with a part sent and its result not written
        let made: Vec<Made> = (last + 1..=last + EVENTS)
            .map(|key| Made::created(key, "new"))
            .collect();
        publish(&app, &schedule("max_wait = \"1h\""), &made);
        last += EVENTS;
        app.clock.advance(TimeDelta::hours(1));
        digest(&mut app).await;
        let mut lost = app.sibling().await;
        arm(&app, n);
        while !is_reached(&app) && sends(&mut lost).await {}
        drop(lost);
        let crash = disarm(&app);
        ended += u32::from(crash == Crash::Reached { is_ended: true });
        // THEN another sends what is left when the lease has ended
        app.advance(LEASE).await;
        let left = app.count("select count(*) from rowcall.delivery where state <> 'delivered'");
        assert_eq!(left, 0, "after statement {n}");
        if crash == Crash::NotReached {
            break;
        }
    }
    // AND every attempt at a part was the same
    let received = receiver.received();
    let mut parts: HashMap<&str, &[u8]> = HashMap::new();
    for request in &received {
        let known = parts.entry(&request.id).or_insert(&request.body);
        assert_eq!(*known, request.body, "{}", request.id);
    }
    assert_eq!(
        parts.len() as i64,
        app.count("select count(*) from rowcall.digest_part")
    );
    let repeats = received.len() - parts.len();
    println!("sending: {ended} crashes, {repeats} repeats, {last} events");
    assert!(ended >= 4, "only {ended} transactions were cut off");
    assert!(repeats > 0, "no answer was lost");
    assert_told_once(&app, last);
    // AND each was first received in the order of the digests and their parts
    let sequence = |request: &crate::support::receiver::Received| -> String {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body["sequence"].as_str().unwrap_or_default().to_owned()
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut firsts = Vec::new();
    for request in &received {
        if !seen.contains(&request.id.as_str()) {
            seen.push(&request.id);
            firsts.push(sequence(request));
        }
    }
    assert!(firsts.is_sorted(), "{firsts:?}");
}

/// One look of the deliver stage, with what it waits for. False when nothing is left to be sent.
async fn sends(app: &mut TestApp) -> bool {
    let now = app.clock.now();
    let delivered = app.instance.deliver.run_once(now).await;
    let outbox = &app.instance.outbox;
    if outbox.in_memory() == 0 && outbox.senders() == 0 && matches!(delivered, Ok(Progress::Idle)) {
        return false;
    }
    if !is_reached(app) && !matches!(delivered, Ok(Progress::Worked)) {
        app.instance.deliver.rest(now).await;
    }
    true
}
