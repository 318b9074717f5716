//! A repository with written-down deliveries, and sessions that hold a transaction open in it.

use std::{collections::HashSet, thread::JoinHandle};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_query,
    sql_types::Integer,
};
use rowcall::{
    deliver::{
        lane::store::{lane_head_lock, lane_release},
        store::{Finish, delivery_finish, lease_held, lease_rescue},
    },
    publish::store::lane_busy,
};
use uuid::Uuid;

use crate::support::postgres::TestDatabase;

/// The subscription.
pub(crate) const SUBSCRIPTION: Uuid = Uuid::from_u128(7);

/// A database with deliveries of one subscription, each named by its position.
pub(crate) struct Repository {
    database: TestDatabase,
    subscription: Uuid,
    lease: Uuid,
    pub(crate) now: DateTime<Utc>,
}

/// A session in a transaction.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    process: i32,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self {
            database: TestDatabase::create(),
            subscription: SUBSCRIPTION,
            lease: Uuid::from_u128(8),
            now: "2026-03-02T09:00:00Z".parse().unwrap(),
        };
        repository.execute(&format!(
            "insert into rowcall.subscription (id, name, state, mode, origin, definition, created_at, updated_at) \
             values ('{}', 'mirror', 'active', 'synchronous', 'api', '{{}}', now(), now())",
            repository.subscription
        ));
        repository
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.database
            .connect()
            .batch_execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Writes a delivery at `position` of these lanes: `sending`, `due` or `blocked`.
    pub(crate) fn delivery(&self, position: u128, lane: i64, previous: Option<i64>, state: &str) {
        self.execute(&self.insert(position, lane, previous, state));
    }

    pub(crate) fn insert(
        &self,
        position: u128,
        lane: i64,
        previous: Option<i64>,
        state: &str,
    ) -> String {
        let (id, now, lease) = (Uuid::from_u128(position), self.now, self.lease);
        let previous = previous.map_or("null".to_owned(), |lane| lane.to_string());
        let rest = match state {
            "sending" => format!(
                "'sending', null, '{lease}', '{}'",
                now + TimeDelta::seconds(10)
            ),
            "due" => format!("'pending', '{now}', null, null"),
            _ => "'pending', null, null, null".to_owned(),
        };
        format!(
            "insert into rowcall.delivery (id, subscription_id, event_id, position, lane, lane_previous, \
             sequence, created_at, state, due_at, lease_holder, lease_until) values ('{id}', '{}', '{id}', \
             {position}, {lane}, {previous}, {position}, '{now}', {rest})",
            self.subscription
        )
    }

    pub(crate) fn begin(&self) -> Session {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Integer)]
            process: i32,
        }
        let mut connection = self.database.connect();
        connection
            .batch_execute("set deadlock_timeout = '10ms'; begin")
            .unwrap();
        let row: Row = sql_query("select pg_backend_pid() as process")
            .get_result(&mut connection)
            .unwrap();
        Session {
            connection,
            process: row.process,
        }
    }

    /// Runs `act` in a thread and returns when the session waits for a lock.
    pub(crate) fn waiting<T: Send + 'static>(
        &self,
        session: Session,
        act: impl FnOnce(&mut PgConnection) -> T + Send + 'static,
    ) -> JoinHandle<(T, Session)> {
        let process = session.process;
        let handle = std::thread::spawn(move || {
            let mut session = session;
            (act(&mut session.connection), session)
        });
        let mut observer = self.database.connect();
        loop {
            let waits = sql_query(format!(
                "select 1 where cardinality(pg_blocking_pids({process})) > 0"
            ))
            .execute(&mut observer)
            .unwrap();
            if waits == 1 {
                return handle;
            }
            assert!(!handle.is_finished(), "it did not wait");
        }
    }

    /// `pending` with a time, `blocked`, or the state.
    pub(crate) fn state(&self, position: u128) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            state: String,
        }
        let row: Row = sql_query(format!(
            "select case when state = 'pending' and due_at is null then 'blocked' \
             when state = 'pending' then 'due' else state end as state \
             from rowcall.delivery where id = '{}'",
            Uuid::from_u128(position)
        ))
        .get_result(&mut self.database.connect())
        .unwrap();
        row.state
    }

    pub(crate) fn lanes(&self, lanes: &[i64]) -> Vec<(Uuid, i64)> {
        lanes
            .iter()
            .map(|lane| (self.subscription, *lane))
            .collect()
    }

    pub(crate) fn busy(
        &self,
        lanes: &[i64],
    ) -> impl FnOnce(&mut PgConnection) -> HashSet<i64> + Send + use<> {
        let lanes: HashSet<(Uuid, i64)> = self.lanes(lanes).into_iter().collect();
        move |connection| {
            let busy = lane_busy(connection, &lanes).unwrap();
            busy.into_iter().map(|(_, lane)| lane).collect()
        }
    }

    /// The first half of finishing: deliveries that this lease held are delivered.
    pub(crate) fn settle(
        &self,
        positions: &[u128],
    ) -> impl FnOnce(&mut PgConnection) -> usize + Send + use<> {
        let (lease, now) = (self.lease, self.now);
        let leases: Vec<(Uuid, Uuid)> = positions
            .iter()
            .map(|position| (Uuid::from_u128(*position), lease))
            .collect();
        move |connection| {
            let finished: Vec<Finish> = lease_held(connection, &leases)
                .unwrap()
                .into_iter()
                .map(|(id, _)| Finish {
                    id,
                    state: "delivered",
                    due_at: None,
                    is_parked: false,
                    attempts: 1,
                    lost_leases: 0,
                    hold_until: None,
                    is_deferred: false,
                })
                .collect();
            delivery_finish(connection, &finished, &[], now).unwrap()
        }
    }

    /// The second half: what waits behind them is released.
    pub(crate) fn release(
        &self,
        lanes: &[i64],
    ) -> impl FnOnce(&mut PgConnection) -> usize + Send + use<> {
        let (lanes, now) = (self.lanes(lanes), self.now);
        move |connection| {
            lane_head_lock(connection, &lanes).unwrap();
            lane_release(connection, &lanes, now, now).unwrap()
        }
    }

    pub(crate) fn rescue(&self) -> impl FnOnce(&mut PgConnection) -> usize + Send + use<> {
        let later = self.now + TimeDelta::seconds(11);
        move |connection| lease_rescue(connection, later, later).unwrap()
    }
}

impl Session {
    pub(crate) fn run<T>(&mut self, act: impl FnOnce(&mut PgConnection) -> T) -> T {
        act(&mut self.connection)
    }

    /// Locks deliveries, and says which.
    pub(crate) fn lock(&mut self, positions: &[u128], how: &str) -> Vec<i64> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            position: i64,
        }
        let positions: Vec<String> = positions.iter().map(u128::to_string).collect();
        let rows: Vec<Row> = sql_query(format!(
            "select position from rowcall.delivery where position in ({}) order by id {how}",
            positions.join(", ")
        ))
        .load(&mut self.connection)
        .unwrap();
        rows.into_iter().map(|row| row.position).collect()
    }

    pub(crate) fn commit(mut self) {
        self.connection.batch_execute("commit").unwrap();
    }
}
