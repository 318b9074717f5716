//! The schema refuses digests that can't be.

use diesel::connection::SimpleConnection as _;

use crate::{
    harness::{deliver_all, digest, news, orders, publish, schedule},
    support::app::TestApp,
};

#[tokio::test]
async fn a_digest_is_in_a_possible_state() {
    // GIVEN a condensed, a closed and an open digest
    let mut app: TestApp = news("max_items = 2", "").await;
    let two = schedule("max_items = 2");
    publish(&app, &two, &orders(2));
    digest(&mut app).await;
    publish(&app, &two, &orders(3));
    let set =
        |state: &str, to: &str| format!("update rowcall.digest set {to} where state = '{state}'");
    // WHEN it is made what can't be THEN the schema refuses
    for (what, sql) in [
        (
            "two open digests of a subscription",
            "insert into rowcall.digest (id, subscription_id, state, opened_at) \
             select gen_random_uuid(), subscription_id, 'open', now() from rowcall.digest limit 1"
                .to_owned(),
        ),
        (
            "an event twice in a subscription's digests",
            "insert into rowcall.digest_member (digest_id, position, event_id, subscription_id, \
                 event_type, \"time\") \
             select gen_random_uuid(), position, event_id, subscription_id, event_type, \"time\" \
             from rowcall.digest_member limit 1"
                .to_owned(),
        ),
        ("an unknown state", set("open", "state = 'ajar'")),
        (
            "an open digest with an end",
            set("open", "closed_at = now()"),
        ),
        ("an open digest with a number", set("open", "number = 9")),
        ("a closed one without", set("closed", "number = null")),
        ("a number twice", set("closed", "number = 1")),
        (
            "a closed one without a cause",
            set("closed", "closed_by = null"),
        ),
        ("parts before it is condensed", set("closed", "parts = 1")),
        ("none when it is", set("condensed", "parts = null")),
        (
            "an end before the beginning",
            set("closed", "closed_at = '1999-01-01'"),
        ),
        (
            "more vanished than there were",
            set("condensed", "vanished = 3"),
        ),
        ("events without a first", set("closed", "first_at = null")),
        (
            "a time to close for no cause",
            set("open", "close_at = now()"),
        ),
        (
            "an empty one with events",
            set("closed", "state = 'empty', parts = 0"),
        ),
        (
            "a delivery of an event and a part",
            "update rowcall.delivery set event_id = gen_random_uuid()".to_owned(),
        ),
        (
            "a delivery of nothing",
            "update rowcall.delivery set digest_id = null, part = null".to_owned(),
        ),
        (
            "a part owed twice",
            "insert into rowcall.delivery (id, subscription_id, digest_id, part, position, \
                 sequence, created_at, state) \
             select gen_random_uuid(), subscription_id, digest_id, part, position, 9, created_at, \
                 'pending' from rowcall.delivery"
                .to_owned(),
        ),
    ] {
        assert!(
            app.connect().batch_execute(&sql).is_err(),
            "the schema lets in {what}"
        );
    }
    digest(&mut app).await;
    deliver_all(&app);
}
