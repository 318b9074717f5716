//! Event types by condition, and filters.

use crate::{
    shop::{apply, body, shop, told},
    support::receiver::Receiver,
};

const RELEASED: &str = r#"
    [event_type."sales.order.released"]
    object_type = "sales.order"
    on = ["update"]
    when = "old.status != 'released' && new.status == 'released'"
    [event_type."sales.order.big"]
    object_type = "sales.order"
    when = "row.amount >= 1000.00"
"#;

#[tokio::test]
async fn a_change_is_every_event_that_it_satisfies_the_standard_one_first() {
    // GIVEN two event types that metadata defines
    let receiver = Receiver::start().await;
    let all = "[subscription.all]\nevent_types = [\"sales.order.*\"]\nmode = \"synchronous\"\nSINK";
    let mut app = shop(&receiver, &format!("{RELEASED}{all}")).await;
    // WHEN an order is made, released, changed when released, and deleted
    app.sql("insert into orders (id, amount) values (1, 999.99)");
    app.sql("update orders set status = 'released', amount = 1000 where id = 1");
    app.sql("update orders set region = 'US' where id = 1");
    app.sql("delete from orders");
    app.run_until_idle().await;
    // THEN each change is what it is
    assert_eq!(
        told(&receiver),
        [
            "created 1",
            "updated 1",
            "big 1",
            "released 1",
            "updated 1",
            "big 1",
            "deleted 1",
            "big 1"
        ]
    );
    // and the events of one change carry the same data
    let received = receiver.received();
    let (updated, released) = (body(&received[1]), body(&received[3]));
    assert_eq!(updated["data"]["after"], released["data"]["after"]);
    assert_ne!(updated["id"], released["id"]);
}

#[tokio::test]
async fn a_filter_selects_and_a_failing_one_selects_nothing() {
    // GIVEN a filter that fails where `due` is null
    let receiver = Receiver::start().await;
    let filtered = r#"
        [subscription.eu]
        object_types = ["sales.order"]
        filter = "row.region == 'EU' && row.due > timestamp('2026-01-01T00:00:00Z')"
        mode = "synchronous"
        SINK
    "#;
    let mut app = shop(&receiver, filtered).await;
    // WHEN orders of both regions come, with and without a due date
    app.sql(
        "insert into orders (id, region, due) values (1, 'EU', '2026-02-01'), (2, 'US', \
             '2026-02-01'), (3, 'EU', null), (4, 'EU', '2025-02-01'), (5, 'EU', '2026-03-01')",
    );
    app.run_until_idle().await;
    // THEN only what is certainly wanted is told, and nothing else is disturbed
    let mut told = told(&receiver);
    told.sort();
    assert_eq!(told, ["created 1", "created 5"]);
    assert_eq!(app.count("select count(*) from rowcall.delivery"), 2);
    assert_eq!(app.count("select count(*) from rowcall.event"), 5);
}

#[tokio::test]
async fn a_column_that_a_condition_uses_may_go_and_everything_else_goes_on() {
    let receiver = Receiver::start().await;
    let all = "[subscription.all]\nevent_types = [\"sales.order.*\"]\nmode = \"synchronous\"\nSINK";
    let mut app = shop(&receiver, &format!("{RELEASED}{all}")).await;
    // WHEN the column goes
    app.sql("alter table orders drop column amount; insert into orders (id) values (1)");
    app.run_until_idle().await;
    // THEN the standard event is told
    assert_eq!(told(&receiver), ["created 1"]);
    // and so it is when the metadata is read again
    app.sql("update rowcall.registry set revision = revision + 1; update orders set status = 'released'");
    app.run_until_idle().await;
    assert_eq!(told(&receiver), ["created 1", "updated 1", "released 1"]);
    let _ = apply;
}
