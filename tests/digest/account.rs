//! The conservation account knows where every event of every digest is.

use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::account::{Account, account_read};

use crate::{
    harness::{Made, advance, deliver_all, digest, news, orders, publish, schedule},
    support::app::TestApp,
};

fn account(app: &TestApp) -> Account {
    app.connect()
        .transaction(|connection| account_read(connection, "default"))
        .unwrap()
}

#[tokio::test]
async fn every_event_of_a_digest_is_somewhere_at_each_step() {
    // GIVEN a digest of the net effect in which two of five events come to nothing
    let wait = "max_wait = \"1h\"";
    let mut app = news(wait, "condense = \"net_effect\"").await;
    let mut made = orders(3);
    made.extend([Made::created(9, "x"), Made::deleted(9, "x")]);
    publish(&app, &schedule(wait), &made);
    let matched = Account {
        events: 5,
        matched: 5,
        ..Account::default()
    };
    // WHEN it is open, and when it is closed THEN all are pending
    let all_pending = Account {
        pending: 5,
        ..matched
    };
    assert_eq!(account(&app), all_pending);
    // WHEN it is condensed THEN those that came to nothing are done with
    advance(&mut app, TimeDelta::hours(1)).await;
    let condensed = Account {
        condensed: 2,
        ..matched
    };
    let owed = Account {
        pending: 3,
        ..condensed
    };
    assert_eq!(account(&app), owed);
    assert!(account(&app).adds_up());
    // WHEN its part is delivered, or not, THEN the others are that, too
    for (state, expected) in [
        (
            "dead",
            Account {
                dead: 3,
                ..condensed
            },
        ),
        (
            "withdrawn",
            Account {
                withdrawn: 3,
                ..condensed
            },
        ),
        (
            "suppressed",
            Account {
                suppressed: 3,
                ..condensed
            },
        ),
        (
            "cancelled",
            Account {
                cancelled: 3,
                ..condensed
            },
        ),
        (
            "delivered",
            Account {
                delivered: 3,
                ..condensed
            },
        ),
    ] {
        app.sql(&format!(
            "update rowcall.delivery set state = '{state}', attempts = 1, due_at = null, \
                 settled_at = created_at"
        ));
        assert_eq!(account(&app), expected);
        assert!(account(&app).adds_up());
    }
    // WHEN an event is lost from a digest THEN the account shows it
    app.sql("delete from rowcall.digest_member where position = 1");
    assert!(!account(&app).adds_up());
}

#[tokio::test]
async fn a_digest_of_many_parts_is_settled_with_the_last_of_them() {
    // GIVEN digests that are closed, condensed in two parts, and cancelled
    let mut limits = rowcall::config::Limits::for_testing();
    limits.digest_part_items_max = 2;
    let options = crate::support::app::Options {
        limits,
        ..Default::default()
    };
    let mut app = TestApp::start_with("create table orders (id int primary key)", options).await;
    crate::harness::resubscribe(&app, "max_items = 3", "condense = \"none\"").await;
    publish(&app, &schedule("max_items = 3"), &orders(3));
    digest(&mut app).await;
    publish(&app, &schedule("max_items = 3"), &orders(4));
    app.sql("update rowcall.digest set state = 'cancelled' where state = 'closed'");
    // WHEN one part is dead and the other waits THEN all its events are pending
    app.sql(
        "update rowcall.delivery set state = 'dead', attempts = 1, due_at = null, \
             settled_at = created_at where part = 1",
    );
    let expected = Account {
        events: 7,
        matched: 7,
        pending: 3 + 1,
        cancelled: 3,
        ..Account::default()
    };
    assert_eq!(account(&app), expected);
    // WHEN the other is delivered THEN they are dead: the receiver has not got all of it
    app.sql("update rowcall.delivery set due_at = created_at where part = 2");
    deliver_all(&app);
    let expected = Account {
        pending: 1,
        dead: 3,
        ..expected
    };
    assert_eq!(account(&app), expected);
    assert!(account(&app).adds_up());
    // WHEN one part's delivery is gone THEN its events are nowhere, though the other is there
    app.sql("delete from rowcall.delivery where part = 2");
    assert!(!account(&app).adds_up());
}
