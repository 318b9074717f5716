//! Events that the API accepted, from the request to their receipt in every mode.

use std::collections::HashMap;

use chrono::TimeDelta;
use rowcall::account::account_read;
use serde_json::{Value, json};

use crate::{
    api::{call, get, submit},
    shop::{apply, body, judgements, shop, states},
    support::{
        app::TestApp,
        receiver::{Answer, Received, Receiver},
    },
};

const CAMPAIGNS: &str = r#"
    [event_type."sales.campaign.opened"]
    schema = { type = "object", required = ["amount"], properties = { amount = { type = "number" } } }
    [event_type."sales.campaign.closed"]
    schema = {}
"#;

const ONE: &str = "application/cloudevents+json";
const LIST: &str = "application/cloudevents-batch+json";

fn subscription(name: &str, more: &str) -> String {
    format!(
        "{CAMPAIGNS}[subscription.{name}]\nevent_types = [\"sales.campaign.*\"]\n{more}\nSINK\n"
    )
}

fn event(id: &str, source: &str, subject: Option<&str>, amount: i64) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": "sales.campaign.opened",
        "data": {"amount": amount},
    });
    if let Some(subject) = subject {
        event["subject"] = json!(subject);
    }
    event
}

/// The publisher's id of what was sent.
fn origin(request: &Received) -> String {
    body(request)["originid"].as_str().unwrap().to_owned()
}

/// The publishers' ids of all requests.
fn told(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(origin).collect()
}

/// Answers 503 to the first request of each of these events, and 200 to all others.
fn failing_once(receiver: &Receiver, ids: &'static [&str]) {
    let mut tries: HashMap<String, usize> = HashMap::new();
    receiver.answer_with(move |request| {
        let id = origin(request);
        let tries = tries.entry(id.clone()).or_default();
        *tries += 1;
        let is_first_of_failing = *tries == 1 && ids.contains(&id.as_str());
        Answer::Status(if is_first_of_failing { 503 } else { 200 })
    });
}

/// Asserts that nothing is missing, and returns how many changes were captured.
fn adds_up(app: &TestApp) -> i64 {
    use diesel::Connection as _;
    let account = app
        .connect()
        .transaction(|connection| account_read(connection, "default"))
        .unwrap();
    assert!(account.adds_up(), "{account:?}");
    assert_eq!(account.unread, 0, "{account:?}");
    account.captured
}

#[tokio::test]
async fn events_of_one_source_and_subject_come_in_order_also_when_one_fails() {
    let receiver = Receiver::start().await;
    failing_once(&receiver, &["1", "5"]);
    let mut app = shop(&receiver, &subscription("all", "mode = \"synchronous\"")).await;
    // WHEN events are submitted, one alone and others in a list
    submit(&app, ONE, &event("1", "/a", Some("s"), 1)).await;
    let list = json!([
        event("2", "/a", Some("s"), 2),
        event("3", "/b", Some("s"), 3),
        event("4", "/a", Some("t"), 4),
        event("5", "/a", None, 5),
        event("6", "/a", None, 6),
    ]);
    submit(&app, LIST, &list).await;
    app.run_until_idle().await;
    // THEN what has the first one's source and subject waits for it, and nothing else does
    let mut first = told(&receiver);
    first.sort();
    assert_eq!(first, ["1", "3", "4", "5", "6"]);
    app.advance(TimeDelta::seconds(10)).await;
    let all = told(&receiver);
    let place = |id: &str| all.iter().rposition(|told| told == id).unwrap();
    assert_eq!(all.len(), 8, "{all:?}");
    assert!(place("1") < place("2"), "{all:?}");
    assert_eq!(adds_up(&app), 6);
    // and each attempt of an event is the same to the byte
    let received = receiver.received();
    let tries: Vec<&Received> = received.iter().filter(|one| origin(one) == "1").collect();
    assert_eq!(tries[0].body, tries[1].body);
    assert_eq!(tries[0].id, tries[1].id);
}

