//! Events that are submitted: what is accepted, once, and what it becomes in the change table.

use axum::{body::Body, http::Request};
use chrono::TimeDelta;
use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};
use rowcall::{
    auth::Role,
    config::Limits,
    db::Database,
    publish::submitted::AcceptedEvent,
    stage::{Nudge, Stage as _},
    upkeep::Upkeep,
};
use serde_json::{Value, json};

use crate::{
    harness::{ADMIN_KEY, Answer, Api, CATALOGUE, request},
    support::postgres::{TestDatabase, execute},
};

const BATCH: &str = "application/cloudevents-batch+json";

/// An event type with a schema, one without, and one that is found in rows.
pub(crate) fn start() -> Api {
    start_limited(|_| {})
}

/// The same, with other limits.
pub(crate) fn start_limited(limit: impl FnOnce(&mut Limits)) -> Api {
    let database = TestDatabase::create();
    execute(&database.url, CATALOGUE);
    let api = Api::limited(database, limit);
    let schema = json!({"schema": {
        "type": "object",
        "required": ["amount"],
        "properties": {
            "amount": {"type": "number", "minimum": 0},
            "code": {"type": "string", "pattern": "^[A-Z]+$"},
        },
    }});
    execute(
        &api.database.url,
        &format!(
            "insert into rowcall.catalog_item (kind, name, origin, definition, version_from) values \
                 ('event_type', 'sales.campaign.opened', 'api', '{schema}', 1), \
                 ('event_type', 'sales.campaign.closed', 'api', '{{}}', 1), \
                 ('event_type', 'sales.order.released', 'api', \
                     '{{\"object_type\": \"sales.order\"}}', 1)"
        ),
    );
    api
}

pub(crate) fn event(id: &str, amount: i64) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/shop",
        "type": "sales.campaign.opened",
        "subject": "spring",
        "data": {"amount": amount},
    })
}

pub(crate) async fn submit(api: &Api, media_type: &str, body: &str) -> Answer {
    submit_as(api, ADMIN_KEY, media_type, body).await
}

pub(crate) async fn submit_as(api: &Api, key: &str, media_type: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri("/v1/events")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", media_type)
        .body(Body::from(body.to_owned()));
    api.send(request.unwrap()).await
}

async fn submit_list(api: &Api, events: &[Value]) -> Answer {
    submit(api, BATCH, &json!(events).to_string()).await
}

/// The first column of a query.
pub(crate) fn texts(api: &Api, sql: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let rows: Vec<Row> = sql_query(sql).load(&mut api.database.connect()).unwrap();
    rows.into_iter().map(|row| row.text).collect()
}

/// The ids of the appended events, in the order of capture.
pub(crate) fn appended(api: &Api) -> Vec<String> {
    texts(
        api,
        "select after ->> 'id' as text from rowcall.change order by seq",
    )
}

pub(crate) fn duplicates(answer: &Answer) -> Vec<bool> {
    assert_eq!(answer.status, 202, "{}", answer.text);
    let items = answer.json["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["duplicate"].as_bool().unwrap())
        .collect()
}

#[tokio::test]
async fn an_event_is_appended_to_the_change_table_as_it_was_written() {
    // GIVEN a key of a publisher
    let api = start();
    let key = api.key(Role::Publisher);
    let author = key[4..16].to_owned();
    // WHEN it submits an event, spaced and escaped as it likes
    let text = r#"{ "specversion":"1.0", "type": "sales.campaign.opened", "id":"a\u002f1",
        "source":"/shop","data": {"amount" : 1.10, "note":"\u0000 \u00e4"} }"#;
    let answer = submit_as(&api, &key, "application/cloudevents+json", text).await;
    // THEN it is accepted, and stands among the changes to the byte
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(
        answer.json,
        json!({"items": [{"id": "a/1", "source": "/shop", "duplicate": false}]})
    );
    assert_eq!(
        texts(&api, "select after::text as text from rowcall.change"),
        [text]
    );
    let row = "select concat_ws(' ', op, target, relation, rotation, role, actor, before is null, \
                   xid >= '3'::xid8, at > now() - interval '1 minute') as text from rowcall.change";
    assert_eq!(
        texts(&api, row),
        [format!("e 0 0 1 {author} {author} t t t")]
    );
    let read = AcceptedEvent::parse(text).unwrap();
    assert_eq!((read.id.as_str(), read.order()), ("a/1", None));
}

