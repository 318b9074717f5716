//! Asking for numbers reads what is answered and no more, at some size.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Text,
};

use crate::support::postgres::TestDatabase;

/// Five subscriptions of 12,000 deliveries each, all but the last 40 settled, and their events.
const ROWS: &str = "
    insert into rowcall.subscription (id, name, state, mode, origin, definition, created_at, updated_at)
    select md5(s::text)::uuid, 's' || s, 'active', 'synchronous', 'api', '{}', now(), now()
    from generate_series(0, 4) s;
    insert into rowcall.subscription_sequence select id, 12000 from rowcall.subscription;
    insert into rowcall.event (id, source, position, type, \"time\", published_at, change_seq, xid, body)
    select md5(n::text)::uuid, 'default', n, 't', now(), now(), n, '1', '{}'
    from generate_series(1, 12000) n;
    insert into rowcall.delivery (id, subscription_id, event_id, position, sequence,
        state, attempts, created_at, settled_at)
    select gen_random_uuid(), md5(s::text)::uuid, md5(n::text)::uuid, n, n,
        case when n <= 11960 then 'delivered' else 'pending' end, 1, now(),
        case when n <= 11960 then now() end
    from generate_series(1, 12000) n, generate_series(0, 4) s;
    insert into rowcall.heartbeat select id, 30000, now() from rowcall.subscription;
    analyze rowcall.delivery, rowcall.subscription, rowcall.event, rowcall.subscription_sequence, rowcall.heartbeat";

fn plan(connection: &mut PgConnection, sql: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let rows: Vec<Row> = sql_query(format!(
        "explain (analyze, costs off, timing off, summary off) {sql}"
    ))
    .load(connection)
    .unwrap();
    let lines: Vec<String> = rows.into_iter().map(|row| row.line).collect();
    lines.join("\n")
}

/// A statement with its parameters written into it.
fn with(sql: &str, values: &[&str]) -> String {
    let mut sql: String = sql
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    for (value, number) in values.iter().zip(1..) {
        sql = sql.replace(&format!("${number}"), value);
    }
    sql
}

#[test]
fn numbers_are_read_from_their_indexes() {
    // GIVEN many deliveries WHEN some numbers are asked for, and heartbeats are claimed
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(ROWS).unwrap();
    let since = with(
        include_str!("../../src/api/since/since.sql"),
        &["md5('3')::uuid", "6000", "6050", "1048576", "null::text"],
    );
    let heartbeats = with(
        include_str!("../../src/deliver/heartbeat/claim.sql"),
        &["'2100-01-01'::timestamptz", "64"],
    );
    for sql in [since, heartbeats] {
        let plan = plan(&mut connection, &sql);
        // THEN no more rows are read than are told
        for table in ["delivery", "event"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        }
        assert!(plan.contains("delivery_unsettled"), "{plan}");
        if plan.contains("numbered") || sql.contains("numbered") {
            assert!(plan.contains("delivery_sequence"), "{plan}");
            assert!(plan.contains("event_pkey"), "{plan}");
        }
    }
}
