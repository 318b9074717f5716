//! Digests that are divided into groups by the value of an expression.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::{
    account::account_read,
    catalog::{apply::plan, examine::Order, load::Folder},
    config::Limits,
    db::Database,
    digest::grouping::GROUP_CHARS_MAX,
    sink::AddressGuard,
    stage::{Progress, Stage as _},
    subscription::secret::SecretKey,
};
use serde_json::Value;

use crate::{
    harness::{bodies, deliver_all, digest},
    races::Dice,
    support::app::{Options, SECRET_KEY, TestApp},
};

const TABLE: &str = "create table public.orders \
    (id integer primary key, region text, amount numeric(10,2), more jsonb)";

fn metadata(more: &str) -> String {
    format!(
        r#"
        [namespace.sales]
        [object_type."sales.order"]
        table = "public.orders"
        key = ["id"]
        [subscription.news]
        object_types = ["sales.order"]
        mode = "batch"
        schedule = {{ cron = "0 * * * *" }}
        sink = {{ kind = "webhook", url = "http://127.0.0.1:9/" }}
        {more}
        "#
    )
}

async fn grouped(more: &str, groups_max: usize) -> TestApp {
    let limits = Limits {
        digest_groups_max: groups_max,
        digest_part_items_max: 3,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let app = TestApp::start_with(TABLE, options).await;
    app.apply(&metadata(more)).await;
    app
}

/// Writes rows and publishes what comes of it.
async fn write(app: &mut TestApp, sql: &str) {
    app.sql(sql);
    let now = app.clock.now();
    while app.instance.publish.run_once(now).await.unwrap() == Progress::Worked {}
}

/// Closes the window, and gives the bodies of its parts.
async fn close(app: &mut TestApp) -> Vec<Value> {
    let before = bodies(app).len();
    app.clock.advance(TimeDelta::hours(1));
    digest(app).await;
    let left = "select count(*) from rowcall.digest where state = 'closed'";
    assert_eq!(app.count(left), 0, "a digest could not be condensed");
    let all = bodies(app);
    assert_eq!(
        app.count("select count(*) from rowcall.delivery"),
        all.len() as i64
    );
    deliver_all(app);
    all[before..].to_vec()
}

/// What a digest says of a group: how many events it has, and how many of which key it tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    count: i64,
    keys: BTreeMap<i64, i64>,
}

/// The groups of a digest by their names as JSON, `rest` if that is said; its parts are numbered as
/// they should be.
fn said(parts: &[Value]) -> BTreeMap<String, Said> {
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    let mut next = 1;
    for (number, body) in parts.iter().enumerate() {
        let data = &body["data"];
        let id = body["id"].as_str().unwrap();
        assert_eq!(id.rsplit('.').next().unwrap(), (number + 1).to_string());
        assert_eq!(data["part"], next, "{data}");
        next = if data["part"] == data["parts"] {
            1
        } else {
            next + 1
        };
        let group = match &data["rest"] {
            Value::Null => data["group"].to_string(),
            rest => {
                assert_eq!((rest, &data["group"]), (&Value::Bool(true), &Value::Null));
                "rest".to_owned()
            }
        };
        assert!(data.as_object().unwrap().contains_key("group"));
        if data["part"] == 1 {
            assert!(!said.contains_key(&group), "{group} has begun twice");
        }
        let one = said.entry(group).or_default();
        one.count = data["count"].as_i64().unwrap();
        let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
        let of_keys = list("events");
        let of_keys = of_keys
            .iter()
            .flat_map(|one| one["keys"].as_array().unwrap().clone());
        let items = list("items").into_iter().map(|item| item["data"].clone());
        for item in of_keys.chain(list("objects")).chain(items) {
            let count = item["count"].as_i64().unwrap_or(1);
            *one.keys
                .entry(item["key"]["id"].as_i64().unwrap())
                .or_default() += count;
        }
    }
    assert_eq!(next, 1, "a part is missing");
    said
}

/// What a table's rows have in their regions, as JSON.
type Rows = BTreeMap<i64, String>;

fn rows(app: &TestApp) -> Rows {
    app.texts("select json_build_object('id', id, 'region', region) from orders")
        .iter()
        .map(|row| {
            let row: Value = serde_json::from_str(row).unwrap();
            (row["id"].as_i64().unwrap(), row["region"].to_string())
        })
        .collect()
}

