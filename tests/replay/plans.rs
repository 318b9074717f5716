//! A replay of a few dead letters reads these, however many other deliveries lie between them.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Text,
};

use crate::support::postgres::TestDatabase;

/// Four subscriptions of 10,000 deliveries each, of which every thousandth is dead.
const ROWS: &str = "
    insert into rowcall.subscription (id, name, state, mode, origin, definition, created_at, updated_at)
    select md5(s::text)::uuid, 's' || s, 'active', 'synchronous', 'api', '{}', now(), now()
    from generate_series(0, 3) s;
    insert into rowcall.event (id, source, position, type, \"time\", published_at, change_seq, xid, body)
    select md5(n::text)::uuid, 'default', n, 't', now(), now(), n, '1', '{}'
    from generate_series(1, 10000) n;
    insert into rowcall.delivery (id, subscription_id, event_id, position, sequence, state, attempts,
        created_at, settled_at)
    select gen_random_uuid(), md5(s::text)::uuid, md5(n::text)::uuid, n, n,
        case when n % 1000 = 0 then 'dead' else 'delivered' end, 1, now(), now()
    from generate_series(1, 10000) n, generate_series(0, 3) s;
    analyze rowcall.delivery, rowcall.subscription, rowcall.event";

fn plan(connection: &mut PgConnection, sql: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let explain = format!("explain (analyze, costs off, timing off, summary off) {sql}");
    let rows: Vec<Row> = sql_query(explain).load(connection).unwrap();
    let lines: Vec<String> = rows.into_iter().map(|row| row.line).collect();
    lines.join("\n")
}

#[test]
fn dead_ones_are_matched_by_their_index() {
    // GIVEN many deliveries WHEN a chunk is matched from the first dead one to the last
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(ROWS).unwrap();
    let mut sql = include_str!("../../src/replay/search/matching.sql")
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    for (number, value) in [
        (1, "'00000000-0000-0000-0000-000000000000'::uuid"),
        (2, "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"),
        (3, "md5('2')::uuid"),
        (4, "array['dead']"),
        (5, "null"),
        (6, "null"),
        (7, "null"),
        (8, "null"),
        (9, "null"),
    ] {
        sql = sql.replace(&format!("${number}"), value);
    }
    let plan = plan(&mut connection, &sql);
    // THEN the dead ones are read, by their index, and their events by their ids
    assert!(plan.contains("delivery_dead"), "{plan}");
    for table in ["delivery", "event"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
    }
    assert!(plan.contains("actual rows=10 "), "{plan}");
}
