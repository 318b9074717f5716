//! A large digest takes time and no memory.
//!
//! With `ROWCALL_TEST_EVENTS=1000000` it is a campaign of 10^6 changes of 10^5 objects, which
//! prints how long each step took: `cargo test --release --test digest large -- --nocapture`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::body::{Body, to_bytes};
use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _,
    sql_types::{BigInt, Text, Uuid as SqlUuid},
};
use rowcall::digest::gather::{Gathering, NewMember, digest_gather};
use uuid::Uuid;

use crate::{
    harness::{digest, digests, news, news_id, resubscribe_to, schedule},
    support::app::TestApp,
};

/// Events that are gathered in one transaction.
const BATCH: usize = 2_000;
/// More than a part has.
const PART_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much the process may grow in each step, in bytes.
const GROWTH_MAX: u64 = 200_000_000;

/// The process's resident set, in bytes: `VmRSS` now, `VmHWM` the largest since it was reset.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1_024
}

/// `ROWCALL_TEST_EVENTS`, or what a test can afford each time.
fn events() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a campaign says how large it wants to be"
    )]
    let asked = std::env::var("ROWCALL_TEST_EVENTS").ok();
    asked.map_or(20_000, |count| count.parse().unwrap())
}

/// `count` updates that are published, ten for each order.
fn write(app: &TestApp, count: i64) {
    app.sql(&format!(
        r#"insert into rowcall.event (id, source, position, type, object_type, object_key, "time",
            published_at, change_seq, xid, body)
        select gen_random_uuid(), 'default', n, 'sales.order.updated', 'sales.order',
            (n % {objects})::text, now(), now(), n, '7',
            format('{{"specversion":"1.0","type":"sales.order.updated","data":{{"object_type":'
                '"sales.order","key":{{"id":%1$s}},"op":"update","before":{{"id":%1$s,"note":"%2$s %3$s"}},'
                '"after":{{"id":%1$s,"note":"%4$s %3$s"}},"changed":["note"],"actor":null}}}}',
                n % {objects}, n, repeat('x', 400), n + {objects})
        from generate_series(1, {count}) as n;
        analyze rowcall.event"#,
        objects = count / 10,
    ));
}

/// Gathers what is published, as publishing does: a batch in a transaction. The last one fills the
/// digest.
fn gather(app: &TestApp, count: i64) {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = BigInt)]
        position: i64,
        #[diesel(sql_type = Text)]
        object_key: String,
    }
    let (id, schedule) = (news_id(app), schedule(&format!("max_items = {count}")));
    let (now, mut connection) = (app.clock.now(), app.connect());
    for begin in (0..count).step_by(BATCH) {
        let rows: Vec<Row> = diesel::sql_query(
            "select id, position, object_key from rowcall.event \
             where position > $1 and position <= $2 order by position",
        )
        .bind::<BigInt, _>(begin)
        .bind::<BigInt, _>(begin + BATCH as i64)
        .load(&mut connection)
        .unwrap();
        let member = |row: Row| NewMember {
            event_id: row.id,
            position: row.position,
            event_type: "sales.order.updated".to_owned(),
            object_type: Some("sales.order".to_owned()),
            object_key: Some(row.object_key),
            previous_key: None,
            time: now,
            body: None,
        };
        let gathering = Gathering {
            subscription_id: id,
            schedule: &schedule,
            grouping: None,
            members: rows.into_iter().map(member).collect(),
        };
        connection
            .transaction(|connection| digest_gather(connection, &[gathering], now))
            .unwrap();
    }
    app.sql("analyze rowcall.digest_member");
}

/// A receiver that forgets what it gets, and counts it.
async fn forgetful() -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let answer = move |body: Body| async move {
        to_bytes(body, PART_BYTES_MAX).await.unwrap();
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// How much the process has grown meanwhile, at most; and how long it took.
struct Growth {
    before: u64,
    started: Instant,
}

impl Growth {
    fn begin() -> Self {
        // Resets the largest: see proc(5).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self {
            before: memory("VmRSS"),
            started: Instant::now(),
        }
    }

    #[expect(
        clippy::print_stdout,
        reason = "the figures are what a campaign is run for"
    )]
    fn end(self, what: &str) {
        let grown = memory("VmHWM").saturating_sub(self.before);
        println!("{what}: {:?}, {grown} bytes", self.started.elapsed());
        assert!(grown < GROWTH_MAX, "{what}: {grown} bytes");
    }
}

#[tokio::test]
async fn a_large_digest_is_made_and_sent_in_bounded_memory() {
    let count = events();
    let (url, received) = forgetful().await;
    for (condense, member, listed) in [
        ("keys", "events", count / 10),
        ("net_effect", "objects", count / 10),
        ("none", "items", count),
    ] {
        // GIVEN many events, ten about each object
        let mut app = news("max_items = 1", "").await;
        let more = format!("condense = \"{condense}\"");
        resubscribe_to(&app, &format!("max_items = {count}"), &more, &url).await;
        write(&app, count);
        // WHEN they are gathered, the digest is condensed, and it is sent
        let growth = Growth::begin();
        gather(&app, count);
        growth.end(&format!("{condense}: {count} events gathered"));
        let growth = Growth::begin();
        digest(&mut app).await;
        growth.end(&format!("{condense}: condensed"));
        assert_eq!(digests(&app), [format!("condensed {count} max_items")]);
        received.store(0, Ordering::SeqCst);
        let growth = Growth::begin();
        app.run_until_idle().await;
        growth.end(&format!("{condense}: sent"));
        // THEN memory has not grown with it, and everything is told and sent once
        let parts = app.count("select count(*) from rowcall.digest_part");
        let sent =
            "select count(*) from rowcall.delivery where state = 'delivered' and attempts = 1";
        assert_eq!(app.count(sent), parts);
        assert_eq!(received.load(Ordering::SeqCst) as i64, parts);
        let lists = format!("json_array_elements(body::json->'data'->'{member}') as listed");
        let items = if condense == "keys" {
            "sum(json_array_length(listed->'keys'))"
        } else {
            "count(*)"
        };
        let found = format!("select {items} from rowcall.digest_part, {lists}");
        assert_eq!(app.count(&found), listed, "{condense}");
        if condense == "keys" {
            let counts =
                format!("select sum((listed->>'count')::bigint) from rowcall.digest_part, {lists}");
            assert_eq!(app.count(&counts), count);
        }
    }
}
