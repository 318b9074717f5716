//! Tables of every kind: their rows are told as the triggers capture them, each once.

use rowcall::config::Limits;
use serde_json::{Value, json};

use crate::{
    shop::{
        Mirror, event, mirror, progress, publish, publish_all, register, shop_with, start_of,
        told_sorted,
    },
    support::{
        app::{Options, TestApp},
        receiver::Receiver,
    },
};

/// An instance with one more object type, `sales.part` of `public.parts`.
async fn parts(sql: &str, metadata: &str) -> TestApp {
    let metadata = format!("[object_type.\"sales.part\"]\ntable = \"public.parts\"\n{metadata}");
    shop_with(sql, &metadata, Options::default()).await
}

/// Starts a subscription of the parts, runs until it is done, and gives the events' data.
async fn told_parts(app: &mut TestApp, receiver: &Receiver) -> Vec<Value> {
    let id = register(
        app,
        &mirror(receiver, &json!({"object_types": ["sales.part"]})),
    )
    .await;
    app.run_until_idle().await;
    assert_eq!(start_of(app, &id).await["state"], "done");
    let received = receiver.received();
    received
        .iter()
        .map(|request| event(request)["data"].clone())
        .collect()
}

#[tokio::test]
async fn keys_of_every_type_are_walked_in_their_own_order() {
    for (columns, key, values) in [
        // A collation in which upper and lower case are mixed, and one in which they are equal.
        (
            "id text collate \"und-x-icu\"",
            "id",
            "chr(65 + n % 26) || case when n % 2 = 0 then 'a' else 'A' end || n",
        ),
        (
            "id text collate public.nocase",
            "id",
            "'Ab' || n || repeat(' ', n % 3)",
        ),
        ("id public.code", "id", "'c''\\' || n"),
        // A type that brings its own operators, alone and beside others.
        (
            "id public.citext",
            "id",
            "case when n % 2 = 0 then 'aB' else 'Ab' end || n",
        ),
        (
            "part integer default 1, id public.citext",
            "part, id",
            "case when n % 3 = 0 then 'x' else 'X' end || n",
        ),
        ("id uuid", "id", "md5(n::text)::uuid"),
        ("id numeric(12, 4)", "id", "(n - 30) * 1.2500"),
        ("id character(8)", "id", "'k' || n"),
        (
            "id timestamptz",
            "id",
            "'2026-03-29 00:30+01'::timestamptz + n * interval '7 minutes 0.000001 seconds'",
        ),
        ("id double precision", "id", "1.0 / (n + 1)"),
        ("id bytea", "id", "decode(md5(n::text), 'hex')"),
        ("id public.mood", "id", "(enum_range(null::public.mood))[n]"),
        ("id boolean", "id", "n = 1"),
        ("id interval", "id", "n * interval '1 day 3 hours'"),
    ] {
        // GIVEN a table with such a key; its first rows only, where there are few values
        let count = match columns {
            "id boolean" => 2,
            "id public.mood" => 12,
            _ => 60,
        };
        let receiver = Receiver::start().await;
        let sql = format!(
            "create collation public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             -- Its check must not run with Rowcall's rights.
             create function public.spy(text) returns boolean language plpgsql as $$ begin
                 if current_query() like '%row' || '_number%' then raise 'spied'; end if; return true; end $$;
             create domain public.code as text collate \"C\" check (public.spy(value));
             create type public.mood as enum ({});
             create extension citext schema public;
             create table public.parts (v integer, {columns}, primary key ({key}));
             insert into public.parts (v, id) select n, {values} from generate_series(1, {count}) n;",
            (0..12).map(|n| format!("'m{}'", (n * 5) % 12)).collect::<Vec<_>>().join(", ")
        );
        let mut app = parts(
            &sql,
            &format!("key = [\"{}\"]", key.replace(", ", "\", \"")),
        )
        .await;
        // WHEN a start walks over it in chunks of seven
        let data = told_parts(&mut app, &receiver).await;
        // THEN it met each row once
        assert_eq!(data.len(), count, "{columns}");
        let mut seen: Vec<i64> = data
            .iter()
            .map(|data| data["after"]["v"].as_i64().unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=count as i64).collect::<Vec<_>>(), "{columns}");
    }
}

