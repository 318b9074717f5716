//! What can't be captured whole is told as a gap, and its neighbours flow.

use serde_json::json;

use crate::{
    shop::{event, mirrored_to, rows},
    support::{app::TestApp, receiver::Receiver},
};

#[tokio::test]
async fn an_image_that_is_too_large_is_published_as_a_gap_with_its_key() {
    // GIVEN a limit of 100,000 bytes
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    // WHEN a row is larger, between others
    app.sql("insert into orders values (1); insert into orders values (2, 1, repeat('x', 200000))");
    app.sql("insert into orders values (3); update orders set note = 'small', revision = 2 where id = 2");
    app.run_until_idle().await;
    // THEN its event says what is missing, and the neighbours are whole
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    let gaps: Vec<_> = received
        .iter()
        .map(event)
        .filter(|event| event["type"] == "rowcall.capture.gap")
        .collect();
    assert_eq!(
        gaps.len(),
        2,
        "the insert, and the update whose row before is as large"
    );
    assert_eq!(gaps[0]["subject"], "2");
    let data = &gaps[0]["data"];
    assert_eq!(data["key"], json!({"id": 2}));
    assert_eq!(
        (&data["object_type"], &data["op"]),
        (&json!("sales.order"), &json!("gap"))
    );
    assert_eq!(data["captured_op"], "insert");
    assert!(data["size"].as_i64().unwrap() > 200_000, "{data}");
    assert!(
        data["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{data}"
    );
    assert_eq!(gaps[1]["data"]["captured_op"], "update");
    let mut whole = received;
    whole.retain(|request| event(request)["type"] == "sales.order.created");
    let mut whole = rows(&whole);
    whole.sort();
    assert_eq!(whole, ["1:1", "3:1"]);
}

#[tokio::test]
async fn a_renamed_key_column_makes_gaps_and_no_failures() {
    let receiver = Receiver::start().await;
    let mut app = mirrored_to(&receiver, "").await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN the owner of the table renames the key column THEN writers go on, and gaps are told
    app.sql("alter table orders rename id to number; insert into orders values (2)");
    app.sql("update orders set revision = 2 where number = 1");
    app.run_until_idle().await;
    let received = receiver.received();
    let types: Vec<_> = received
        .iter()
        .map(|request| event(request)["type"].clone())
        .collect();
    assert_eq!(
        types,
        [
            "sales.order.created",
            "rowcall.capture.gap",
            "rowcall.capture.gap"
        ]
    );
    let gap = event(&received[1]);
    assert_eq!(gap.get("subject"), None);
    assert_eq!(gap["data"]["key"], json!(null));
    assert!(
        gap["data"]["reason"].as_str().unwrap().contains("id"),
        "{gap}"
    );
    // AND when it is named as before, whole events
    app.sql("alter table orders rename number to id; update orders set revision = 3 where id = 1");
    app.run_until_idle().await;
    assert_eq!(rows(&receiver.received()[3..]), ["1:3"]);
}

#[tokio::test]
async fn a_key_too_long_for_an_index_stops_nobody() {
    // GIVEN a key that Postgres takes because it compresses well, and which is longer than an index
    // entry may be when it is percent-encoded
    let receiver = Receiver::start().await;
    let mut app = TestApp::start("create table public.notes (id text primary key)").await;
    app.apply(&format!(
        "[namespace.t]\n[object_type.\"t.note\"]\ntable = \"public.notes\"\nkey = [\"id\"]\n\
         [subscription.all]\nobject_types = [\"t.note\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{}\" }}",
        receiver.url()
    ))
    .await;
    // WHEN
    app.sql("insert into notes values (repeat('é', 5000)), ('short'), (''), (repeat('x', 5000))");
    app.run_until_idle().await;
    // THEN
    let subjects: Vec<usize> = receiver
        .received()
        .iter()
        .map(|request| event(request)["subject"].as_str().unwrap().len())
        .collect();
    assert_eq!(subjects.len(), 4);
    assert!(
        subjects.contains(&30_000) && subjects.contains(&0),
        "{subjects:?}"
    );
}
