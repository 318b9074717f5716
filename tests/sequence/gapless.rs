//! The numbers of a subscription are 1, 2, 3 and so on, each given once, whatever becomes of what
//! has them.

use chrono::TimeDelta;
use rowcall::stage::Stage as _;
use serde_json::{Value, json};

use crate::{
    harness::{call, id_of, items, numbers, order, shop, since, subscription},
    support::{
        app::{ADMIN_KEY, TestApp},
        receiver::{Answer, Received, Receiver},
    },
};

/// Constraints that let no delivery of two subscriptions pass when it is sent: it has its number by
/// then.
const CONSTRAINTS: &str = r#"
    [constraint.night]
    applies_to = { subscriptions = ["night"] }
    window = { from = "00:00", to = "06:00" }
    judge = "at_send"
    otherwise = "hold"
    hold_at_most = "1h"
    [constraint.picky]
    applies_to = { subscriptions = ["picky"] }
    condition = "row.region != 'XX'"
    judge = "at_send"
    otherwise = "suppress"
    [constraint.few]
    applies_to = { subscriptions = ["few"] }
    rate = "2/h"
    otherwise = "hold"
    hold_at_most = "30m"
"#;

const RETRY: &str = "retry = { schedule = [\"0s\", \"1m\"] }";

/// Every mode, order and constraint; what goes to `fails` fails.
async fn everything(receiver: &Receiver) -> TestApp {
    let of = |name: &str, more: &str| subscription(receiver, name, &format!("{more}\n{RETRY}"));
    let synchronous = "mode = \"synchronous\"";
    let batch =
        "mode = \"batch\"\ncondense = \"none\"\nschedule = { max_items = 5, max_wait = \"10m\" }";
    let loose = format!("{synchronous}\nordering = \"none\"");
    receiver.answer_with(|request: &Received| match &*request.path {
        "/hook-fails" => Answer::Status(500),
        _ => Answer::Status(200),
    });
    shop(
        &[
            of("plain", synchronous),
            of("fails", synchronous),
            of("night", synchronous),
            of("picky", synchronous),
            of("few", synchronous),
            of("ends", synchronous),
            of("loose", &loose),
            of("delayed", "mode = \"synchronous_delayed\""),
            of("news", batch),
            CONSTRAINTS.to_owned(),
        ]
        .concat(),
    )
    .await
}

/// Asserts that of every subscription the numbers that deliveries have are those that were given.
fn assert_gapless(app: &TestApp) {
    let wrong = app.texts(
        "select s.name || ': ' || n.assigned || ' given, ' || x.count || ' there, the last ' || x.last \
         from rowcall.subscription s join rowcall.subscription_sequence n on n.subscription_id = s.id \
         cross join lateral (select count(distinct d.sequence) as count, \
             coalesce(max(d.sequence), 0) as last \
             from rowcall.delivery d where d.subscription_id = s.id) as x \
         where x.count <> n.assigned or x.last <> n.assigned",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    let wrong = app.texts(
        "select n.subscription_id || ': ' || n.settled_through from rowcall.numbering n \
         where exists (select from rowcall.delivery d where d.subscription_id = n.subscription_id \
             and d.sequence <= n.settled_through and d.settled_at is null) \
         or n.settled_through < n.assigned and not exists (select from rowcall.delivery d \
             where d.subscription_id = n.subscription_id \
             and d.sequence = n.settled_through + 1 and d.settled_at is null)",
    );
    assert!(
        wrong.is_empty(),
        "settled through another number: {wrong:?}"
    );
}

/// The states of the deliveries of a subscription that have numbers, each once.
fn numbered(app: &TestApp, name: &str) -> Vec<String> {
    app.texts(&format!(
        "select distinct state from rowcall.delivery where sequence is not null \
         and subscription_id = '{}' order by 1",
        id_of(app, name)
    ))
}

/// All pages of a subscription tell each number once, in order.
async fn assert_told(app: &TestApp, name: &str) {
    let (mut after, mut told) = ("0".to_owned(), Vec::new());
    loop {
        let page = since(app, name, &format!("{after}?limit=7")).await;
        told.extend(items(&page));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => {
                let (assigned, _) = numbers(&page);
                let of = |text: &String| text.split(' ').next().unwrap().parse().unwrap();
                let told: Vec<i64> = told.iter().map(of).collect();
                assert_eq!(told, (1..=assigned).collect::<Vec<_>>(), "{name}");
                return;
            }
        }
    }
}

async fn switch(app: &TestApp, name: &str, change: &Value) {
    let path = format!("/v1/subscriptions/{}", id_of(app, name));
    let (status, text) = call(app, ADMIN_KEY, "PATCH", &path, change).await;
    assert_eq!(status, 200, "{text}");
}

