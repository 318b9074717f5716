//! An account that does not add up is told to operators without their asking.

use chrono::TimeDelta;
use rowcall::{observe::metrics, stage::Stage as _};

use crate::{
    shop::shop,
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

async fn upkeep_after(app: &mut TestApp, wait: TimeDelta) {
    app.advance(wait).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

fn alarm(app: &TestApp) -> Option<String> {
    let warnings = app.instance.readiness.report().warnings;
    let is_alarm = |text: &String| text.contains("does not add up");
    warnings.into_iter().find(is_alarm)
}

#[tokio::test]
async fn a_loss_is_a_warning_and_a_metric_until_it_is_made_good() {
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
