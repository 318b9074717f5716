//! Batch subscriptions from the row to the digest's receipt.

use chrono::TimeDelta;
use rowcall::stage::Stage as _;

use crate::{
    shop::{apply, body, judgements, shop, states, write},
    support::receiver::{Answer, Receiver},
};

fn batch(more: &str) -> String {
    format!(
        "[subscription.digest]\nobject_types = [\"sales.order\"]\nmode = \"batch\"\n\
         schedule = {{ cron = \"0 12 * * *\", time_zone = \"Europe/Berlin\" }}\nSINK\n{more}\n"
    )
}

#[tokio::test]
async fn events_leave_as_one_digest_when_the_window_closes() {
    // GIVEN a digest at noon in Berlin; it is ten o'clock there
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, &batch("")).await;
    // WHEN orders change
    write(&app, "insert into orders (id) values (1), (2)");
    app.run_until_idle().await;
    write(&app, "update orders set region = 'US' where id = 1");
    app.run_until_idle().await;
    write(&app, "update orders set region = 'EU' where id = 1");
    app.run_until_idle().await;
    app.advance(TimeDelta::minutes(119)).await;
    assert!(receiver.received().is_empty());
    // THEN at noon they leave together
    app.advance(TimeDelta::minutes(1)).await;
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let digest = body(&received[0]);
    assert_eq!(digest["type"], "rowcall.digest");
    assert_eq!(digest["data"]["count"], 4);
    assert_eq!(digest["data"]["parts"], 1);
    assert_eq!(digest["sequence"], "00000000000000000001");
    let events = digest["data"]["events"].as_array().unwrap();
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            let keys = event["keys"].as_array().unwrap().len();
            format!(
                "{} {} of {keys}",
                event["type"].as_str().unwrap(),
                event["count"]
            )
        })
        .collect();
    assert_eq!(
        told,
        ["sales.order.created 2 of 2", "sales.order.updated 2 of 1"]
    );
    // and an empty window sends nothing
    app.advance(TimeDelta::days(1)).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_digest_that_is_sent_again_is_the_same_to_the_byte_and_the_next_one_waits() {
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(503), Answer::Status(503)]);
    let mut app = shop(
        &receiver,
        &batch("retry = { schedule = [\"0s\", \"13h\", \"13h\"] }\n"),
    )
    .await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::hours(2)).await;
    write(&app, "insert into orders (id) values (2)");
    app.run_until_idle().await;
    app.advance(TimeDelta::days(1)).await;
    // The second digest is closed, and waits behind the first.
    assert_eq!(receiver.received().len(), 2);
    app.advance(TimeDelta::hours(15)).await;
    let received = receiver.received();
    let ids: Vec<&str> = received.iter().map(|request| request.id.as_str()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3]);
    assert!(ids[0].ends_with(".1"));
    assert_eq!(received[0].body, received[2].body);
}

