//! What the bank's database knows when all is over: what was committed, and what Rowcall's
//! repository says of deliveries and digests.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{BigInt, Bool, Text, Timestamptz, Uuid as SqlUuid},
};
use rowcall::account::{Account, account_read};
use uuid::Uuid;

use crate::{
    bank::{Bank, Transfer},
    wire::Object,
};

/// What became of a delivery that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    /// When it was published.
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) at: DateTime<Utc>,
    /// How often whoever was to send it died, or was too late.
    pub(crate) lost_leases: i64,
    /// Whether an attempt failed; then the receiver need not have seen it.
    pub(crate) has_failed: bool,
}

impl Bank {
    /// What was committed, in no order.
    pub(crate) fn committed(&self) -> Vec<Transfer> {
        sql_query(
            "select aid::bigint, tid::bigint, bid::bigint, delta::bigint from pgbench_history",
        )
        .load(&mut self.connect())
        .unwrap()
    }

    /// The balance of every object.
    pub(crate) fn balances(&self) -> HashMap<(Object, i64), i64> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            key: i64,
            #[diesel(sql_type = BigInt)]
            balance: i64,
        }
        let mut connection = self.connect();
        let mut balances = HashMap::new();
        for object in Object::ALL {
            let [table, key, balance] = object.columns();
            let query =
                format!("select {key}::bigint as key, {balance}::bigint as balance from {table}");
            let rows: Vec<Row> = sql_query(query).load(&mut connection).unwrap();
            balances.extend(rows.iter().map(|row| ((object, row.key), row.balance)));
        }
        balances
    }

    /// The one number that a query answers.
    pub(crate) fn number(&self, query: &str) -> usize {
        number(&mut self.connect(), query)
    }

    /// What became of the deliveries of a subscription, by event.
    pub(crate) fn settled(&self, subscription: &str) -> HashMap<Uuid, Settled> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = SqlUuid)]
            event_id: Uuid,
            #[diesel(sql_type = Timestamptz)]
            created_at: DateTime<Utc>,
            #[diesel(sql_type = Timestamptz)]
            at: DateTime<Utc>,
            #[diesel(sql_type = BigInt)]
            lost_leases: i64,
            #[diesel(sql_type = Bool)]
            has_failed: bool,
        }
        let rows: Vec<Row> = sql_query(
            "select d.event_id, d.created_at, d.settled_at as at, d.lost_leases::bigint, \
                 exists (select from rowcall.attempt a \
                     where a.delivery_id = d.id and a.outcome <> 'delivered') as has_failed \
             from rowcall.delivery d join rowcall.subscription s on s.id = d.subscription_id \
             where s.name = $1 and d.state = 'delivered'",
        )
        .bind::<Text, _>(subscription)
        .load(&mut self.connect())
        .unwrap();
        let settled = |row: Row| {
            let settled = Settled {
                created_at: row.created_at,
                at: row.at,
                lost_leases: row.lost_leases,
                has_failed: row.has_failed,
            };
            (row.event_id, settled)
        };
        rows.into_iter().map(settled).collect()
    }

    /// Which events are in which digest of a subscription, in their order.
    pub(crate) fn members(&self, subscription: &str) -> HashMap<Uuid, Vec<Uuid>> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = SqlUuid)]
            digest_id: Uuid,
            #[diesel(sql_type = SqlUuid)]
            event_id: Uuid,
        }
        let rows: Vec<Row> = sql_query(
            "select m.digest_id, m.event_id from rowcall.digest_member m \
             join rowcall.subscription s on s.id = m.subscription_id \
             where s.name = $1 order by m.digest_id, m.position, m.event_id",
        )
        .bind::<Text, _>(subscription)
        .load(&mut self.connect())
        .unwrap();
        let mut members: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for row in rows {
            members.entry(row.digest_id).or_default().push(row.event_id);
        }
        members
    }

    /// Rowcall's own account.
    pub(crate) fn account(&self) -> Account {
        account_read(&mut self.connect(), "default").unwrap()
    }
}

/// The one number that a query answers on this connection.
pub(crate) fn number(connection: &mut PgConnection, query: &str) -> usize {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let row: Row = sql_query(format!("select ({query})::bigint as number"))
        .get_result(connection)
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    usize::try_from(row.number).unwrap()
}