/// Has every statement that gives a number to a delivery fail at its end.
fn break_numbering(app: &TestApp, of: &str) {
    app.sql(&format!(
        "create function public.broken() returns trigger language plpgsql as \
             $$ begin raise 'the disk is full'; end $$; \
         create constraint trigger broken after insert or update of sequence on rowcall.delivery \
             for each row when ({of}) execute function public.broken()"
    ));
}

fn mend_numbering(app: &TestApp) {
    app.sql("drop trigger broken on rowcall.delivery; drop function public.broken()");
}

#[tokio::test]
async fn whatever_becomes_of_a_delivery_its_number_stays() {
    // GIVEN every kind of subscription WHEN orders are written, written again before they are sent,
    // deleted, and get other keys
    let receiver = Receiver::start().await;
    let mut app = everything(&receiver).await;
    order(&app, 1..=6, "EU");
    order(&app, [1, 2, 1, 7], "XX");
    app.sql("update orders set id = 70 where id = 7; delete from orders where id = 1");
    switch(&app, "ends", &json!({"state": "paused"})).await;
    app.run_until_idle().await;
    assert_gapless(&app);
    order(&app, 1..=3, "EU");
    app.run_until_idle().await;
    assert_gapless(&app);
    assert_eq!(numbered(&app, "night"), ["held"]);
    // and time goes by: attempts are made again, what is held is withdrawn, digests are sent
    for _ in 0..9 {
        app.advance(TimeDelta::minutes(10)).await;
        assert_gapless(&app);
    }
    // and the one that was paused is deleted
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\nkey = [\"id\"]",
    )
    .await;
    let now = app.clock.now();
    while app.instance.upkeep.run_once(now).await.unwrap() == rowcall::stage::Progress::Worked {}
    assert_gapless(&app);
    // THEN deliveries with numbers have ended in every way
    for (name, states) in [
        ("plain", vec!["delivered"]),
        ("delayed", vec!["delivered"]),
        ("loose", vec!["delivered"]),
        ("fails", vec!["dead"]),
        ("night", vec!["withdrawn"]),
        ("picky", vec!["delivered", "suppressed"]),
        ("ends", vec!["cancelled"]),
        ("news", vec!["delivered"]),
    ] {
        let ended = numbered(&app, name);
        for state in states {
            assert!(
                ended.iter().any(|other| other == state),
                "{name}: {ended:?}"
            );
        }
    }
    // and each part of a digest has its own
    let parts = app.count("select max(part) from rowcall.delivery where sequence is not null");
    assert!(parts >= 3, "{parts} parts");
}

#[tokio::test]
async fn a_transaction_that_fails_gives_no_number() {
    // GIVEN what publishing, claiming and condensing would number WHEN they fail after that
    let receiver = Receiver::start().await;
    let mut app = everything(&receiver).await;
    order(&app, [1, 1], "EU");
    let now = app.clock.now();
    break_numbering(&app, "new.sequence is not null");
    assert!(app.instance.publish.run_once(now).await.is_err());
    assert_gapless(&app);
    mend_numbering(&app);
    app.instance.publish.run_once(now).await.unwrap();
    let given = "select sum(assigned) from rowcall.subscription_sequence";
    let published = app.count(given);
    assert!(published > 0);
    // what waits in its lane is numbered by the claim
    break_numbering(&app, "new.sequence is not null");
    app.clock.advance(TimeDelta::seconds(1));
    let failed = failing(&mut app).await;
    assert!(failed, "no claim gave a number");
    assert_gapless(&app);
    assert_eq!(app.count(given), published);
    mend_numbering(&app);
    app.run_until_idle().await;
    assert_gapless(&app);
    // and the parts of a digest by the condensing
    let published = app.count(given);
    break_numbering(&app, "new.digest_id is not null");
    app.clock.advance(TimeDelta::minutes(10));
    let now = app.clock.now();
    // A digest that can't be condensed is put aside, and others go on.
    for _ in 0..3 {
        let _ = app.instance.digest.run_once(now).await;
    }
    assert_eq!(app.count(given), published);
    assert_gapless(&app);
    mend_numbering(&app);
    // THEN the next try gives the numbers that follow
    let mut sibling = app.sibling().await;
    sibling.run_until_idle().await;
    app.run_until_idle().await;
    assert_eq!(numbered(&app, "news"), ["delivered"]);
    sibling.advance(TimeDelta::hours(2)).await;
    app.run_until_idle().await;
    assert_gapless(&app);
    drop(sibling);
}

