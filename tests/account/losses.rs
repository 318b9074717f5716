//! What is taken or added behind Rowcall's back is noticed, and named.

use chrono::TimeDelta;
use rowcall::account::{
    Report,
    suspects::{Kind, Suspect},
};
use uuid::Uuid;

use crate::{
    shop::{pairs, report, shop},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

/// A shop of which everything is delivered: orders 1 and 3 of the EU, 2 of the US.
pub(crate) async fn delivered(receiver: &Receiver) -> TestApp {
    let mut app = shop(receiver, Options::default()).await;
    app.sql(
        "insert into orders (id, amount, region) values (1, 1, 'EU'), (2, 1, 'US'), (3, 1, 'EU')",
    );
    app.run_until_idle().await;
    app.advance(TimeDelta::hours(4)).await;
    let report = report(&app);
    assert!(report.adds_up(), "{report}");
    assert_eq!(report.suspects, []);
    app
}

fn id(app: &TestApp, query: &str) -> Uuid {
    app.texts(query)[0].parse().unwrap()
}

pub(crate) fn event(app: &TestApp, key: i32) -> Uuid {
    let query = format!("select id from rowcall.event where object_key = '{key}'");
    id(app, &query)
}

pub(crate) fn subscription(app: &TestApp, name: &str) -> Uuid {
    let query = format!("select id from rowcall.subscription where name = '{name}'");
    id(app, &query)
}

fn kinds(report: &Report) -> Vec<Kind> {
    report.suspects.iter().map(|suspect| suspect.kind).collect()
}

#[tokio::test]
async fn a_delivery_that_is_gone_is_named_by_its_event() {
    // GIVEN a subscription with a filter
    let receiver = Receiver::start().await;
    let app = delivered(&receiver).await;
    let (lost, europe) = (event(&app, 3), subscription(&app, "europe"));
    // WHEN one of its deliveries is lost
    app.sql(&format!(
        "delete from rowcall.delivery where event_id = '{lost}' and subscription_id = '{europe}'"
    ));
    // THEN that one is named, and not the event that its filter leaves out
    let report = report(&app);
    assert_eq!(report.imbalance(), 1);
    assert_eq!(pairs(&report, "europe").missing(), 1);
    let expected = Suspect {
        kind: Kind::PairMissing,
        subscription: Some(europe),
        event: Some(lost),
        digest: None,
        change: None,
    };
    assert_eq!(report.suspects, [expected]);
    let text = report.to_string();
    assert!(text.contains("1  MISSING"), "{text}");
    assert!(text.contains(&format!("event {lost}")), "{text}");
}

#[tokio::test]
async fn a_delivery_and_an_event_that_are_gone_are_noticed_too() {
    // GIVEN an event of which neither row is left
    let receiver = Receiver::start().await;
    let app = delivered(&receiver).await;
    let lost = event(&app, 1);
    // WHEN its row is gone
    app.sql(&format!("delete from rowcall.event where id = '{lost}'"));
    // THEN nothing is owed too little: the account adds up, and no event is lost to a receiver
    assert!(report(&app).adds_up());
    // WHEN a delivery of it is gone as well
    app.sql(
        "delete from rowcall.delivery where subscription_id = \
             (select id from rowcall.subscription where name = 'europe') and position = 1",
    );
    // THEN that is missing, and what is left of the subscription is complete
    let report = report(&app);
    assert_eq!(report.imbalance(), 1);
    assert_eq!(kinds(&report), []);
    // AND of another subscription the lost event is named by what is left of it
    app.sql(
        "delete from rowcall.delivery where subscription_id = \
             (select id from rowcall.subscription where name = 'mirror') and position = 2",
    );
    let report = crate::shop::report(&app);
    assert!(kinds(&report).contains(&Kind::EventGone), "{report}");
    assert!(kinds(&report).contains(&Kind::PairMissing), "{report}");
}

#[tokio::test]
async fn a_digest_that_lost_an_event_or_a_part_is_named() {
    // GIVEN a digest that was delivered
    let receiver = Receiver::start().await;
    let app = delivered(&receiver).await;
    let digest = id(
        &app,
        "select id from rowcall.digest where state = 'condensed'",
    );
    // WHEN the delivery of its part is gone
    app.sql("create table kept as select * from rowcall.delivery where digest_id is not null");
    app.sql("delete from rowcall.delivery where digest_id is not null");
    let of_part = report(&app);
    app.sql("insert into rowcall.delivery select * from kept");
    assert!(report(&app).adds_up());
    // AND when one of its members is
    app.sql("delete from rowcall.digest_member where position = 2");
    let of_member = report(&app);
    // THEN none of its events is anywhere, and it is named
    for report in [&of_part, &of_member] {
        assert_eq!(pairs(report, "netted").missing(), 3);
        assert_eq!(report.suspects[0].kind, Kind::DigestUneven);
        assert_eq!(report.suspects[0].digest, Some(digest));
    }
    // AND with it the event that is in no digest any more
    assert_eq!(kinds(&of_part), [Kind::DigestUneven]);
    assert_eq!(kinds(&of_member), [Kind::DigestUneven, Kind::PairMissing]);
    assert_eq!(of_member.suspects[1].event, Some(event(&app, 2)));
}

#[tokio::test]
async fn what_is_owed_twice_is_named() {
    // GIVEN an event that is in a digest
    let receiver = Receiver::start().await;
    let app = delivered(&receiver).await;
    let twice = event(&app, 2);
    // WHEN it is owed to that subscription alone, too
    app.sql(&format!(
        "insert into rowcall.delivery (id, subscription_id, event_id, position, sequence, state, \
             attempts, created_at, settled_at) \
         values (gen_random_uuid(), '{}', '{twice}', 2, 9, 'delivered', 1, now(), now())",
        subscription(&app, "netted")
    ));
    // THEN
    let report = report(&app);
    assert_eq!(pairs(&report, "netted").missing(), -1);
    assert_eq!(kinds(&report), [Kind::PairTwice]);
    assert_eq!(report.suspects[0].event, Some(twice));
    assert!(report.to_string().contains("1  TOO MANY"), "{report}");
}

#[tokio::test]
async fn changes_that_are_gone_or_not_told_are_named() {
    // GIVEN changes that were told
    let receiver = Receiver::start().await;
    let mut app = delivered(&receiver).await;
    app.sql("update orders set amount = amount + 1");
    app.run_until_idle().await;
    // WHEN one is gone
    app.sql("create table kept as select * from rowcall.change where seq = 2");
    app.sql("delete from rowcall.change where seq = 2");
    let gone = report(&app);
    // THEN its event is named
    assert_eq!(gone.changes.missing(), -1);
    assert_eq!(kinds(&gone), [Kind::ChangeGone]);
    assert_eq!(gone.suspects[0].event, Some(event_of(&app, 2)));
    assert_eq!(gone.suspects[0].change, Some(2));
    app.sql("insert into rowcall.change select * from kept");
    assert!(report(&app).adds_up());
    // WHEN the cursor has passed one that was never told
    app.sql(
        "insert into rowcall.change select 1000, xid, rotation, target, relation, op, before, after, \
             at, role from rowcall.change where seq = 5",
    );
    let untold = report(&app);
    // THEN that is named by its number
    assert_eq!(untold.changes.missing(), 1);
    assert_eq!(kinds(&untold), [Kind::ChangeUntold]);
    assert_eq!(untold.suspects[0].change, Some(1000));
    app.sql("delete from rowcall.change where seq = 1000");
}

#[tokio::test]
async fn beside_an_untold_change_none_is_named_that_need_not_be_told() {
    // GIVEN changes that were told, those of an object type that was removed, and an update that
    // the cursor has not passed
    let receiver = Receiver::start().await;
    let mut app = delivered(&receiver).await;
    app.sql("update orders set amount = amount + 1 where id = 1");
    app.run_until_idle().await;
    app.sql("update orders set amount = amount + 1 where id = 2");
    app.sql(
        "insert into rowcall.capture_target (object_type, relation, table_name, installed_at, \
             removed_at) \
         values ('sales.gone', 'orders'::regclass, 'public.orders', now(), now()); \
         insert into rowcall.source_target (source, object_type) values ('erp', 'sales.copied')",
    );
    let removed = "(select id from rowcall.capture_target where removed_at is not null)";
    let copied = "(select id from rowcall.source_target)";
    // WHEN the cursor has passed more than was told
    for (seq, target, op, like) in [
        (1000, "target", "u", 4),
        // What came through the API has no object type.
        (1001, "0", "e", 4),
        (1002, copied, "u", 4),
        // This may be a half of a row's move between partitions.
        (1003, "target", "d", 4),
        (1004, removed, "u", 4),
        // As far as a rebase came, all was read, whatever the transaction.
        (0, "target", "u", 5),
    ] {
        app.sql(&format!(
            "insert into rowcall.change select {seq}, xid, rotation, {target}, relation, '{op}', \
                 before, after, at, role from rowcall.change where seq = {like}"
        ));
    }
    // THEN what should have been told is named, the newest first, and nothing else
    let untold = report(&app);
    assert_eq!((untold.changes.missing(), untold.changes.unread), (6, 1));
    let named = untold.suspects.iter().map(|suspect| suspect.change);
    assert_eq!(named.collect::<Vec<_>>(), [1002, 1001, 1000, 0].map(Some));
    assert_eq!(kinds(&untold), [Kind::ChangeUntold; 4]);
    app.sql("delete from rowcall.change where seq not between 1 and 999; delete from rowcall.source_target");
    app.run_until_idle().await;
}

fn event_of(app: &TestApp, change: i64) -> Uuid {
    let query = format!("select id from rowcall.event where change_seq = {change}");
    id(app, &query)
}