/// What the events behind `position` should be told as: each in the group of its row.
fn of_events(app: &TestApp, position: i64) -> BTreeMap<String, Said> {
    let mut expected: BTreeMap<String, Said> = BTreeMap::new();
    for data in app.texts(&format!(
        "select body::json->'data' from rowcall.event where position > {position}"
    )) {
        let data: Value = serde_json::from_str(&data).unwrap();
        let row = if data["after"].is_null() {
            &data["before"]
        } else {
            &data["after"]
        };
        let one = expected.entry(row["region"].to_string()).or_default();
        one.count += 1;
        *one.keys.entry(row["id"].as_i64().unwrap()).or_default() += 1;
    }
    expected
}

/// The same of the net effect: each object in the group of its row after, or before if it is gone.
fn of_effects(
    before: &Rows,
    after: &Rows,
    events: &BTreeMap<String, Said>,
) -> BTreeMap<String, Said> {
    let mut expected: BTreeMap<String, Said> = BTreeMap::new();
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for (key, count) in events.values().flat_map(|said| &said.keys) {
        *counts.entry(*key).or_default() += count;
    }
    for (key, count) in counts {
        let (was, is) = (before.get(&key), after.get(&key));
        let Some(group) = is.or(was).filter(|_| was != is) else {
            continue;
        };
        let one = expected.entry(group.clone()).or_default();
        one.count += count;
        one.keys.insert(key, count);
    }
    expected
}

/// Merges all but the largest groups, as a digest does that may have only so many.
fn bounded(mut groups: BTreeMap<String, Said>, groups_max: usize) -> BTreeMap<String, Said> {
    let mut by_size: Vec<(i64, String)> = groups
        .iter()
        .map(|(name, said)| (-said.count, name.clone()))
        .collect();
    by_size.sort();
    let mut rest = Said::default();
    for (_, name) in by_size.into_iter().skip(groups_max) {
        let said = groups.remove(&name).unwrap();
        rest.count += said.count;
        for (key, count) in said.keys {
            *rest.keys.entry(key).or_default() += count;
        }
    }
    if rest.count > 0 {
        groups.insert("rest".to_owned(), rest);
    }
    groups
}

#[tokio::test]
async fn each_event_is_told_in_its_group_and_counts_are_exact() {
    const REGIONS: [&str; 6] = [
        "'EU'",
        "'US'",
        "null",
        "''",
        r#"E'it''s \\ "x"'"#,
        "'Ünïon'",
    ];
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut dice = Dice(seed);
    for (condense, groups_max) in [
        ("keys", 10),
        ("keys", 2),
        ("none", 3),
        ("net_effect", 10),
        ("net_effect", 2),
    ] {
        // GIVEN a subscription that groups by region
        let more = format!("condense = \"{condense}\"\ngroup_by = \"row.region\"");
        let mut app = grouped(&more, groups_max).await;
        for round in 0..3 {
            let (before, position) = (
                rows(&app),
                app.count("select coalesce(max(position), 0) from rowcall.event"),
            );
            // WHEN rows come, move from one region to another, and go
            let mut sql = String::new();
            for _ in 0..40 {
                let (id, region) = (dice.below(15), REGIONS[dice.below(6) as usize]);
                sql += &match dice.below(3) {
                    0 => format!("delete from orders where id = {id};"),
                    _ => format!(
                        "insert into orders values ({id}, {region}) \
                         on conflict (id) do update set region = excluded.region;"
                    ),
                };
            }
            write(&mut app, &sql).await;
            // THEN the digest tells of each in its group
            let parts = close(&mut app).await;
            let events = of_events(&app, position);
            let expected = match condense {
                "net_effect" => of_effects(&before, &rows(&app), &events),
                _ => events,
            };
            assert_eq!(
                said(&parts),
                bounded(expected, groups_max),
                "{condense}, at most {groups_max}, round {round}, seed {seed}"
            );
        }
        // AND the account knows where each of them is
        let account = app
            .connect()
            .transaction(|connection| account_read(connection, "default"))
            .unwrap();
        assert_eq!(account.matched, account.delivered + account.condensed);
        if condense != "net_effect" {
            assert_eq!(account.condensed, 0);
        }
    }
}