#[tokio::test]
async fn what_is_submitted_again_is_published_once_and_listed_once() {
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, &subscription("all", "mode = \"synchronous\"")).await;
    let one = event("1", "/a", Some("s"), 1);
    assert_eq!(submit(&app, ONE, &one).await, [false]);
    assert_eq!(submit(&app, ONE, &one).await, [true]);
    app.run_until_idle().await;
    // Ids are ordered by the time of publishing.
    app.advance(TimeDelta::seconds(1)).await;
    // WHEN it comes again after its publishing, with another one of the same id and source
    let other = event("1", "/b", Some("s"), 1);
    let again = submit(&app, LIST, &json!([one, other, one])).await;
    assert_eq!(again, [true, false, true]);
    app.run_until_idle().await;
    // THEN each was told once
    assert_eq!(told(&receiver), ["1", "1"]);
    let sources: Vec<Value> = receiver.received().iter().map(body).collect();
    assert_eq!(sources[0]["originsource"], "/a");
    assert_eq!(sources[1]["originsource"], "/b");
    assert_eq!(adds_up(&app), 2);
    // and the list shows what was sent
    let (status, listed) = get(&app, "/v1/events?type=sales.campaign.opened").await;
    assert_eq!(status, 200);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["originid"], "1");
    assert_eq!(items[0]["id"], sources[0]["id"]);
    assert_eq!(items[0]["source"], "/rowcall/default");
    let (_, none) = get(&app, "/v1/events?type=sales.campaign.closed").await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn delayed_subscribers_are_told_after_the_synchronous_ones_in_order() {
    // GIVEN two subscribers at one receiver, whose ledger so has the order of both; the delayed one
    // fails at the first request
    let receiver = Receiver::start().await;
    let mut is_failing = true;
    receiver.answer_with(move |request| {
        let is_failed = request.path == "/later" && is_failing && origin(request) == "1";
        is_failing &= !is_failed;
        Answer::Status(if is_failed { 503 } else { 200 })
    });
    let delayed = format!(
        "[subscription.later]\nevent_types = [\"sales.campaign.*\"]\n\
         mode = \"synchronous_delayed\"\nsink = {{ kind = \"webhook\", url = \"{}\", \
         secret = {{ env = \"SIGNING_SECRET\" }} }}\n",
        receiver.url().replace("/hook", "/later")
    );
    let both = subscription("first", "mode = \"synchronous\"") + &delayed;
    let mut app = shop(&receiver, &both).await;
    // WHEN three events are submitted
    let list = json!([
        event("1", "/a", Some("s"), 1),
        event("2", "/a", Some("s"), 2),
        event("3", "/a", Some("t"), 3),
    ]);
    submit(&app, LIST, &list).await;
    app.run_until_idle().await;
    let asked = |path: &str| -> Vec<String> {
        let received = receiver.received();
        let at = received.iter().filter(|request| request.path == path);
        at.map(origin).collect()
    };
    // THEN the second waits for the first, whose attempt has failed
    assert_eq!(asked("/hook").len(), 3);
    let mut later = asked("/later");
    later.sort();
    assert_eq!(later, ["1", "3"]);
    app.advance(TimeDelta::seconds(10)).await;
    assert_eq!(asked("/later")[2..], ["1", "2"]);
    assert_eq!(asked("/hook").len(), 3);
    // and of each event the synchronous subscriber was asked first
    let received = receiver.received();
    for id in ["1", "2", "3"] {
        let place = |path: &str| {
            let is_it = |request: &Received| request.path == path && origin(request) == id;
            received.iter().position(is_it).unwrap()
        };
        assert!(place("/hook") < place("/later"), "{id}");
    }
    assert_eq!(adds_up(&app), 3);
}