/// Runs the delivering stage until it fails, or has nothing to do.
async fn failing(app: &mut TestApp) -> bool {
    loop {
        let now = app.clock.now();
        match app.instance.deliver.run_once(now).await {
            Err(_) => return true,
            Ok(rowcall::stage::Progress::Worked) => {}
            Ok(rowcall::stage::Progress::Idle) if app.instance.outbox.in_memory() == 0 => {
                return false;
            }
            Ok(rowcall::stage::Progress::Idle) => app.instance.deliver.rest(now).await,
        }
    }
}

#[tokio::test]
async fn an_event_that_has_a_number_is_added_to_no_digest() {
    // GIVEN an event that was held for a digest, and sent by itself because the subscription was no
    // batch for a while; the attempt failed
    let receiver = Receiver::start().await;
    let held = "[constraint.few]\napplies_to = { subscriptions = [\"news\"] }\nrate = \"1/h\"\n\
         otherwise = \"hold\"\nhold_at_most = \"3h\"\n";
    let batch = "mode = \"batch\"\nschedule = { max_wait = \"10m\" }\n";
    let single = "mode = \"synchronous\"\n";
    let metadata = |mode: &str| {
        let news = subscription(&receiver, "news", &format!("{mode}{RETRY}"));
        format!("{held}{news}")
    };
    let mut app = shop(&metadata(batch)).await;
    let again = async |app: &TestApp, mode: &str| {
        let shop = "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
             key = [\"id\"]\n";
        app.apply(&format!("{shop}{}", metadata(mode))).await;
    };
    order(&app, [1, 2], "EU");
    app.run_until_idle().await;
    assert_eq!(numbered(&app, "news"), [""; 0]);
    again(&app, single).await;
    receiver.answer_with(|_| Answer::Status(500));
    app.advance(TimeDelta::minutes(61)).await;
    assert!(numbered(&app, "news").contains(&"pending".to_owned()));
    // WHEN it is one again, before the next attempt
    again(&app, batch).await;
    receiver.answer_with(|_| Answer::Status(200));
    app.advance(TimeDelta::minutes(2)).await;
    app.advance(TimeDelta::hours(2)).await;
    // THEN the number is still there, and its event was sent
    assert_gapless(&app);
    assert_told(&app, "news").await;
    assert_eq!(numbered(&app, "news"), ["delivered"]);
}

#[tokio::test]
async fn numbers_stay_gapless_whatever_happens() {
    // GIVEN every kind of subscription, and a seed
    let seed = std::env::var_os("ROWCALL_TEST_SEED").map_or_else(
        || u64::from(getrandom::u32().unwrap()),
        |text| text.to_str().unwrap().parse().unwrap(),
    );
    eprintln!("ROWCALL_TEST_SEED={seed}");
    let mut state = seed;
    let mut random = |below: u64| {
        // Knuth's MMIX; the low bits are poor.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let receiver = Receiver::start().await;
    let mut app = everything(&receiver).await;
    let names = ["plain", "night", "picky", "few", "loose", "delayed", "news"];
    for _ in 0..60 {
        // WHEN anything happens
        match random(9) {
            0..=2 => {
                let region = ["EU", "XX"][random(2) as usize];
                let ids: Vec<i64> = (0..=random(5)).map(|_| 1 + random(6) as i64).collect();
                order(&app, ids, region);
            }
            3 => app.advance(TimeDelta::minutes(random(40) as i64)).await,
            4 => {
                let name = names[random(7) as usize];
                let to = ["paused", "active"][random(2) as usize];
                switch(&app, name, &json!({"state": to})).await;
            }
            5 => {
                break_numbering(&app, "new.sequence is not null");
                let now = app.clock.now();
                let _ = app.instance.publish.run_once(now).await;
                let _ = app.instance.deliver.run_once(now).await;
                let _ = app.instance.digest.run_once(now).await;
                mend_numbering(&app);
            }
            6 => {
                let status = [200, 500][random(2) as usize];
                receiver.answer_with(move |_| Answer::Status(status));
            }
            _ => app.run_until_idle().await,
        }
        // THEN the numbers are gapless
        assert_gapless(&app);
    }
    receiver.answer_with(|_| Answer::Status(200));
    for name in names {
        switch(&app, name, &json!({"state": "active"})).await;
    }
    // A digest that was put aside is tried again by who knows nothing of that.
    let mut sibling = app.sibling().await;
    for _ in 0..4 {
        sibling.advance(TimeDelta::hours(2)).await;
        app.run_until_idle().await;
    }
    assert_gapless(&app);
    for name in names {
        assert_told(&app, name).await;
        let page = since(&app, name, "0").await;
        let (assigned, settled) = numbers(&page);
        assert_eq!(assigned, settled, "{name}");
    }
}
