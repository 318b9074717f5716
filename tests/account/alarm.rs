//! An account that does not add up is told to operators without their asking.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::{observe::metrics, stage::Stage as _};
use tokio::sync::Mutex;

use crate::{
    shop::shop,
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

/// Metrics are of the whole process, so one test at a time sets those of the account.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn upkeep_after(app: &mut TestApp, wait: TimeDelta) {
    app.advance(wait).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

fn warning(app: &TestApp, part: &str) -> Option<String> {
    let warnings = app.instance.readiness.report().warnings;
    warnings.into_iter().find(|text| text.contains(part))
}

fn alarm(app: &TestApp) -> Option<String> {
    warning(app, "does not add up")
}

fn failed(app: &TestApp) -> Option<String> {
    warning(app, "could not be drawn up")
}

#[tokio::test]
async fn upkeep_does_not_wait_for_large_tables() {
    let _alone = ALONE.lock().await;
    // GIVEN an instance one of whose tables takes long to be read
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    upkeep_after(&mut app, TimeDelta::zero()).await;
    let mut reader = app.connect();
    reader
        .batch_execute("begin; lock table rowcall.digest_member in access exclusive mode")
        .unwrap();
    // WHEN the account is due THEN upkeep comes to its end all the same
    app.clock.advance(TimeDelta::minutes(1));
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    assert_eq!(failed(&app), None);
    // WHEN it can't be drawn up THEN that is told, though nobody waits for it any more
    reader
        .batch_execute("alter table rowcall.digest_member rename to kept; commit")
        .unwrap();
    let told = async {
        while failed(&app).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .unwrap();
    app.sql("alter table rowcall.kept rename to digest_member");
}

#[tokio::test]
async fn an_account_that_can_not_be_drawn_up_takes_no_alarm_away() {
    let _alone = ALONE.lock().await;
    // GIVEN an account that does not add up
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders values (1)");
    upkeep_after(&mut app, TimeDelta::zero()).await;
    app.sql("update rowcall.account set changes_dropped = 1");
    upkeep_after(&mut app, TimeDelta::minutes(1)).await;
    assert!(alarm(&app).is_some());
    // WHEN the next one can't be drawn up THEN both are told
    app.sql("alter table rowcall.account rename to kept");
    upkeep_after(&mut app, TimeDelta::hours(1)).await;
    assert!(alarm(&app).is_some() && failed(&app).is_some());
    // WHEN it can, and adds up THEN neither is
    app.sql("alter table rowcall.kept rename to account; update rowcall.account set changes_dropped = 0");
    upkeep_after(&mut app, TimeDelta::hours(1)).await;
    assert_eq!((alarm(&app), failed(&app)), (None, None));
}

#[tokio::test]
async fn a_loss_is_a_warning_and_a_metric_until_it_is_made_good() {
    let _alone = ALONE.lock().await;
    // GIVEN a shop whose account adds up
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders values (1)");
    upkeep_after(&mut app, TimeDelta::zero()).await;
    upkeep_after(&mut app, TimeDelta::minutes(1)).await;
    assert_eq!(alarm(&app), None);
    assert!(metrics::render().contains("rowcall_account_imbalance 0"));
    // WHEN a delivery is lost
    app.sql(
        "create table kept as select d.* from rowcall.delivery as d \
             join rowcall.subscription as s on s.id = d.subscription_id where s.name = 'mirror'; \
         delete from rowcall.delivery as d using kept where kept.id = d.id",
    );
    let event = app.texts("select event_id from kept")[0].clone();
    // THEN nothing is told before the account is drawn up again
    upkeep_after(&mut app, TimeDelta::minutes(59)).await;
    assert_eq!(alarm(&app), None);
    // AND then it is a warning that names the event, and a metric
    upkeep_after(&mut app, TimeDelta::minutes(2)).await;
    let text = alarm(&app).unwrap();
    assert!(text.contains(&format!("event {event}")), "{text}");
    assert!(text.contains("the pairs of 1 subscriptions"), "{text}");
    let rendered = metrics::render();
    for line in [
        "rowcall_account_imbalance 1",
        "rowcall_account_changes{what=\"published\"} 1",
        "rowcall_account_pairs{what=\"matched\"} 5",
        "rowcall_account_at_seconds 17",
    ] {
        assert!(rendered.contains(line), "{line}: {rendered}");
    }
    assert!(app.instance.readiness.report().is_ready());
    // WHEN it is put back THEN the alarm ends
    app.sql("insert into rowcall.delivery select * from kept");
    upkeep_after(&mut app, TimeDelta::hours(1)).await;
    assert_eq!(alarm(&app), None);
    app.advance(TimeDelta::days(3)).await;
}