#[tokio::test]
async fn digests_tell_of_them_by_subject_or_whole() {
    for (condense, data) in [("keys", "events"), ("none", "items")] {
        let receiver = Receiver::start().await;
        let digest = format!(
            "mode = \"batch\"\ncondense = \"{condense}\"\nschedule = {{ max_wait = \"1h\" }}"
        );
        let mut app = shop(&receiver, &subscription("digest", &digest)).await;
        // WHEN there are two of one subject, one of another and one of none; their data has a
        // member `key`, which is no key of theirs
        let mut list = [
            event("1", "/a", Some("s"), 1),
            event("2", "/a", Some("t"), 2),
            event("3", "/a", Some("s"), 3),
            event("4", "/a", None, 4),
        ];
        for event in &mut list {
            event["data"]["key"] = json!({"id": 7});
        }
        submit(&app, LIST, &json!(list)).await;
        app.run_until_idle().await;
        assert!(receiver.received().is_empty());
        app.advance(TimeDelta::hours(1)).await;
        // THEN one digest tells of all
        assert_eq!(receiver.received().len(), 1);
        let sent = body(&receiver.received()[0]);
        assert_eq!(sent["data"]["count"], 4, "{sent}");
        let told = sent["data"][data].as_array().unwrap();
        if condense == "none" {
            let ids: Vec<&str> = told
                .iter()
                .map(|item| item["originid"].as_str().unwrap())
                .collect();
            assert_eq!(ids, ["1", "2", "3", "4"]);
        } else {
            assert_eq!(told.len(), 1, "{sent}");
            assert_eq!(told[0]["type"], "sales.campaign.opened");
            assert_eq!(told[0]["object_type"], Value::Null);
            assert_eq!(told[0]["count"], 4);
            let keys: Vec<(Value, Value)> = told[0]["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| (key["key"].clone(), key["count"].clone()))
                .collect();
            assert_eq!(keys, [(json!("s"), json!(2)), (json!("t"), json!(1))]);
        }
        assert_eq!(adds_up(&app), 4);
    }
}

#[tokio::test]
async fn filters_and_constraints_look_at_their_data() {
    let receiver = Receiver::start().await;
    let looked_at = r#"
        filter = "event.data.amount >= 10"
        mode = "synchronous"
    "#;
    let modest = r#"
        [constraint.modest]
        applies_to = { event_types = ["sales.campaign.opened"] }
        condition = "event.data.amount < 1000"
        otherwise = "suppress"
    "#;
    let mut app = shop(
        &receiver,
        &format!("{}{modest}", subscription("all", looked_at)),
    )
    .await;
    let list = json!([
        event("1", "/a", Some("s"), 9),
        event("2", "/a", Some("s"), 10),
        event("3", "/a", Some("s"), 1000),
        event("4", "/a", Some("s"), 999),
    ]);
    submit(&app, LIST, &list).await;
    app.run_until_idle().await;
    // THEN the filter leaves out the first, and the constraint suppresses the third
    assert_eq!(told(&receiver), ["2", "4"]);
    assert_eq!(states(&app), ["delivered/1", "suppressed/0", "delivered/1"]);
    let judged = judgements(&app);
    assert_eq!(judged.len(), 1);
    assert!(
        judged[0].starts_with("suppress modest event: the condition is false")
            && judged[0].contains("\"event.data.amount\":1000"),
        "{judged:?}"
    );
    assert_eq!(adds_up(&app), 4);
}

#[tokio::test]
async fn an_event_whose_type_is_taken_out_before_it_is_published_is_kept_and_told_to_nobody() {
    let receiver = Receiver::start().await;
    let all = "[subscription.all]\nevent_types = [\"sales.*\"]\nmode = \"synchronous\"\nSINK\n";
    let mut app = shop(&receiver, &format!("{CAMPAIGNS}{all}")).await;
    // GIVEN an event that is accepted
    submit(&app, ONE, &event("1", "/a", Some("s"), 1)).await;
    // WHEN its type goes before it is published
    apply(&app, &receiver, all).await;
    app.sql("insert into orders (id) values (1)");
    app.run_until_idle().await;
    // THEN it is stored as it was accepted, and nobody is told
    let received: Vec<Value> = receiver.received().iter().map(body).collect();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["type"], "sales.order.created");
    let (_, listed) = get(&app, "/v1/events?type=sales.campaign.opened").await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["originid"], "1");
    assert_eq!(items[0]["data"]["amount"], 1);
    assert_eq!(adds_up(&app), 2);
    // and another is not accepted any more
    let another = event("2", "/a", Some("s"), 1).to_string();
    let (status, problem) = call(&app, "POST", "/v1/events", ONE, &another).await;
    assert_eq!(status, 422, "{problem}");
}

#[tokio::test]
async fn a_rows_event_names_its_schema_and_a_submitted_one_what_its_publisher_gave() {
    let receiver = Receiver::start().await;
    let all = "[subscription.all]\nevent_types = [\"sales.*\"]\nmode = \"synchronous\"\nSINK\n";
    let metadata = format!("{CAMPAIGNS}{all}");
    for public_url in [None, Some("https://rowcall.example.com/api/")] {
        let mut app = crate::shop::shop_at(&receiver, &metadata, public_url).await;
        let before = receiver.received().len();
        app.sql("insert into orders (id) values (1)");
        app.run_until_idle().await;
        submit(&app, ONE, &event("1", "/a", Some("s"), 1)).await;
        app.run_until_idle().await;
        let mut given = event("2", "/a", Some("s"), 1);
        given["dataschema"] = json!("urn:campaign:3");
        submit(&app, ONE, &given).await;
        app.run_until_idle().await;
        let sent: Vec<Value> = receiver.received()[before..].iter().map(body).collect();
        assert_eq!(sent.len(), 3);
        let path = "/v1/event-types/sales.order.created/schema";
        let expected = public_url.map(|_| format!("https://rowcall.example.com/api{path}"));
        assert_eq!(sent[0]["dataschema"], json!(expected), "{}", sent[0]);
        assert_eq!(
            sent[0].get("dataschema").is_some(),
            public_url.is_some(),
            "{}",
            sent[0]
        );
        assert!(sent[1].get("dataschema").is_none(), "{}", sent[1]);
        assert_eq!(sent[2]["dataschema"], "urn:campaign:3");
        // and there it is
        let (status, schema) = get(&app, path).await;
        assert_eq!(status, 200);
        assert_eq!(schema["title"], "sales.order.created");
    }
}
