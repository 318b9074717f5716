//! Every outcome has its place.

use chrono::TimeDelta;
use rowcall::{
    account::{Changes, Pairs},
    db::Database,
    source::rebase::{Unread, rebase},
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

#[tokio::test]
async fn what_is_captured_while_the_source_is_stopped_is_unread() {
    // GIVEN an account, and a source whose database was loaded into another cluster: transaction
    // ids begin anew there, far below those that the cursor has seen
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.sql(
        "create table kept as select snapshot from rowcall.source; \
         update rowcall.source set snapshot = '4000000000:4000000000:', stopped_at = now(), \
             stop_kind = 'restored', stop_reason = 'it is another cluster'",
    );
    // WHEN somebody writes before it is read on
    app.sql("insert into orders (id) values (2), (3)");
    // THEN that is unread, and nothing is missing
    let stopped = report(&app);
    assert!(stopped.adds_up(), "{stopped}");
    assert_eq!(stopped.changes.unread, 2);
    app.sql(
        "update rowcall.source set snapshot = kept.snapshot, stopped_at = null, \
             stop_kind = null, stop_reason = null from kept",
    );
    app.run_until_idle().await;
    assert_eq!(report(&app).changes.published, 3);
}

#[tokio::test]
async fn a_batch_that_is_published_in_part_is_counted_in_part() {
    // GIVEN more changes of one transaction than are published at once
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders (id) select n from generate_series(1, 250) as n");
    // WHEN some of them are THEN the others are unread
    for published in [100, 200, 250] {
        let now = app.clock.now();
        app.instance.publish.run_once(now).await.unwrap();
        let told = report(&app);
        assert!(told.adds_up(), "{told}");
        assert_eq!(told.changes.published, published);
        assert_eq!(told.changes.unread, 250 - published);
    }
    app.run_until_idle().await;
}

#[tokio::test]
async fn what_a_rebase_publishes_later_or_skips_stays_in_the_account() {
    // GIVEN a source that is stopped
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    let mut next = 1;
    for (choice, unread) in [(Unread::Publish, 3), (Unread::Skip, 0)] {
        app.sql(&format!("insert into orders (id) values ({next})"));
        app.run_until_idle().await;
        app.sql(
            "update rowcall.source set stopped_at = now(), stop_kind = 'failover', \
                 stop_reason = 'another server was made the primary'",
        );
        app.sql(&format!(
            "insert into orders (id) select n from generate_series({}, {}) as n",
            next + 1,
            next + 3
        ));
        next += 4;
        assert_eq!(report(&app).changes.unread, 3);
        // WHEN it is read on
        let before = report(&app).changes.published;
        let database = Database::new(&app.database.url, 1);
        rebase(&database, "default", choice).await.unwrap();
        // THEN what was unread is published later, or counts as done with; beside them is only
        // what tells of the gap
        let rebased = report(&app);
        assert!(rebased.adds_up(), "{rebased}");
        assert_eq!(rebased.changes.published - before, 3 - unread);
        assert!(rebased.changes.unread > unread, "the gap is told");
        app.run_until_idle().await;
        let told = report(&app);
        assert!(told.adds_up(), "{told}");
        assert_eq!(told.changes.unread, 0);
    }
}