#[tokio::test]
async fn a_list_is_captured_in_its_order_and_each_event_once() {
    let api = start();
    let ids = ["9", "1", "5", "1", "3"];
    let list: Vec<Value> = ids.iter().map(|id| event(id, 1)).collect();
    let answer = submit_list(&api, &list).await;
    assert_eq!(duplicates(&answer), [false, false, false, true, false]);
    assert_eq!(appended(&api), ["9", "1", "5", "3"]);
    let transactions = texts(
        &api,
        "select distinct xid::text as text from rowcall.change",
    );
    assert_eq!(transactions.len(), 1);
    // Sent again, with one that is new; white space and the order of the attributes do not count.
    let again = "[ {\"data\":{\"amount\" : 1}, \"subject\":\"spring\", \"source\":\"/shop\", \
                 \"type\":\"sales.campaign.opened\",\"id\":\"9\",\"specversion\":\"1.0\"}, "
        .to_owned()
        + &event("7", 1).to_string()
        + "]";
    let answer = submit(&api, "application/json", &again).await;
    assert_eq!(duplicates(&answer), [true, false]);
    assert_eq!(appended(&api), ["9", "1", "5", "3", "7"]);
    // Another source has ids of its own.
    let mut other = event("9", 2);
    other["source"] = json!("/shop/2");
    assert_eq!(duplicates(&submit_list(&api, &[other]).await), [false]);
    assert_eq!(duplicates(&submit_list(&api, &[]).await), [] as [bool; 0]);
}

#[tokio::test]
async fn an_id_that_another_event_has_refuses_all() {
    let api = start();
    assert_eq!(
        duplicates(&submit_list(&api, &[event("1", 1)]).await),
        [false]
    );
    let answer = submit_list(&api, &[event("2", 1), event("1", 2)]).await;
    answer.is_problem(409, "event-id-reused", &["another event of this source"]);
    assert_eq!(answer.pointers(), ["/1/id"]);
    // In one request, too.
    let answer = submit_list(&api, &[event("3", 1), event("4", 1), event("3", 2)]).await;
    answer.is_problem(409, "event-id-reused", &[]);
    assert_eq!(answer.pointers(), ["/0/id", "/2/id"]);
    let answer = submit(&api, "application/json", &event("1", 2).to_string()).await;
    assert_eq!(answer.pointers(), ["/id"]);
    assert_eq!(appended(&api), ["1"]);
    // What was refused has used up no id.
    assert_eq!(
        duplicates(&submit_list(&api, &[event("2", 5)]).await),
        [false]
    );
}

#[tokio::test]
async fn every_fault_of_a_list_has_its_place() {
    let api = start();
    let mut unknown = event("2", 1);
    unknown["type"] = json!("sales.campain.opened");
    let mut of_rows = event("3", 1);
    of_rows["type"] = json!("sales.order.released");
    let mut standard = event("4", 1);
    standard["type"] = json!("sales.order.created");
    let mut schema = event("5", -1);
    schema["data"]["code"] = json!("secret-7");
    let list = json!([event("1", 1), unknown, of_rows, standard, schema, {"id": ""}, 7]);
    let twice = list
        .to_string()
        .replace(r#"{"amount":1}"#, r#"{"amount":1,"amount":2}"#);
    let answer = submit(&api, BATCH, &list.to_string()).await;
    answer.is_problem(
        422,
        "invalid-body",
        &[
            "did you mean `sales.campaign.opened`?",
            "found in the changes of `sales.order`",
            "less than the minimum of 0",
            "a CloudEvent is expected",
        ],
    );
    assert!(!answer.text.contains("secret-7"), "{}", answer.text);
    let mut pointers = answer.pointers();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/1/type",
            "/2/type",
            "/3/type",
            "/4/data/amount",
            "/4/data/code",
            "/5/id",
            "/5/source",
            "/5/specversion",
            "/5/type",
            "/6",
        ]
    );
    let answer = submit(&api, BATCH, &twice).await;
    assert!(
        answer
            .text
            .contains("`amount` is given twice in one object"),
        "{}",
        answer.text
    );
    let mut missing = event("6", 1);
    missing.as_object_mut().unwrap().remove("data");
    let answer = submit(&api, "application/json", &missing.to_string()).await;
    assert_eq!(answer.pointers(), ["/data"]);
    assert_eq!(appended(&api), [] as [&str; 0]);
    // Without a schema, data may be anything or nothing.
    missing["type"] = json!("sales.campaign.closed");
    let answer = submit(&api, "application/json", &missing.to_string()).await;
    assert_eq!(duplicates(&answer), [false]);
}

