//! Parts of digests are large, so they take more of the memory of whoever sends them.

use chrono::TimeDelta;
use rowcall::config::Limits;

use crate::{
    harness::{advance, news_id, orders, parts, publish, resubscribe_to, schedule},
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

const WAIT: &str = "max_wait = \"1h\"";

#[tokio::test]
async fn a_part_that_is_larger_than_all_places_is_sent_and_they_are_free_again() {
    // GIVEN an instance with room for twenty events, and a digest one of whose parts takes more
    let receiver = Receiver::start().await;
    let limits = Limits {
        deliveries_in_memory_max: 20,
        digest_part_items_max: 1,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with("create table orders (id int primary key)", options).await;
    let more = "ordering = \"none\"\ncondense = \"none\"";
    resubscribe_to(&app, WAIT, more, receiver.url()).await;
    publish(&app, &schedule(WAIT), &orders(5));
    advance(&mut app, TimeDelta::hours(1)).await;
    app.sql(
        "update rowcall.digest_part set body = replace(body, '\"note\":\"new\"', \
             '\"note\":\"' || repeat('x', 1500000) || '\"') where part = 3",
    );
    // WHEN it is sent, and sent again where a busy machine took too long
    app.run_until_idle().await;
    app.advance(TimeDelta::minutes(10)).await;
    app.advance(TimeDelta::hours(10)).await;
    // THEN every part arrives, and nothing is held any more
    let told = parts(&app);
    assert!(
        told.iter().all(|part| part.contains("delivered")),
        "{told:?}"
    );
    let received = receiver.received();
    assert!(received.iter().any(|part| part.body.len() > 1_500_000));
    assert_eq!(app.instance.outbox.in_memory(), 0);
    assert_eq!(
        app.count(&format!(
            "select count(*) from rowcall.digest_member \
        where subscription_id = '{}'",
            news_id(&app)
        )),
        5
    );
}
