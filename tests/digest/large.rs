//! A large digest takes time and no memory.

use std::time::Instant;

use crate::{
    harness::{deliver_all, digest, digests, news, news_id},
    support::app::TestApp,
};

/// How much the process may grow while it condenses, in bytes.
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

/// A closed digest of `count` updates, ten for each order.
fn fill(app: &TestApp, count: i64) {
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
        insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at,
            closed_by, first_at, events)
        values ('00000000-0000-7000-8000-000000000001', '{id}', 1, 'closed', now(), now(),
            'max_items', now(), {count});
        insert into rowcall.digest_member (digest_id, subscription_id, position, event_id,
            event_type, object_type, object_key, "time")
        select '00000000-0000-7000-8000-000000000001', '{id}', position, id, type, object_type,
            object_key, "time" from rowcall.event;
        analyze rowcall.event; analyze rowcall.digest_member"#,
        objects = count / 10,
        id = news_id(app),
    ));
}

#[tokio::test]
async fn a_large_digest_is_condensed_in_bounded_memory() {
    let count = events();
    for (condense, member, listed) in [
        ("keys", "events", count / 10),
        ("net_effect", "objects", count / 10),
        ("none", "items", count),
    ] {
        // GIVEN a digest of many events, ten about each object
        let mut app = news("max_items = 1", &format!("condense = \"{condense}\"")).await;
        fill(&app, count);
        // WHEN it is condensed
        // Resets the largest: see proc(5).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (before, started) = (memory("VmRSS"), Instant::now());
        digest(&mut app).await;
        let grown = memory("VmHWM").saturating_sub(before);
        println!(
            "{condense}: {count} events, {:?}, {grown} bytes",
            started.elapsed()
        );
        // THEN memory has not grown with it, and everything is told
        assert!(grown < GROWTH_MAX, "{condense}: {grown} bytes");
        assert_eq!(digests(&app), [format!("condensed {count} max_items")]);
        let lists = format!("json_array_elements(body::json->'data'->'{member}') as listed");
        let items = if condense == "keys" {
            "sum(json_array_length(listed->'keys'))"
        } else {
            "count(*)"
        };
        let found = format!("select {items} from rowcall.digest_part, {lists}");
        assert_eq!(app.count(&found), listed, "{condense}");
        deliver_all(&app);
    }
}
