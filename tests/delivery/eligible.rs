//! A claim reads what it can take, however much waits that it can't.

use diesel::{
    QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Text,
};
use serde_json::Value;

use crate::support::postgres::TestDatabase;

/// As many deliveries as this are pending; one of a hundred of them is due.
const PENDING: u32 = 100_000;
const PLACES: u64 = 100;

/// One of a hundred is due, and the others are blocked, parked, or to be retried tomorrow.
fn rows() -> String {
    format!(
        "insert into rowcall.subscription (id, name, state, mode, origin, definition, \
             created_at, updated_at) \
         select md5(s::text)::uuid, 's' || s, 'active', 'synchronous', 'api', '{{}}', now(), now() \
         from generate_series(0, 9) s; \
         insert into rowcall.delivery (id, subscription_id, event_id, position, lane, sequence, \
             urgency, state, due_at, created_at) \
         select gen_random_uuid(), md5((n % 10)::text)::uuid, gen_random_uuid(), n, n, n, \
             n / 10 % 3, 'pending', \
             case when n % 100 = 0 then now() - n * interval '1 second' \
                 when n % 5 = 0 then 'infinity' \
                 when n % 7 = 0 then now() + interval '1 day' end, now() \
         from generate_series(1, {PENDING}) n; \
         analyze rowcall.delivery, rowcall.subscription; \
         create function public.plan(statement text) returns json language plpgsql as $$ \
         declare plan json; \
         begin \
             execute 'explain (analyze, buffers, format json) ' || statement into plan; \
             return plan; \
         end $$"
    )
}

/// The nodes of a plan that read deliveries.
fn reads<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    if node["Relation Name"] == "delivery" && node["Node Type"] != "ModifyTable" {
        found.push(node);
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        reads(child, found);
    }
}

#[test]
fn a_claim_reads_no_more_than_it_can_take() {
    // GIVEN 100,000 pending deliveries of which 1,000 are due
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(&rows()).unwrap();
    connection.batch_execute("set jit = off").unwrap();
    // WHEN a hundred of them are claimed
    let claim = include_str!("../../src/deliver/claim/claim.sql")
        .replace("$1", "now()")
        .replace("$2", &PLACES.to_string())
        .replace("$3", "gen_random_uuid()")
        .replace("$4", "now() + interval '1 minute'")
        .replace("$5", "now() + interval '1 minute'")
        .replace("$6", "25")
        .replace("$7", "65536");
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        plan: String,
    }
    let row: Row = sql_query(format!(
        "select public.plan($claim${claim}$claim$)::text as plan"
    ))
    .get_result(&mut connection)
    .unwrap();
    let plan: Value = serde_json::from_str(&row.plan).unwrap();
    let root = &plan[0]["Plan"];
    let mut found = Vec::new();
    reads(root, &mut found);
    // THEN deliveries are read by indexes only
    let number = |node: &Value, name: &str| node[name].as_f64().unwrap_or_default();
    let mut by_due = 0;
    for node in &found {
        let kind = node["Node Type"].as_str().unwrap();
        assert!(kind.starts_with("Index"), "{kind}: {node}");
        if node["Index Name"] == "delivery_due" {
            by_due += 1;
            // AND what is due is found without looking at what is not.
            let (rows, loops) = (number(node, "Actual Rows"), number(node, "Actual Loops"));
            assert!(rows <= PLACES as f64 && loops <= 1.0, "{node}");
            assert_eq!(number(node, "Rows Removed by Filter"), 0.0, "{node}");
            let buffers = number(node, "Shared Hit Blocks") + number(node, "Shared Read Blocks");
            assert!(buffers <= 10.0 + 2.0 * rows, "{buffers} buffers: {node}");
        }
    }
    assert_eq!(by_due, 4, "{root}");
    // AND the whole claim touches a few pages for each that it takes.
    let buffers = number(root, "Shared Hit Blocks") + number(root, "Shared Read Blocks");
    assert!(buffers <= 60.0 * PLACES as f64, "{buffers} buffers: {root}");
}