#[tokio::test]
async fn composite_keys_are_walked_by_their_index_whatever_the_metadatas_order() {
    // GIVEN a key of two columns, written in another order than the index has, with a third column
    let receiver = Receiver::start().await;
    let sql = "create table public.parts (line integer, order_id text, v integer, primary key (order_id, line));
        insert into public.parts select n % 5, 'o' || n / 5, n from generate_series(1, 43) n;";
    let mut app = parts(sql, "key = [\"line\", \"order_id\"]").await;
    let id = register(
        &app,
        &mirror(&receiver, &json!({"object_types": ["sales.part"]})),
    )
    .await;
    publish(&mut app).await;
    publish(&mut app).await;
    // WHEN a row behind the place it has reached takes a key before it, and the other way round
    app.sql("update public.parts set order_id = 'o0', line = -1 where v = 40");
    app.sql("update public.parts set order_id = 'o9' where v = 1");
    app.run_until_idle().await;
    // THEN the mirror is right
    assert_eq!(progress(&app, &id).await, "done 43 42");
    assert_eq!(
        Mirror::of(&receiver),
        Mirror::of_table(&app, "public.parts", &["line", "order_id"])
    );
}

#[tokio::test]
async fn a_row_is_told_as_the_trigger_captures_it() {
    // GIVEN a row of types whose text depends on the session, with columns that are hidden
    let receiver = Receiver::start().await;
    let sql =
        "create table public.parts (id integer primary key, at timestamptz, i interval, b bytea,
            f double precision, j json, d date, r tstzrange, gone text, secret text, note text);
        alter table public.parts drop column gone;
        insert into public.parts values (1, '2026-01-01 09:00+09', '1 mon', '\\x00ff', 0.1,
            '{\"a\": 1, \"a\" : 2}', '2026-02-03', '[2026-01-01 00:00+09,)', 's3', 'n0te');";
    let mut app = parts(
        sql,
        "key = [\"id\"]\nexclude = [\"note\"]\nmask = [\"secret\"]",
    )
    .await;
    app.sql("alter role current_user reset all");
    // WHEN it is told as it is, and by a change that changes nothing, of a strange session
    let data = told_parts(&mut app, &receiver).await;
    app.sql("set timezone = 'Asia/Tokyo'; set intervalstyle = 'sql_standard'; set bytea_output = 'escape';
        set datestyle = 'SQL, DMY'; update public.parts set id = id");
    app.run_until_idle().await;
    // THEN both are the same to the byte, and tell nothing that is hidden
    let body = |n: usize| String::from_utf8(receiver.received()[n].body.clone()).unwrap();
    let image = |n: usize| {
        let body = body(n);
        let (_, rest) = body.split_once("\"after\":").unwrap();
        rest.split_once(",\"changed\"").unwrap().0.to_owned()
    };
    assert_eq!(image(0), image(1));
    assert_eq!(data[0]["after"]["secret"], "***");
    assert!(!body(0).contains("n0te") && !body(0).contains("s3\""));
    assert!(image(0).contains("{\"a\": 1, \"a\" : 2}"), "{}", image(0));
}

