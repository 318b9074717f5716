//! Of the events that a subscription has nothing of, only those that were for it are named.

use chrono::TimeDelta;
use rowcall::account::{Report, suspects::Kind};
use uuid::Uuid;

use crate::{
    losses::{delivered, event, subscription},
    shop::{metadata, report, shop},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

/// One that is registered when there are events, and one that is told of the rows that exist.
const LATER: &str = r#"
    [subscription.late]
    object_types = ["sales.order"]
    mode = "synchronous"
    SINK

    [subscription.starter]
    object_types = ["sales.order"]
    mode = "synchronous"
    start = "existing"
    SINK
"#;

/// The events that the subscription is named to lack.
fn lacks(report: &Report, subscription: Uuid) -> Vec<Uuid> {
    let missing = report.suspects.iter().filter(|suspect| {
        suspect.kind == Kind::PairMissing && suspect.subscription == Some(subscription)
    });
    missing.filter_map(|suspect| suspect.event).collect()
}

fn lose(app: &TestApp, subscription: Uuid, event: Uuid) {
    app.sql(&format!(
        "delete from rowcall.delivery where subscription_id = '{subscription}' \
             and event_id = '{event}'"
    ));
}

/// The event of an order's beginning; there may be one that tells of its row to a subscription.
fn created(app: &TestApp, key: i32) -> Uuid {
    let query = format!(
        "select id from rowcall.event where object_key = '{key}' and type = 'sales.order.created'"
    );
    app.texts(&query)[0].parse().unwrap()
}

#[tokio::test]
async fn neither_what_was_before_nor_what_was_after_nor_anothers_start_is_named() {
    // GIVEN a shop of which everything is delivered, and two subscriptions that come later
    let receiver = Receiver::start().await;
    let mut app = delivered(&receiver).await;
    app.apply(&metadata(&receiver, LATER)).await;
    app.advance(TimeDelta::hours(1)).await;
    let told = app.count("select count(*) from rowcall.event where type like '%.existed'");
    assert_eq!(told, 3);
    let europe = subscription(&app, "europe");
    // AND an order, before one of the first subscriptions is removed, and one after that
    app.sql("insert into orders (id, region) values (4, 'EU')");
    app.advance(TimeDelta::hours(1)).await;
    let all = metadata(&receiver, LATER);
    let (before, rest) = all.split_once("[subscription.europe]").unwrap();
    let (_, behind) = rest.split_once("[subscription.netted]").unwrap();
    let without = format!("{before}[subscription.netted]{behind}");
    app.apply(&without).await;
    app.advance(TimeDelta::hours(1)).await;
    app.sql("insert into orders (id, region) values (5, 'EU')");
    app.advance(TimeDelta::hours(4)).await;
    assert!(report(&app).adds_up());
    // WHEN each of them loses the delivery of an event
    let (late, mirror) = (subscription(&app, "late"), subscription(&app, "mirror"));
    let [second, third, fourth] = [2, 3, 4].map(|key| created(&app, key));
    lose(&app, late, fourth);
    lose(&app, mirror, second);
    lose(&app, europe, third);
    // THEN that one is named of each: of the late one nothing that was published before it came, of
    // the removed one nothing since, and of none what only told another of a row that was there
    let report = report(&app);
    assert_eq!(report.imbalance(), 3);
    assert_eq!(lacks(&report, late), [fourth]);
    assert_eq!(lacks(&report, mirror), [second]);
    assert_eq!(lacks(&report, europe), [third]);
}

#[tokio::test]
async fn what_is_missing_is_found_behind_many_events_that_are_not() {
    // GIVEN an event, and after it more of the same object than are judged
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders (id) values (1)");
    app.run_until_idle().await;
    let first = event(&app, 1);
    app.advance(TimeDelta::minutes(1)).await;
    app.sql(
        "do $$ begin for n in 1..200 loop update orders set amount = n where id = 1; end loop; \
         end $$",
    );
    app.run_until_idle().await;
    // WHEN all who are told of it lose it: one who asks for all, one of a digest, and one who does
    // not ask for what came after
    for name in ["mirror", "netted", "office"] {
        lose(&app, subscription(&app, name), first);
    }
    app.sql(&format!(
        "delete from rowcall.digest_member where event_id = '{first}'"
    ));
    // THEN it is named of each
    let report = report(&app);
    for name in ["mirror", "netted", "office"] {
        assert_eq!(lacks(&report, subscription(&app, name)), [first], "{name}");
    }
    app.advance(TimeDelta::hours(9)).await;
}