#[tokio::test]
async fn limits_are_named() {
    let api = start();
    let mut large = event("1", 1);
    large["data"]["x"] = json!("x".repeat(2_000));
    let answer = submit_list(&api, &[event("2", 1), large]).await;
    answer.is_problem(422, "invalid-body", &["limits.event_bytes_max"]);
    assert_eq!(answer.pointers(), ["/1"]);
    let many: Vec<Value> = (0..21).map(|id| event(&id.to_string(), 1)).collect();
    let answer = submit_list(&api, &many).await;
    answer.is_problem(422, "invalid-body", &["21 events; the limit is 20"]);
    let answer = submit(&api, BATCH, &"[".repeat(10_001)).await;
    answer.is_problem(413, "too-large", &["limits.body_bytes_max"]);
    let answer = submit(&api, BATCH, &format!("[{}]", vec!["1"; 20].join(","))).await;
    assert_eq!(answer.pointers().len(), 20);
    assert_eq!(appended(&api), [] as [&str; 0]);
}

#[tokio::test]
async fn only_publishers_submit() {
    let api = start();
    for (role, status) in [
        (Role::Admin, 202),
        (Role::Publisher, 202),
        (Role::Subscriber, 403),
        (Role::Viewer, 403),
    ] {
        let key = api.key(role);
        let body = event(role.as_str(), 1).to_string();
        let answer = submit_as(&api, &key, "application/json", &body).await;
        assert_eq!(answer.status, status, "{role}: {}", answer.text);
        if status == 403 {
            answer.is_problem(403, "forbidden", &["admin or publisher"]);
        }
    }
}

