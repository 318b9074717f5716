//! What all measurements share: the private Postgres, and the receiver.

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{BigInt, Text},
};
use rowcall::private_postgres::{Cluster, ClusterOptions};

use crate::{
    cluster::durable, inbox::Inbox, machine::machine, process::family_cpu_seconds, site::Site,
};

/// The library of the server that counts statements.
const STATEMENTS: &str = "pg_stat_statements";

/// A durable cluster, and a receiver.
pub(crate) struct Bed {
    cluster: Cluster,
    pub(crate) inbox: Inbox,
    /// Whether the server counts statements.
    pub(crate) counts_statements: bool,
}

impl Bed {
    /// Starts both.
    pub(crate) fn make() -> Self {
        Self {
            cluster: Cluster::start(options()).unwrap(),
            inbox: Inbox::start(),
            counts_statements: false,
        }
    }

    /// Starts both, the server with the library that counts statements, if it has it. Counting
    /// costs a little, so nothing else is measured there.
    pub(crate) fn make_counting() -> Self {
        let options = options().with_setting("shared_preload_libraries", STATEMENTS);
        // A server without the library does not start with it.
        match Cluster::start(options) {
            Ok(cluster) => Self {
                cluster,
                inbox: Inbox::start(),
                counts_statements: true,
            },
            Err(_) => Self::make(),
        }
    }

    /// A new database with these tables, and a folder with this metadata. Nothing is captured until
    /// Rowcall has run there.
    pub(crate) fn site(&self, tables: &str, metadata: &str) -> Site {
        self.inbox.clear();
        Site::make(&self.cluster, tables, metadata)
    }

    /// The processor time that Postgres has used so far, in all its processes.
    pub(crate) fn postgres_cpu_seconds(&self) -> f64 {
        family_cpu_seconds(self.cluster.server_pid().unwrap())
    }

    /// The machine and the server, for the report.
    pub(crate) fn machine(&self) -> String {
        machine(&mut PgConnection::establish(&self.cluster.url("postgres")).unwrap())
    }
}

fn options() -> ClusterOptions {
    durable("512MB").with_setting("max_wal_size", "4GB")
}

/// Runs statements.
pub(crate) fn execute(connection: &mut PgConnection, sql: &str) {
    connection
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The one number that a query answers, named `value`.
pub(crate) fn number(connection: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        value: i64,
    }
    let row: Row = sql_query(query).get_result(connection).unwrap();
    row.value
}

/// The texts that a query answers, named `value`.
pub(crate) fn texts(connection: &mut PgConnection, query: &str) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let rows: Vec<Row> = sql_query(query).load(connection).unwrap();
    rows.into_iter().map(|row| row.value).collect()
}