#[tokio::test]
async fn what_can_not_be_told_whole_is_a_gap_with_its_key() {
    // GIVEN a row over the limit, and a json text that can't be looked into, which hiding a column
    // asks for
    let receiver = Receiver::start().await;
    let sql = "create table public.parts (id integer primary key, j json, secret text);
        insert into public.parts select n, '{}', 'x' from generate_series(1, 20) n;
        update public.parts set j = to_json(repeat('y', 2000)) where id = 5;
        update public.parts set j = '{\"a\": \"\\u0000\"}' where id = 11;";
    let metadata = "[object_type.\"sales.part\"]\ntable = \"public.parts\"\nkey = [\"id\"]
        exclude = [\"secret\"]";
    let limits = Limits {
        value_bytes_max: 1_000,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = shop_with(sql, metadata, options).await;
    // WHEN the rows are told
    let data = told_parts(&mut app, &receiver).await;
    // THEN these are gaps, and the others are not kept from being told
    let mut gaps: Vec<String> = data
        .iter()
        .filter(|data| data["op"] == "gap")
        .map(|gap| {
            assert_eq!(
                (&gap["captured_op"], &gap["table"]),
                (&json!("snapshot"), &json!("public.parts"))
            );
            let is_large = gap["size"].as_i64().is_some_and(|size| size > 2_000);
            format!(
                "{} {} {is_large}",
                gap["key"]["id"],
                gap["reason"].as_str().unwrap()
            )
        })
        .collect();
    gaps.sort();
    assert_eq!(gaps, ["11 not_imaged false", "5 too_large true"]);
    assert_eq!(data.len(), 20);
}

#[tokio::test]
async fn a_key_column_that_goes_fails_its_start() {
    // GIVEN a start that has not had a turn
    let receiver = Receiver::start().await;
    let sql =
        "create table public.parts (id integer primary key); insert into public.parts values (1);";
    let mut app = parts(sql, "key = [\"id\"]").await;
    let id = register(
        &app,
        &mirror(&receiver, &json!({"object_types": ["sales.part"]})),
    )
    .await;
    // WHEN the key column is renamed
    app.sql("alter table public.parts rename column id to other");
    app.run_until_idle().await;
    // THEN it says why
    let start = start_of(&app, &id).await;
    assert_eq!(start["state"], "failed", "{start}");
    let reason = "public.parts has no longer all key columns of `sales.part`";
    assert_eq!(start["reason"], reason);
}

#[tokio::test]
async fn a_type_with_a_cast_to_json_is_told_as_text() {
    // GIVEN a type whose cast to json, which somebody defined, raises
    let receiver = Receiver::start().await;
    let sql = "create type public.price as (cents integer);
        create function public.price_json(public.price) returns json language plpgsql as
            $$ begin raise 'unlucky'; end $$;
        create cast (public.price as json) with function public.price_json(public.price);
        create table public.parts (id integer primary key, price public.price);
        insert into public.parts select n, row(n)::public.price from generate_series(1, 20) n;";
    let mut app = parts(sql, "key = [\"id\"]").await;
    // WHEN its rows are told
    let data = told_parts(&mut app, &receiver).await;
    // THEN they are, without that cast
    assert_eq!(data.len(), 20);
    let is_text = |data: &Value| data["after"]["price"] == format!("({})", data["key"]["id"]);
    assert!(data.iter().all(is_text), "{data:?}");
}

#[tokio::test]
async fn partitions_and_children_are_read_as_they_are_captured() {
    // GIVEN a partitioned table with a sub-partition, and a table whose child has more columns
    let receiver = Receiver::start().await;
    let sql = "create table public.parts (id integer primary key, v integer) partition by range (id);
        create table public.parts_1 partition of public.parts for values from (0) to (20);
        create table public.parts_2 partition of public.parts for values from (20) to (100) partition by list (id);
        create table public.parts_3 partition of public.parts_2 default;
        insert into public.parts select n, n from generate_series(1, 40) n;
        create table public.pets (id integer primary key, name text);
        create table public.dogs (loud boolean, primary key (id)) inherits (public.pets);
        insert into public.pets select n, 'p' from generate_series(1, 9) n;
        insert into public.dogs select n, 'd', true from generate_series(10, 25) n;";
    let metadata = "[object_type.\"sales.part\"]\ntable = \"public.parts\"\nkey = [\"id\"]
        [object_type.\"sales.pet\"]\ntable = \"public.pets\"\nkey = [\"id\"]";
    let mut app = shop_with(sql, metadata, Options::default()).await;
    let asks = json!({"object_types": ["sales.part", "sales.pet"]});
    let id = register(&app, &mirror(&receiver, &asks)).await;
    publish(&mut app).await;
    publish(&mut app).await;
    // WHEN rows move between partitions and tables while they are read
    app.sql("update public.parts set id = 90 where id = 2; update public.parts set id = 0 where id = 40");
    app.sql(
        "with gone as (delete from public.dogs where id = 12 returning id) \
         insert into public.pets select id, 'cat' from gone",
    );
    app.run_until_idle().await;
    // THEN each is told once, a child with its own columns
    assert_eq!(start_of(&app, &id).await["state"], "done");
    let received = receiver.received();
    let of = |object_type: &str| {
        let mut mirror = Mirror::default();
        for request in &received {
            let event = event(request);
            if event["data"]["object_type"] == object_type {
                mirror.take(&event);
            }
        }
        mirror
    };
    assert_eq!(
        of("sales.part"),
        Mirror::of_table(&app, "public.parts", &["id"])
    );
    let mut pets = Mirror::of_table(&app, "only public.pets", &["id"]).0;
    pets.extend(Mirror::of_table(&app, "public.dogs", &["id"]).0);
    assert_eq!(of("sales.pet"), Mirror(pets));
}

#[tokio::test]
async fn an_empty_table_is_done_at_once_and_keys_are_looked_up() {
    // GIVEN an empty table, and one of which two objects are asked for
    let receiver = Receiver::start().await;
    let sql = "create table public.parts (id integer primary key);
        insert into public.orders select n from generate_series(1, 1000) n;";
    let mut app = parts(sql, "key = [\"id\"]").await;
    assert!(told_parts(&mut app, &receiver).await.is_empty());
    let asks = json!({"name": "two", "object_keys": [{"id": 42}, {"id": "7"}, {"id": 5000}]});
    let id = register(&app, &mirror(&receiver, &asks)).await;
    app.run_until_idle().await;
    assert_eq!(told_sorted(&receiver), ["snapshot 42", "snapshot 7"]);
    assert_eq!(progress(&app, &id).await, "done 2 2");
    assert_eq!(start_of(&app, &id).await["estimate"], 3);
}

#[tokio::test]
async fn a_table_that_somebody_locks_keeps_its_start_waiting_and_nothing_else() {
    // GIVEN a start, and a table that is being changed by its owner
    let receiver = Receiver::start().await;
    let sql =
        "create table public.parts (id integer primary key); insert into public.parts values (1);";
    let mut app = parts(sql, "key = [\"id\"]").await;
    let id = register(
        &app,
        &mirror(&receiver, &json!({"object_types": ["sales.*"]})),
    )
    .await;
    let mut owner = app.connect();
    diesel::connection::SimpleConnection::batch_execute(
        &mut owner,
        "begin; lock table public.orders",
    )
    .unwrap();
    // WHEN changes of another table are published
    app.sql("insert into public.parts values (2)");
    publish_all(&mut app).await;
    // THEN they are, and the start has not failed
    assert_eq!(app.texts("select object_key from rowcall.event"), ["2"]);
    assert_eq!(progress(&app, &id).await, "running 0 0");
    drop(owner);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while start_of(&app, &id).await["state"] == "running" {
        assert!(std::time::Instant::now() < end);
        app.run_until_idle().await;
    }
    assert_eq!(told_sorted(&receiver), ["create 2", "snapshot 1"]);
}

#[tokio::test]
async fn a_hundred_thousand_rows_are_told_in_bounded_memory() {
    // GIVEN 100,000 rows of a kilobyte each, some of them larger, and the limits of an operator
    let receiver = Receiver::start().await;
    let sql = "insert into public.orders select n, repeat(md5(n::text), 30) || case when n % 1000 = 0 \
        then repeat('x', 50000) else '' end, n from generate_series(1, 100000) n;";
    let limits = Limits {
        start_bytes_per_chunk_max: 300_000,
        ..Limits::default()
    };
    let mut app = shop_with(
        sql,
        "",
        Options {
            limits,
            ..Options::default()
        },
    )
    .await;
    let asks = json!({"mode": "batch", "schedule": {"max_wait": "1h"}});
    // WHEN they are gathered for a digest
    let id = register(&app, &mirror(&receiver, &asks)).await;
    publish(&mut app).await;
    let before = resident_kib();
    publish_all(&mut app).await;
    // THEN each is, and the program, with the tests beside it, has not grown by half of that
    assert_eq!(progress(&app, &id).await, "done 100000 100000");
    assert_eq!(
        app.count("select count(distinct object_key) from rowcall.digest_member"),
        100_000
    );
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 40_000, "{grown} KiB for 100,000 KiB of rows");
}

/// What the program has in memory now.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_chunk_is_cut_by_its_bytes() {
    // GIVEN rows of a thousand bytes and a limit of two and a half of them
    let receiver = Receiver::start().await;
    let sql =
        "insert into public.orders select n, repeat('x', 1000), n from generate_series(1, 20) n;";
    let limits = Limits {
        start_bytes_per_chunk_max: 2_500,
        ..Limits::for_testing()
    };
    let mut app = shop_with(
        sql,
        "",
        Options {
            limits,
            ..Options::default()
        },
    )
    .await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    // WHEN a chunk is published, THEN it ends with the row that reached the limit
    publish(&mut app).await;
    assert_eq!(progress(&app, &id).await, "running 3 3");
    app.run_until_idle().await;
    assert_eq!(progress(&app, &id).await, "done 20 20");
}
