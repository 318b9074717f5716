//! Whoever dies between two steps leaves a digest from which others go on.

use chrono::TimeDelta;
use diesel::{Connection as _, connection::SimpleConnection as _};
use rowcall::{
    config::Limits,
    digest::condense::{CondenseError, Condensed, digest_condense},
    registry::live::LiveRegistry,
    sink::{AddressGuard, WebhookClient},
    stage::{Progress, Stage as _},
    subscription::secret::SecretKey,
};

use crate::{
    gathering::assert_exact,
    harness::{
        advance, bodies, deliver_all, digest, digests, news, orders, parts, publish, schedule,
    },
    support::app::{SECRET_KEY, TestApp},
};

fn registry() -> LiveRegistry {
    let key = SecretKey::parse(SECRET_KEY).unwrap();
    let client = WebhookClient::new(AddressGuard::new(Vec::new())).unwrap();
    LiveRegistry::new(std::sync::Arc::new(key), client, None)
}

/// Condenses one digest and then dies, or commits.
fn condense(app: &TestApp, commits: bool) -> Condensed {
    let mut condensed = Condensed::Nothing;
    let result = app.connect().transaction(|connection| {
        condensed = digest_condense(
            connection,
            &registry(),
            &Limits::for_testing(),
            &[],
            &|_, _| true,
            app.clock.now(),
        )?;
        if commits {
            Ok(())
        } else {
            let died = diesel::result::Error::RollbackTransaction;
            Err(CondenseError::from(died))
        }
    });
    assert_eq!(result.is_ok(), commits);
    condensed
}

#[tokio::test]
async fn a_digest_that_was_closed_and_not_condensed_is_condensed_by_whoever_comes() {
    // GIVEN a digest that is closed, and an instance that dies while it condenses
    let mut app = news("max_items = 5", "").await;
    publish(&app, &schedule("max_items = 5"), &orders(5));
    let done = Condensed::Done {
        parts: 1,
        vanished: 0,
    };
    assert_eq!(condense(&app, false), done);
    // THEN nothing of it is there
    assert_eq!(digests(&app), ["closed 5 max_items"]);
    assert!(bodies(&app).is_empty() && parts(&app).is_empty());
    // WHEN another comes THEN it is condensed once
    let mut sibling = app.sibling().await;
    digest(&mut sibling).await;
    digest(&mut app).await;
    assert_eq!(digests(&app), ["condensed 5 max_items"]);
    assert_eq!(parts(&app), ["1.1 pending due"]);
    assert_eq!(
        app.count("select assigned from rowcall.subscription_sequence"),
        1
    );
    deliver_all(&app);
}

#[tokio::test]
async fn two_who_condense_at_once_take_different_digests_or_none() {
    // GIVEN a closed digest that one instance has in hand
    let mut app = news("max_items = 5", "").await;
    publish(&app, &schedule("max_items = 5"), &orders(10));
    let mut first = app.connect();
    first.batch_execute("begin").unwrap();
    let (limits, registry) = (Limits::for_testing(), registry());
    let now = app.clock.now();
    digest_condense(&mut first, &registry, &limits, &[], &|_, _| true, now).unwrap();
    // WHEN another looks THEN it finds nothing: the second digest of the subscription has to wait
    assert_eq!(condense(&app, true), Condensed::Nothing);
    assert_eq!(
        app.instance.digest.run_once(now).await.unwrap(),
        Progress::Idle
    );
    // WHEN the first commits THEN the second digest is free
    first.batch_execute("commit").unwrap();
    digest(&mut app).await;
    assert_eq!(digests(&app), ["condensed 5 max_items"; 2]);
    assert_eq!(parts(&app), ["1.1 pending due", "2.1 pending blocked"]);
    deliver_all(&app);
}

#[tokio::test]
async fn a_window_that_somebody_gathers_into_is_closed_afterwards() {
    // GIVEN a digest whose time has come, and a transaction that holds it
    let mut app = news("max_wait = \"1h\"", "").await;
    publish(&app, &schedule("max_wait = \"1h\""), &orders(1));
    app.clock.advance(TimeDelta::hours(2));
    let mut holder = app.connect();
    holder
        .batch_execute("begin; select from rowcall.digest for update")
        .unwrap();
    // WHEN the stage looks THEN it does not wait, and leaves the digest
    digest(&mut app).await;
    assert_eq!(digests(&app), ["open 1"]);
    // WHEN the holder is gone THEN it is closed
    holder.batch_execute("rollback").unwrap();
    advance(&mut app, TimeDelta::zero()).await;
    assert_eq!(digests(&app), ["condensed 1 max_wait"]);
    assert_exact(&app);
    deliver_all(&app);
}