#[tokio::test]
async fn what_has_no_value_is_in_the_group_of_null() {
    // GIVEN an expression that fails on some rows, and gives a list on others
    let group_by = "row.more.desk";
    let mut app = grouped(&format!("group_by = '{group_by}'"), 10).await;
    // WHEN rows of each kind come
    let long = "x".repeat(GROUP_CHARS_MAX);
    write(
        &mut app,
        &format!(
            r#"insert into orders (id, more) values (1, '{{"desk": "a"}}'), (2, '{{"desk": null}}'),
                (3, '{{"desk": [1]}}'), (4, '{{}}'), (5, null), (6, '7'), (7, '{{"desk": 7.50}}'),
                (8, '{{"desk": "{long}1"}}'), (9, '{{"desk": "{long}2"}}'), (10, '{{"desk": true}}')"#
        ),
    )
    .await;
    let said = said(&close(&mut app).await);
    // THEN these are told without a name, and names that agree in the beginning are one
    let keys = |group: &str| -> Vec<i64> { said[group].keys.keys().copied().collect() };
    assert_eq!(keys(r#""a""#), [1]);
    assert_eq!(keys("null"), [2, 3, 4, 5, 6]);
    assert_eq!(keys(r#""7.50""#), [7]);
    assert_eq!(keys(&format!("\"{long}\"")), [8, 9]);
    assert_eq!(keys(r#""true""#), [10]);
}

#[tokio::test]
async fn another_expression_holds_for_what_is_gathered_from_then_on() {
    // GIVEN an open digest of a subscription that groups nothing, and then does
    let mut app = grouped("", 10).await;
    write(&mut app, "insert into orders values (1, 'EU'), (2, 'US')").await;
    app.apply(&metadata("group_by = \"row.region\"")).await;
    write(&mut app, "insert into orders values (3, 'EU')").await;
    app.apply(&metadata(
        "group_by = \"row.amount >= 10.0 ? 'large' : 'small'\"",
    ))
    .await;
    write(
        &mut app,
        "insert into orders values (4, 'EU', 12.5), (5, 'EU', 1)",
    )
    .await;
    // THEN each is told in the group that it had when it was gathered
    let said = said(&close(&mut app).await);
    let groups: Vec<&str> = said.keys().map(String::as_str).collect();
    assert_eq!(groups, [r#""EU""#, r#""large""#, r#""small""#, "null"]);
    assert_eq!(said["null"].count, 2);
    // WHEN it groups no more THEN what is closed then has no groups
    write(&mut app, "insert into orders values (6, 'EU', 1)").await;
    app.apply(&metadata("")).await;
    let parts = close(&mut app).await;
    assert_eq!(parts.len(), 1);
    assert!(!parts[0]["data"].as_object().unwrap().contains_key("group"));
    assert_eq!(parts[0]["data"]["count"], 1);
}

#[tokio::test]
async fn a_window_without_events_is_one_digest_of_no_group() {
    let mut app = grouped("group_by = \"row.region\"", 10).await;
    let empty = metadata("group_by = \"row.region\"").replace("* *\"", "* *\", send_empty = true");
    app.apply(&empty).await;
    digest(&mut app).await;
    let parts = close(&mut app).await;
    assert_eq!(
        said(&parts),
        BTreeMap::from([("null".to_owned(), Said::default())])
    );
    assert_eq!(parts[0]["data"]["events"], serde_json::json!([]));
}

/// What is wrong with metadata.
async fn refusal(app: &TestApp, metadata: &str) -> String {
    let key = Arc::new(SecretKey::parse(SECRET_KEY).unwrap());
    let folder = Folder::of_text("news.toml", metadata);
    let order = Order::new(folder, AddressGuard::new(Vec::new()), Some(key));
    let database = Database::new(&app.database.url, 1);
    let error = plan(&database, Arc::new(order)).await.unwrap_err();
    format!("{:?}", miette::Report::new(error))
}

#[tokio::test]
async fn an_expression_that_can_be_no_group_is_refused() {
    let app = grouped("", 10).await;
    for (group_by, part) in [
        ("row.regoin", "did you mean `region`"),
        ("row", "a row"),
        ("changed", "a list"),
        ("row.region +", "group_by"),
    ] {
        let text = refusal(&app, &metadata(&format!("group_by = \"{group_by}\""))).await;
        assert!(text.contains(part), "{group_by}: {text}");
    }
    // What is hidden can't be told by the name of a group either.
    let by_region = metadata("group_by = \"row.region\"");
    let masked = by_region.replace("key =", "mask = [\"region\"]\nkey =");
    let text = refusal(&app, &masked).await;
    assert!(
        text.contains("masked") && text.contains("group_by"),
        "{text}"
    );
    // Only digests have groups.
    let alone = by_region
        .replace("mode = \"batch\"", "mode = \"synchronous\"")
        .replace("schedule = { cron = \"0 * * * *\" }", "");
    let text = refusal(&app, &alone).await;
    assert!(text.contains("only the mode `batch`"), "{text}");
}
