//! The cluster, the tables, and pgbench.

use std::{io::Write as _, process::Command, time::Instant};

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_types::{BigInt, Text},
};
use rowcall::private_postgres::Cluster;

use crate::{
    cluster::durable,
    machine::machine,
    repository::{DATABASE, apply_metadata, execute, make},
};

/// Rows of each table.
pub(crate) const ROWS: u32 = 100_000;

/// The tables, each with a way of being captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// By nobody.
    Plain,
    /// A trigger that returns at once.
    Idle,
    /// Everything, with both images.
    All,
    /// Only what an event type matches, judged in the function; none does.
    Body,
    /// The same, judged in the trigger's WHEN.
    When,
    /// By a trigger that notifies.
    Notify,
}

impl Table {
    pub(crate) const ALL: [Self; 6] = [
        Self::Plain,
        Self::Idle,
        Self::All,
        Self::Body,
        Self::When,
        Self::Notify,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Idle => "idle",
            Self::All => "captured",
            Self::Body => "unmatched_body",
            Self::When => "unmatched_when",
            Self::Notify => "notifying",
        }
    }

    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Plain => "no trigger",
            Self::Idle => "a trigger that does nothing",
            Self::All => "captured, both images",
            Self::Body => "unmatched, judged in the body",
            Self::When => "unmatched, judged in WHEN",
            Self::Notify => "NOTIFY at every commit",
        }
    }
}

/// A durable cluster with the tables.
pub(crate) struct Bed {
    cluster: Cluster,
    pub(crate) url: String,
}

/// What pgbench measured.
pub(crate) struct Run {
    /// Commits a second.
    pub(crate) rate: f64,
    /// Of each transaction, in milliseconds, in rising order; empty unless it was asked for.
    pub(crate) latencies: Vec<f64>,
}

impl Bed {
    pub(crate) fn make() -> Self {
        let options = durable("512MB").with_setting("max_wal_size", "4GB");
        let cluster = Cluster::start(options).unwrap();
        let url = make(&cluster);
        let bed = Self { cluster, url };
        bed.fill();
        bed.apply("http://127.0.0.1:9/");
        bed
    }

    fn fill(&self) {
        for table in Table::ALL.map(Table::name) {
            self.execute(&format!(
                "create table public.{table} (id integer primary key, status text, customer integer, \
                     total numeric(12, 2), note text, placed_at timestamptz, region text);
                 insert into public.{table} \
                     select i, 'new', i % 1000, i, repeat('n', 100), now(), 'EU' \
                     from generate_series(1, {ROWS}) i"
            ));
            // Alone: VACUUM refuses to run in a transaction with others.
            self.execute(&format!("vacuum analyze public.{table}"));
        }
        self.execute(
            "create function public.ring() returns trigger language plpgsql as \
                 $$ begin perform pg_notify('bench', ''); return null; end $$;
             create trigger ring after insert or update on public.notifying for each row \
                 execute function public.ring();
             create function public.idle() returns trigger language plpgsql as \
                 $$ begin return null; end $$;
             create trigger idle after insert or update on public.idle for each row \
                 execute function public.idle()",
        );
    }

    /// Object types for the captured tables, and a subscriber of what is captured.
    pub(crate) fn apply(&self, receiver: &str) {
        let toml = format!(
            "[namespace.bench]\n\
             [object_type.\"bench.row\"]\ntable = \"public.captured\"\nkey = [\"id\"]\n\
             [object_type.\"bench.body\"]\ntable = \"public.unmatched_body\"\nkey = [\"id\"]\n\
             capture = \"defined\"\n\
             [event_type.\"bench.body.left\"]\nobject_type = \"bench.body\"\non = [\"update\"]\n\
             when = \"old.region == 'EU' && new.region != 'EU'\"\n\
             [object_type.\"bench.when\"]\ntable = \"public.unmatched_when\"\nkey = [\"id\"]\n\
             capture = \"defined\"\nwhen_clause = true\n\
             [event_type.\"bench.when.left\"]\nobject_type = \"bench.when\"\non = [\"update\"]\n\
             when = \"old.region == 'EU' && new.region != 'EU'\"\n\
             [subscription.receiver]\nobject_types = [\"bench.row\"]\nmode = \"synchronous\"\n\
             sink = {{ kind = \"webhook\", url = \"{receiver}\" }}"
        );
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(apply_metadata(&self.url, &toml));
    }

    pub(crate) fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }

    pub(crate) fn execute(&self, sql: &str) {
        execute(&self.url, sql);
    }

    /// The one number that a query named `value` answers.
    pub(crate) fn number(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        let row: Row = diesel::sql_query(query)
            .get_result(&mut self.connect())
            .unwrap();
        row.value
    }

    /// Everything that was captured is forgotten, and dead rows are gone, so that rounds are alike.
    pub(crate) fn tidy(&self) {
        self.execute("truncate rowcall.change");
        for table in Table::ALL.map(Table::name) {
            self.execute(&format!("vacuum public.{table}"));
        }
        self.execute("checkpoint");
    }

    /// How long a statement takes, in milliseconds; it is rolled back.
    pub(crate) fn timed(&self, sql: &str) -> f64 {
        let mut connection = self.connect();
        connection.batch_execute("begin").unwrap();
        let started = Instant::now();
        connection.batch_execute(sql).unwrap();
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        connection.batch_execute("rollback").unwrap();
        elapsed
    }

    /// Single-row updates by so many clients; throttled to `rate` a second and with latencies, if
    /// that is given.
    pub(crate) fn pgbench(
        &self,
        table: Table,
        clients: u32,
        seconds: u32,
        rate: Option<u32>,
    ) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("update.sql");
        let mut file = std::fs::File::create(&script).unwrap();
        let table = table.name();
        write!(
            file,
            "\\set id random(1, {ROWS})\n\
             update public.{table} set total = total + 1 where id = :id;\n"
        )
        .unwrap();
        let mut command = Command::new(self.cluster.bin("pgbench"));
        command
            .current_dir(directory.path())
            .args(["-n", "-M", "prepared", "-j", "2", "-U", "rowcall"])
            .args(["-c", &clients.to_string(), "-T", &seconds.to_string()])
            .arg("-h")
            .arg(self.cluster.socket_dir())
            .arg("-f")
            .arg(&script);
        if let Some(rate) = rate {
            command.args(["-R", &rate.to_string(), "-l"]);
        }
        let output = command.arg(DATABASE).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = || panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            failed();
        }
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = tps.and_then(|rest| rest.split(' ').next()?.parse().ok());
        Run {
            rate: tps.unwrap_or_else(failed),
            latencies: latencies(directory.path()),
        }
    }

    /// A setting of the server.
    pub(crate) fn setting(&self, name: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let row: Row = diesel::sql_query("select current_setting($1) as value")
            .bind::<Text, _>(name)
            .get_result(&mut self.connect())
            .unwrap();
        row.value
    }

    /// The machine and the server, for the report.
    pub(crate) fn machine(&self) -> String {
        machine(&mut self.connect())
    }
}

/// The latencies of the statements themselves, from pgbench's logs in a folder: the schedule's lag
/// is not the server's.
fn latencies(directory: &std::path::Path) -> Vec<f64> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("pgbench_log") {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            // client, number, latency in us, script, seconds, microseconds, lag in us
            let fields: Vec<f64> = line
                .split(' ')
                .map(|field| field.parse().unwrap_or(0.0))
                .collect();
            let lag = fields.get(6).copied().unwrap_or(0.0);
            all.push((fields[2] - lag) / 1000.0);
        }
    }
    all.sort_by(f64::total_cmp);
    all
}
