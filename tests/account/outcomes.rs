//! Every outcome has its place.

use chrono::TimeDelta;
use rowcall::{
    account::{Changes, Pairs},
    stage::Stage as _,
};

use crate::{
    shop::{pairs, report, shop},
    support::{
        app::Options,
        receiver::{Answer, Receiver},
    },
};

#[tokio::test]
async fn every_event_is_somewhere_for_every_subscription_at_each_step() {
    // GIVEN orders, some of which are large, of another region, or come and go
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql(
        "insert into orders (id, amount, region) values (1, 1000, 'EU'), (2, 1, 'US'), (3, 1, 'EU')",
    );
    app.sql("delete from orders where id = 3");
    // WHEN nothing is published THEN all of it is unread
    let unread = report(&app);
    assert!(unread.adds_up(), "{unread}");
    let changes = |captured, published, unread| Changes {
        captured,
        published,
        unread,
    };
    assert_eq!(unread.changes, changes(4, 0, 4));
    assert_eq!(unread.pairs(), Pairs::default());
    // WHEN it is published and delivered
    app.run_until_idle().await;
    let told = report(&app);
    // THEN each subscription has each of its events in one place
    assert!(told.adds_up(), "{told}");
    assert_eq!(told.changes, changes(4, 4, 0));
    assert_eq!(told.events, 4);
    for (name, expected) in [
        (
            "mirror",
            Pairs {
                matched: 4,
                delivered: 4,
                ..Pairs::default()
            },
        ),
        (
            "large",
            Pairs {
                matched: 4,
                delivered: 1,
                suppressed: 3,
                ..Pairs::default()
            },
        ),
        // It is nine o'clock, and it asks for what is created.
        (
            "office",
            Pairs {
                matched: 3,
                held: 3,
                ..Pairs::default()
            },
        ),
        (
            "europe",
            Pairs {
                matched: 3,
                delivered: 3,
                ..Pairs::default()
            },
        ),
        (
            "netted",
            Pairs {
                matched: 4,
                pending: 4,
                ..Pairs::default()
            },
        ),
    ] {
        assert_eq!(pairs(&told, name), expected, "{name}");
    }
    // WHEN the digest's window closes and the receiver refuses its part for good
    receiver.script([Answer::Status(410)]);
    app.advance(TimeDelta::hours(1)).await;
    let condensed = report(&app);
    assert!(condensed.adds_up(), "{condensed}");
    // THEN what came and went is done with, and the others wait for the disabled subscription
    let expected = Pairs {
        matched: 4,
        condensed: 2,
        pending: 2,
        ..Pairs::default()
    };
    assert_eq!(pairs(&condensed, "netted"), expected);
    // WHEN the subscriptions with something pending or held are deleted
    app.sql("update rowcall.subscription set state = 'deleted' where name in ('netted', 'office')");
    app.instance.upkeep.run_once(app.clock.now()).await.unwrap();
    // THEN that is cancelled, and stays in the account
    let cancelled = report(&app);
    assert!(cancelled.adds_up(), "{cancelled}");
    let expected = Pairs {
        pending: 0,
        cancelled: 2,
        ..expected
    };
    assert_eq!(pairs(&cancelled, "netted"), expected);
    assert_eq!(pairs(&cancelled, "office").cancelled, 3);
    assert_eq!(cancelled.pairs().matched, 18);
}

#[tokio::test]
async fn what_is_being_sent_retried_or_given_up_is_counted_once() {
    // GIVEN a receiver that refuses everything
    let receiver = Receiver::start().await;
    receiver.answer_with(|_| Answer::Status(500));
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders (id, amount) values (1, 1000)");
    let now = app.clock.now();
    // WHEN it is published, and its deliveries are born claimed
    app.instance.publish.run_once(now).await.unwrap();
    let sending = report(&app);
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state = 'sending'"),
        3
    );
    assert!(sending.adds_up(), "{sending}");
    assert_eq!(pairs(&sending, "mirror").pending, 1);
    // AND it is tried until it is given up
    app.run_until_idle().await;
    assert_eq!(pairs(&report(&app), "mirror").pending, 1);
    for _ in 0..10 {
        app.advance(TimeDelta::days(2)).await;
    }
    // THEN it is dead once, however often it was tried
    let dead = report(&app);
    assert!(dead.adds_up(), "{dead}");
    for name in ["mirror", "large", "europe"] {
        let expected = Pairs {
            matched: 1,
            dead: 1,
            ..Pairs::default()
        };
        assert_eq!(pairs(&dead, name), expected, "{name}");
    }
}
