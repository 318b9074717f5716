//! The statements that run all the time read what they need and no more: their plans, at some size.

use std::collections::HashMap;

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{BigInt, Text},
};
use rowcall::deliver::{
    claim::store::delivery_claim,
    lane::store::{lane_head_lock, lane_release},
    store::{delivery_next_at, lease_rescue},
};
use rowcall::publish::store::lane_busy;
use uuid::Uuid;

use crate::support::postgres::TestDatabase;

/// Ten subscriptions: 60,000 settled deliveries, 4,000 waiting behind 1,000 that are due or
/// sending.
const ROWS: &str = "
    insert into rowcall.subscription (id, name, state, mode, origin, definition, created_at, updated_at)
    select md5(s::text)::uuid, 's' || s, 'active', 'synchronous', 'api', '{}', now(), now()
    from generate_series(0, 9) s;
    insert into rowcall.delivery (id, subscription_id, event_id, position, lane, lane_previous, sequence,
        state, attempts, due_at, lease_holder, lease_until, created_at, settled_at)
    select gen_random_uuid(), md5((n % 10)::text)::uuid, gen_random_uuid(), n, n % 1000,
        case when n % 97 = 0 then n % 500 + 5000 end, n,
        case when n <= 60000 then 'delivered' when n > 61000 then 'pending'
            when n % 2 = 0 then 'sending' else 'pending' end,
        1, case when n between 60001 and 61000 and n % 2 = 1 then now() - interval '1 minute' end,
        case when n between 60001 and 61000 and n % 2 = 0 then gen_random_uuid() end,
        case when n between 60001 and 61000 and n % 2 = 0 then now() + interval '1 minute' end,
        now(), case when n <= 60000 then now() end
    from generate_series(1, 65000) n;
    analyze rowcall.delivery, rowcall.subscription";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How often the session has scanned `rowcall.delivery`, by index; `seq` for the whole table.
fn counts(connection: &mut PgConnection) -> HashMap<String, i64> {
    let counts = "select i.relname::text as name, pg_stat_get_xact_numscans(i.oid) as count \
        from pg_index x join pg_class i on i.oid = x.indexrelid \
        where x.indrelid = 'rowcall.delivery'::regclass \
        union all select 'seq', pg_stat_get_xact_numscans('rowcall.delivery'::regclass)";
    let rows: Vec<Count> = sql_query(counts).load(connection).unwrap();
    rows.into_iter().map(|row| (row.name, row.count)).collect()
}

/// By which indexes `act` reads.
fn scans(connection: &mut PgConnection, act: impl FnOnce(&mut PgConnection)) -> Vec<String> {
    connection
        .transaction::<_, diesel::result::Error, _>(|connection| {
            let before = counts(connection);
            act(connection);
            let mut used = counts(connection);
            used.retain(|name, count| *count > before[name]);
            Ok(used.into_keys().collect())
        })
        .unwrap()
}

#[test]
fn claims_and_lane_lookups_use_their_partial_indexes() {
    // GIVEN a table in which most is settled
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(ROWS).unwrap();
    connection.batch_execute("set jit = off").unwrap();
    let now = chrono::DateTime::parse_from_rfc3339("2100-01-01T00:00:00Z")
        .unwrap()
        .to_utc();
    // md5('0'), as the rows have it.
    let subscription = Uuid::from_u128(0xcfcd_2084_95d5_65ef_66e7_dff9_f987_64da);
    let lanes: Vec<(Uuid, i64)> = (0..50).map(|lane| (subscription, lane * 10)).collect();
    let lease = Uuid::from_u128(1);
    // WHEN each statement runs THEN it reads by the index made for it, and never the whole table
    let used = scans(&mut connection, |c| {
        assert_eq!(
            delivery_claim(c, lease, 100, now, now, now)
                .unwrap()
                .claimed
                .len(),
            100
        );
    });
    assert!(used.contains(&"delivery_due".to_owned()), "{used:?}");
    assert!(!used.contains(&"seq".to_owned()), "{used:?}");
    for (what, used) in [
        (
            "lane_busy",
            scans(&mut connection, |c| {
                assert!(
                    !lane_busy(c, &lanes.iter().copied().collect())
                        .unwrap()
                        .is_empty()
                );
            }),
        ),
        (
            "lane_head_lock",
            scans(&mut connection, |c| {
                assert!(!lane_head_lock(c, &lanes).unwrap().is_empty());
            }),
        ),
        (
            "lane_release",
            scans(&mut connection, |c| {
                lane_release(c, &lanes, now, now).unwrap();
            }),
        ),
        (
            "lease_rescue",
            scans(&mut connection, |c| {
                assert_eq!(lease_rescue(c, now, now).unwrap(), 600);
            }),
        ),
    ] {
        assert!(
            used.contains(&"delivery_lane".to_owned()),
            "{what}: {used:?}"
        );
        assert!(!used.contains(&"seq".to_owned()), "{what}: {used:?}");
    }
    let used = scans(&mut connection, |c| {
        delivery_next_at(c).unwrap();
    });
    let due_and_lease = used
        .iter()
        .all(|index| ["delivery_due", "delivery_lease"].contains(&index.as_str()));
    assert!(due_and_lease && used.len() == 2, "{used:?}");
}

#[test]
fn looking_for_what_is_to_do_reads_no_whole_table() {
    // GIVEN the same table, and a deleted subscription
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(ROWS).unwrap();
    let deleted = "update rowcall.subscription set state = 'deleted' where name = 's9'";
    connection.batch_execute(deleted).unwrap();
    // WHEN the lookout and upkeep look, as they do all the time
    let look = include_str!("../../src/lookout/look.sql").to_owned();
    let due = include_str!("../../src/upkeep/due.sql").replace("$3", "1");
    let times = ["$1", "$2", "$4", "$5", "$6"];
    let due = times
        .iter()
        .fold(due, |due, time| due.replace(time, "now()"));
    for (sql, indexes) in [
        (look, &["delivery_due", "delivery_lease"][..]),
        (due, &["delivery_backlog"]),
    ] {
        let mut used = scans(&mut connection, |c| c.batch_execute(&sql).unwrap());
        used.sort();
        // THEN they read the beginnings of these indexes
        assert_eq!(used, indexes, "{sql}");
    }
}