#[tokio::test]
async fn attributes_may_be_headers_and_the_trace_is_kept() {
    let api = start();
    let binary = |id: &str| {
        request(ADMIN_KEY, "POST", "/v1/events")
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "/shop")
            .header("ce-type", "sales.campaign.opened")
            .header("ce-subject", "fr%C3%BChling")
            .header("traceparent", "00-header")
    };
    let sent = binary("1").body(Body::from(r#"{"amount" : 2}"#)).unwrap();
    assert_eq!(duplicates(&api.send(sent).await), [false]);
    let sent = binary("2").header("ce-traceparent", "00-event");
    let sent = sent.body(Body::from(r#"{"amount" : 2}"#)).unwrap();
    assert_eq!(duplicates(&api.send(sent).await), [false]);
    let sent = binary("3").body(Body::from(r#"{"amount" : "2"}"#)).unwrap();
    assert_eq!(api.send(sent).await.pointers(), ["/data/amount"]);
    let rows = texts(
        &api,
        "select concat_ws(' ', after ->> 'subject', (after -> 'data')::text, traceparent) as text \
         from rowcall.change order by seq",
    );
    assert_eq!(
        rows,
        [
            r#"frühling {"amount" : 2} 00-header"#,
            r#"frühling {"amount" : 2} 00-event"#,
        ]
    );
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_request() {
    let api = start();
    let send = async |body: Value| {
        let request = request(ADMIN_KEY, "POST", "/v1/events").header("idempotency-key", "k");
        api.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    };
    assert_eq!(duplicates(&send(event("1", 1)).await), [false]);
    assert_eq!(duplicates(&send(event("1", 1)).await), [true]);
    let other = send(event("2", 1)).await;
    other.is_problem(422, "idempotency-key-reused", &[]);
    assert_eq!(appended(&api), ["1"]);
}

#[tokio::test]
async fn an_edit_of_the_schema_is_seen_by_the_next_request() {
    let api = start();
    assert_eq!(
        duplicates(&submit_list(&api, &[event("1", 1)]).await),
        [false]
    );
    execute(
        &api.database.url,
        "update rowcall.catalog_item set definition = '{\"schema\": {\"required\": [\"x\"]}}' \
             where name = 'sales.campaign.opened'; \
         update rowcall.registry set revision = revision + 1",
    );
    let answer = submit_list(&api, &[event("2", 1)]).await;
    answer.is_problem(422, "invalid-body", &["\\\"x\\\" is a required property"]);
    execute(
        &api.database.url,
        "update rowcall.catalog_item set definition = '{\"schema\": {\"pattern\": \"(?=a)\"}}' \
             where name = 'sales.campaign.opened'; \
         update rowcall.registry set revision = revision + 1",
    );
    let answer = submit_list(&api, &[event("2", 1)]).await;
    answer.is_problem(422, "invalid-body", &["its schema can't be used"]);
    assert_eq!(answer.pointers(), ["/0/type"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_the_same_time_accept_each_event_once() {
    const SENDERS: usize = 8;
    const ROUNDS: usize = 6;
    let api = std::sync::Arc::new(start());
    for round in 0..ROUNDS {
        let list: Vec<Value> = (0..10)
            .map(|id| event(&format!("{round}-{id}"), 1))
            .collect();
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let (api, mut list) = (std::sync::Arc::clone(&api), list.clone());
            // In another order each, as different senders would.
            list.rotate_left(sender);
            if sender % 2 == 1 {
                list.reverse();
            }
            senders.spawn(async move { duplicates(&submit_list(&api, &list).await) });
        }
        let answers = senders.join_all().await;
        let firsts = answers
            .iter()
            .flatten()
            .filter(|is_duplicate| !**is_duplicate);
        assert_eq!(firsts.count(), 10, "{answers:?}");
        assert_eq!(appended(&api).len(), 10 * (round + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_remembered_in_the_order_of_their_names() {
    // GIVEN somebody who is remembering the first of some names
    let api = std::sync::Arc::new(start());
    let remember = |id: &str| {
        format!("insert into rowcall.event_accepted values ('/shop', '{id}', sha256('x'), now())")
    };
    let mut first = api.database.connect();
    sql_query("begin").execute(&mut first).unwrap();
    sql_query(remember("a")).execute(&mut first).unwrap();
    // WHEN a request names it last, and has to wait
    let ids = ["g", "f", "e", "d", "c", "b", "a"];
    let sent = {
        let api = std::sync::Arc::clone(&api);
        let list = ids.map(|id| event(id, 1));
        tokio::spawn(async move { submit_list(&api, &list).await })
    };
    let waiting = "select count(*)::text as text from pg_stat_activity \
                   where wait_event_type = 'Lock' and datname = current_database()";
    for attempt in 0.. {
        assert!(attempt < 10_000, "the request did not come to wait");
        if texts(&api, waiting) == ["1"] {
            break;
        }
    }
    // THEN it keeps none of the others from anybody, so nobody waits in a circle
    let mut other = api.database.connect();
    sql_query("set lock_timeout = '2s'")
        .execute(&mut other)
        .unwrap();
    sql_query("begin").execute(&mut other).unwrap();
    for id in &ids[..6] {
        sql_query(remember(id)).execute(&mut other).unwrap();
    }
    for connection in [&mut other, &mut first] {
        sql_query("rollback").execute(connection).unwrap();
    }
    assert_eq!(duplicates(&sent.await.unwrap()), [false; 7]);
    assert_eq!(appended(&api), ids);
}

/// Whether a request wakes a reader that listens; `asleep`: it holds the doorbell's lock.
async fn rings(api: &Api, id: &str, asleep: bool) -> bool {
    let mut reader = api.database.connect();
    let class = "'rowcall.change'::regclass::oid::integer";
    let lock = if asleep {
        format!("select pg_advisory_lock({class}, 1)")
    } else {
        "select 1".to_owned()
    };
    for statement in ["listen rowcall", &lock] {
        sql_query(statement).execute(&mut reader).unwrap();
    }
    assert_eq!(
        duplicates(&submit_list(api, &[event(id, 1)]).await),
        [false]
    );
    // The request keeps nothing of the lock.
    let held = "select count(*)::text as text from pg_locks where locktype = 'advisory' \
                and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(texts(api, held), [u8::from(asleep).to_string()]);
    // A notification that was sent comes with the answer to the next statement.
    sql_query("select 1").execute(&mut reader).unwrap();
    reader.notifications_iter().count() == 1
}

#[tokio::test]
async fn only_a_reader_that_sleeps_is_rung() {
    let api = start();
    assert!(!rings(&api, "1", false).await);
    assert!(rings(&api, "2", true).await);
    execute(
        &api.database.url,
        &format!(
            "alter database {} set rowcall.doorbell = off",
            api.database.name
        ),
    );
    let quiet = Api::on(api.database);
    assert!(!rings(&quiet, "3", true).await);
}

#[tokio::test]
async fn ids_are_forgotten_when_their_time_has_come() {
    let api = start();
    assert_eq!(
        duplicates(&submit_list(&api, &[event("1", 1)]).await),
        [false]
    );
    let limits = Limits::for_testing();
    let days = TimeDelta::days(limits.event_accepted_days.into());
    let database = Database::new(&api.database.url, limits.connections_max);
    let mut upkeep = Upkeep::new(database, limits, Nudge::default());
    let kept = "select id as text from rowcall.event_accepted";
    upkeep.run_once(api.clock.now() + days).await.unwrap();
    assert_eq!(texts(&api, kept), ["1"]);
    let later = days + TimeDelta::seconds(1);
    upkeep.run_once(api.clock.now() + later).await.unwrap();
    assert_eq!(texts(&api, kept), [] as [&str; 0]);
    assert_eq!(
        duplicates(&submit_list(&api, &[event("1", 1)]).await),
        [false]
    );
}
