//! Events come into exactly one digest, counts are exact, and no digest is too large.

use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::digest::gather::{Gathered, Gathering, digest_gather};

use crate::{
    harness::{Made, digests, news, news_id, orders, publish, schedule, write_events},
    support::app::TestApp,
};

/// Fails unless every digest counts its members, and each window begins where another ended.
pub(crate) fn assert_exact(app: &TestApp) {
    let wrong = app.texts(
        "select d.id from rowcall.digest d where events <> (select count(*) \
             from rowcall.digest_member m where m.digest_id = d.id \
                 and m.subscription_id = d.subscription_id)",
    );
    assert!(wrong.is_empty(), "counts are wrong: {wrong:?}");
    let torn = app.texts(
        "select d.id from rowcall.digest d join rowcall.digest p \
             on p.subscription_id = d.subscription_id and p.number = coalesce(d.number, ( \
                 select max(l.number) + 1 from rowcall.digest l \
                 where l.subscription_id = d.subscription_id)) - 1 \
         where d.opened_at <> p.closed_at",
    );
    assert!(torn.is_empty(), "windows do not follow: {torn:?}");
}

#[tokio::test]
async fn events_of_many_transactions_come_into_one_open_digest() {
    // GIVEN a subscription with a digest in the morning
    let cron = "cron = \"0 8 * * *\"";
    let app = news(cron, "").await;
    let schedule = schedule(cron);
    // WHEN events are published, one after the other and many at a time
    publish(&app, &schedule, &orders(1));
    app.clock.advance(TimeDelta::hours(1));
    let gathered = publish(&app, &schedule, &[Made::updated(1, "new", "old")]);
    publish(&app, &schedule, &orders(40)[1..]);
    // THEN one digest has them, and it is closed when the cron expression fires
    let one = Gathered {
        events: 1,
        closed: 0,
    };
    assert_eq!(gathered, one);
    assert_eq!(digests(&app), ["open 41"]);
    let close = app.texts("select close_at || ' ' || close_by from rowcall.digest");
    assert_eq!(close, ["2026-03-03 08:00:00+00 schedule"]);
    assert_exact(&app);
}

#[tokio::test]
async fn a_large_batch_fills_digests_to_exactly_max_items() {
    // GIVEN a digest with three events of ten
    let app = news("max_items = 10", "").await;
    let schedule = schedule("max_items = 10");
    publish(&app, &schedule, &orders(3));
    // WHEN 37 more come at once
    let gathered = publish(&app, &schedule, &orders(37));
    // THEN digests are full, in the order of the events, none is too large, and none is empty
    let all = Gathered {
        events: 37,
        closed: 4,
    };
    assert_eq!(gathered, all);
    assert_eq!(digests(&app), ["closed 10 max_items"; 4]);
    let is_ordered = "select count(*) from (select d.number < lag(d.number) over \
         (order by m.position) as torn from rowcall.digest_member m \
         join rowcall.digest d on d.id = m.digest_id) as q where torn";
    assert_eq!(app.count(is_ordered), 0);
    // WHEN one more comes THEN it is the next digest's first
    publish(&app, &schedule, &orders(1));
    assert_eq!(digests(&app)[4], "open 1");
    assert_exact(&app);
}

#[tokio::test]
async fn what_comes_when_the_window_is_over_belongs_to_the_next() {
    // GIVEN an open digest whose first event has waited long enough, and nobody has closed it
    let app = news("max_wait = \"10m\"", "").await;
    let schedule = schedule("max_wait = \"10m\"");
    publish(&app, &schedule, &orders(2));
    app.clock.advance(TimeDelta::minutes(10));
    // WHEN another event comes
    publish(&app, &schedule, &orders(1));
    // THEN it closes the one and opens the next
    assert_eq!(digests(&app), ["closed 2 max_wait", "open 1"]);
    let close = app.texts("select close_at from rowcall.digest where state = 'open'");
    assert_eq!(close, ["2026-03-02 09:20:00+00"]);
    assert_exact(&app);
}

#[tokio::test]
async fn a_lowered_max_items_closes_what_has_more_already() {
    let app = news("max_items = 10", "").await;
    publish(&app, &schedule("max_items = 10"), &orders(7));
    publish(&app, &schedule("max_items = 5"), &orders(6));
    assert_eq!(
        digests(&app),
        ["closed 7 max_items", "closed 5 max_items", "open 1"]
    );
    assert_exact(&app);
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing() {
    // GIVEN an open digest
    let app = news("max_items = 10", "").await;
    let schedule = schedule("max_items = 10");
    publish(&app, &schedule, &orders(3));
    // WHEN a transaction gathers and is rolled back
    let (id, now) = (news_id(&app), app.clock.now());
    let failed = app.connect().transaction(|connection| {
        let members = write_events(connection, &orders(30), 3, now);
        let gathering = Gathering {
            subscription_id: id,
            schedule: &schedule,
            grouping: None,
            members,
        };
        digest_gather(connection, &[gathering], now)?;
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    // THEN it is as if it had never been
    assert!(failed.is_err());
    assert_eq!(digests(&app), ["open 3"]);
    assert_exact(&app);
}

#[tokio::test]
async fn an_event_is_not_gathered_twice_for_one_subscription() {
    // GIVEN an event that a digest has
    let app = news("max_items = 10", "").await;
    let schedule = schedule("max_items = 10");
    let (id, now) = (news_id(&app), app.clock.now());
    let mut connection = app.connect();
    let members = write_events(&mut connection, &orders(1), 0, now);
    let gathering = Gathering {
        subscription_id: id,
        schedule: &schedule,
        grouping: None,
        members,
    };
    digest_gather(&mut connection, std::slice::from_ref(&gathering), now).unwrap();
    // WHEN it comes again THEN the repository refuses it, and the digest stays as it was
    let again = connection.transaction(|connection| digest_gather(connection, &[gathering], now));
    assert!(again.is_err());
    assert_eq!(digests(&app), ["open 1"]);
}
