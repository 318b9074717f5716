//! Whether a digest may leave is found out without looking at all that have left before.

use diesel::{
    QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_types::Text,
};

use crate::support::postgres::TestDatabase;

/// Two subscriptions with 20,000 digests that have left, of which nobody has told the planner; of
/// the first one, 50 are closed.
const ROWS: &str = "
    insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, closed_by, parts)
    select md5(s || ' ' || n)::uuid, md5(s::text)::uuid, n, 'empty', now(), now(), 'schedule', 0
    from generate_series(1, 2) as s, generate_series(1, 20000) as n;
    insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, closed_by)
    select md5('closed ' || n)::uuid, md5('1')::uuid, 20000 + n, 'closed', now(), now(), 'schedule'
    from generate_series(1, 50) as n";

#[test]
fn a_claim_looks_at_closed_digests_only() {
    // GIVEN subscriptions whose digests have left for years
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(ROWS).unwrap();
    // WHEN one is claimed
    let claim = include_str!("../../src/digest/condense/claim.sql")
        .replace("$1", "'{}'::uuid[]")
        .replace("$2", "64")
        .replace("$3", "1");
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    for settings in ["select 1", "analyze rowcall.digest"] {
        connection.batch_execute(settings).unwrap();
        let explain = format!("explain (analyze, buffers, timing off, summary off) {claim}");
        let rows: Vec<Row> = diesel::sql_query(explain).load(&mut connection).unwrap();
        let lines: Vec<String> = rows.into_iter().map(|row| row.line).collect();
        let plan = lines.join("\n");
        // THEN it is found by the closed ones, in a few pages
        let first = plan.split("Buffers: shared hit=").nth(1).unwrap();
        let pages: u32 = first.split_whitespace().next().unwrap().parse().unwrap();
        assert!(pages < 200, "{pages} pages: {plan}");
    }
}