#[tokio::test]
async fn the_filter_of_a_net_effect_digest_is_judged_on_the_fold() {
    let receiver = Receiver::start().await;
    let mut app = shop(
        &receiver,
        &batch("condense = \"net_effect\"\nfilter = \"row.amount >= 100\"\n"),
    )
    .await;
    // WHEN an order grows step by step, another comes and goes, and a third shrinks
    write(
        &app,
        "insert into orders (id, amount) values (1, 10), (2, 500), (3, 500)",
    );
    app.run_until_idle().await;
    write(
        &app,
        "update orders set amount = 60 where id = 1; update orders set amount = 160 where id = 1",
    );
    write(
        &app,
        "delete from orders where id = 2; update orders set amount = 5 where id = 3",
    );
    app.run_until_idle().await;
    app.advance(TimeDelta::hours(2)).await;
    // THEN one object is told, as it is now
    let digest = body(&receiver.received()[0]);
    let objects = digest["data"]["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 1, "{digest}");
    assert_eq!(objects[0]["key"]["id"], 1);
    assert_eq!(objects[0]["op"], "create");
    assert_eq!(objects[0]["count"], 3);
    assert_eq!(objects[0]["after"]["amount"], 160.0);
    assert_eq!(
        app.texts("select vanished::text from rowcall.digest"),
        ["4"]
    );
}

#[tokio::test]
async fn an_event_that_is_held_joins_the_digest_that_is_open_when_it_is_released() {
    let receiver = Receiver::start().await;
    let held = r#"
        [constraint.evening]
        applies_to = { object_types = ["sales.order"] }
        window = { from = "18:00", to = "20:00" }
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let mut app = shop(&receiver, &batch(held)).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    write(&app, "update orders set region = 'US'");
    app.run_until_idle().await;
    assert_eq!(states(&app), ["held/0", "held/0"]);
    // WHEN the first window of the digest closes THEN it has nothing
    app.advance(TimeDelta::hours(3)).await;
    assert!(receiver.received().is_empty());
    // WHEN they are released in the evening THEN the digest of the next day tells them, in order
    app.advance(TimeDelta::hours(6)).await;
    assert_eq!(states(&app), [""; 0]);
    app.advance(TimeDelta::days(1)).await;
    let digest = body(&receiver.received()[0]);
    assert_eq!(digest["data"]["count"], 2);
    assert_eq!(
        app.texts("select event_type from rowcall.digest_member order by position"),
        ["sales.order.created", "sales.order.updated"]
    );
    assert_eq!(judgements(&app).len(), 2);
}

#[tokio::test]
async fn a_digest_is_held_until_its_own_sending_is_allowed() {
    let receiver = Receiver::start().await;
    let office = r#"
        [constraint.office-hours]
        applies_to = { object_types = ["sales.order"] }
        window = { from = "14:00", to = "15:00" }
        judge = "at_send"
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let mut app = shop(&receiver, &batch(office)).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::hours(2)).await;
    assert!(receiver.received().is_empty());
    assert_eq!(app.texts("select state from rowcall.delivery"), ["held"]);
    assert!(judgements(&app)[0].starts_with("hold office-hours send"));
    app.advance(TimeDelta::hours(3)).await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_constraint_keeps_events_out_of_a_digest() {
    let receiver = Receiver::start().await;
    let large = r#"
        [constraint.large-orders]
        applies_to = { event_types = ["sales.order.*"] }
        condition = "row.amount >= 1000"
        judge = "at_send"
        otherwise = "suppress"
    "#;
    let mut app = shop(&receiver, &batch(large)).await;
    write(
        &app,
        "insert into orders (id, amount) values (1, 10), (2, 1000)",
    );
    app.run_until_idle().await;
    assert_eq!(states(&app), ["suppressed/0"]);
    app.advance(TimeDelta::hours(2)).await;
    assert_eq!(body(&receiver.received()[0])["data"]["count"], 1);
}

#[tokio::test]
async fn an_event_that_was_held_is_in_its_group_when_it_is_released() {
    // GIVEN a digest by region, and a constraint that holds events until the evening
    let receiver = Receiver::start().await;
    let more = r#"
        group_by = "row.region"
        [constraint.evening]
        applies_to = { event_types = ["sales.order.deleted"] }
        window = { from = "18:00", to = "20:00" }
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let mut app = shop(&receiver, &batch(more)).await;
    write(
        &app,
        "insert into orders (id, region) values (1, 'US'), (2, 'EU'), (3, 'US')",
    );
    app.run_until_idle().await;
    // WHEN a deletion is held over noon and is released in the evening
    write(&app, "delete from orders where id = 3");
    app.run_until_idle().await;
    app.advance(TimeDelta::hours(2)).await;
    app.advance(TimeDelta::hours(7)).await;
    app.advance(TimeDelta::hours(17)).await;
    // THEN each digest of the window is divided by the row's region, the old one of a deletion
    let told: Vec<String> = receiver
        .received()
        .iter()
        .map(|request| {
            let digest = body(request);
            let data = &digest["data"];
            let id = request.id.rsplit('.').next().unwrap();
            format!(
                "{id} {} {}/{} {}",
                data["group"], data["part"], data["parts"], data["count"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [r#"1 "EU" 1/1 1"#, r#"2 "US" 1/1 2"#, r#"1 "US" 1/1 1"#]
    );
}

#[tokio::test]
async fn an_event_that_is_released_beside_an_edit_goes_by_the_schedule_that_holds_then() {
    // GIVEN a yearly digest, and an event that is held until the evening
    let receiver = Receiver::start().await;
    let held = r#"
        [constraint.evening]
        applies_to = { object_types = ["sales.order"] }
        window = { from = "18:00", to = "20:00" }
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let yearly = batch(held).replace("0 12 * * *", "0 0 1 1 *");
    let mut app = shop(&receiver, &yearly).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    // WHEN it is claimed to be released, and the digest becomes an hourly one before it is
    app.clock.advance(TimeDelta::hours(9));
    let now = app.clock.now();
    app.instance.deliver.run_once(now).await.unwrap();
    assert_eq!(states(&app), ["sending/0"]);
    apply(&app, &receiver, &batch(held).replace("0 12", "0 *")).await;
    app.instance.digest.run_once(now).await.unwrap();
    app.instance.deliver.run_once(now).await.unwrap();
    // THEN it waits for an hour and not for a year
    assert_eq!(states(&app), [""; 0]);
    let closes = "select close_at::text from rowcall.digest where state = 'open'";
    assert_eq!(app.texts(closes), ["2026-03-02 19:00:00+00"]);
    app.advance(TimeDelta::hours(1)).await;
    assert_eq!(body(&receiver.received()[0])["data"]["count"], 1);
}
