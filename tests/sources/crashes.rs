//! Kills of either cluster while writers write, and a source that is away.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::{
    app::{Instance, Role, Settings},
    catalog::load::Folder,
    clock::Clock,
    config::Limits,
    db::migrate,
    private_postgres::Cluster,
    subscription::{secret::SecretKey, verify::VerifySettings},
};
use secrecy::SecretString;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    METADATA, ROWS, count, sources,
    support::{
        app::SECRET_KEY,
        postgres::{connect, execute, start_own},
        receiver::Receiver,
    },
};

/// Longer than any other wait.
const FAR: Duration = Duration::from_secs(600);

/// An instance that runs by itself on two clusters of its own.
struct Running {
    here: Cluster,
    there: Cluster,
    receiver: Receiver,
    readiness: rowcall::observe::readiness::Readiness,
    stop: watch::Sender<bool>,
    run: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let clusters = tokio::task::spawn_blocking(|| {
            let (here, there) = (start_own(&[]), start_own(&[]));
            migrate(&here.url("postgres")).unwrap();
            execute(&here.url("postgres"), ROWS);
            execute(&there.url("postgres"), ROWS);
            (here, there)
        });
        let (here, there) = clusters.await.unwrap();
        let receiver = Receiver::start().await;
        let (url, url_there) = (here.url("postgres"), there.url("postgres"));
        let toml = format!(
            "{METADATA}\n[subscription.all]\nobject_types = [\"*.row\"]\nmode = \"synchronous\"\n\
             retry = {{ schedule = [{}] }}\n\
             sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
            vec!["\"0s\""; 30].join(", "),
            receiver.url()
        );
        let mut order = crate::order(&toml, sources(&url_there));
        order.folder = Folder::of_text("test.toml", &toml);
        let database = rowcall::db::Database::new(&url, 1);
        let install = |connection: &mut rowcall::db::Connection, catalog: &_, now| {
            rowcall::capture::install::reconcile(connection, catalog, 100_000, now)
        };
        rowcall::catalog::apply::apply(&database, Arc::new(order), Clock::System.now(), install)
            .await
            .unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)));
        let settings = Settings {
            database_url: SecretString::from(url),
            secret_key: SecretKey::parse(SECRET_KEY).unwrap(),
            admin_key: None,
            allow_nets: vec!["127.0.0.0/8".parse().unwrap()],
            mail: None,
            public_url: None,
            verify: VerifySettings::default(),
            sources: sources(&url_there),
            limits: Limits {
                lease_ms: 4_000,
                ..Limits::for_testing()
            },
            safety_poll: true,
        };
        let instance = Instance::build(settings, Clock::System).await.unwrap();
        let readiness = instance.readiness.clone();
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(instance.run(None, &[Role::Publish, Role::Deliver], stopped));
        Self {
            here,
            there,
            receiver,
            readiness,
            stop,
            run,
        }
    }

    /// What was received of each object of a source: `id -> values of v in the order of receipt`,
    /// each event once.
    fn received(&self, source: &str) -> BTreeMap<i64, Vec<i64>> {
        let mut seen = std::collections::HashSet::new();
        let mut values: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for request in self.receiver.received() {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            if body["source"] != format!("/rowcall/{source}") || !seen.insert(request.id.clone()) {
                continue;
            }
            let row = &body["data"]["after"];
            let v = row["v"].as_str().unwrap().parse().unwrap();
            values
                .entry(row["id"].as_i64().unwrap())
                .or_default()
                .push(v);
        }
        values
    }

    /// Waits until so many events of the source were received: with each request anew.
    async fn until_received(&self, source: &str, events: usize) {
        let until = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let requests = self.receiver.received().len();
            let received: usize = self.received(source).values().map(Vec::len).sum();
            if received >= events {
                return;
            }
            let next = self.receiver.wait_for(requests + 1, FAR);
            assert!(
                tokio::time::timeout_at(until, next).await.is_ok(),
                "{received} of {events} of {source}; {:?}",
                self.readiness.report()
            );
        }
    }

    /// Waits until the copying of the source says that it is well (`None`), or why not.
    async fn until_copying(&self, is_well: bool) -> Option<String> {
        let mut check = self.readiness.check("copy crm").unwrap();
        let told = check.wait_for(|failure| failure.is_none() == is_well);
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        told.unwrap_or_else(|_| panic!("{:?}", self.readiness.report()))
            .unwrap()
            .clone()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.run.await.unwrap();
    }
}

/// Counts up one row, a commit at a time, through crashes of its server, until it is told to stop.
/// Row `id` then holds how often it did.
fn writer(url: String, id: usize, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut connection: Option<PgConnection> = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(open) = &mut connection else {
                connection = PgConnection::establish(&url).ok();
                continue;
            };
            let sql = format!(
                "insert into rows values ({id}, 1) \
                 on conflict (id) do update set v = rows.v::integer + 1"
            );
            if open.batch_execute(&sql).is_err() {
                connection = None;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_of_either_cluster_lose_and_double_nothing() {
    // GIVEN writers in both databases
    let mut running = Running::start().await;
    let (here, there) = (running.here.url("postgres"), running.there.url("postgres"));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (1..=2)
        .flat_map(|id| {
            [
                writer(here.clone(), id, Arc::clone(&stop)),
                writer(there.clone(), id, Arc::clone(&stop)),
            ]
        })
        .collect();
    // WHEN each is killed in turn while they write
    for round in 1..=6 {
        running.until_received("crm", round * 20).await;
        running.until_received("default", round * 20).await;
        let cluster = if round % 2 == 0 {
            &mut running.here
        } else {
            &mut running.there
        };
        cluster.crash().unwrap();
        cluster.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    // THEN of each row every value arrives once, in order
    for (source, url) in [("default", &here), ("crm", &there)] {
        let total = count(url, "select sum(v::integer) from rows");
        running
            .until_received(source, usize::try_from(total).unwrap())
            .await;
        for (id, values) in running.received(source) {
            let last = count(url, &format!("select v from rows where id = {id}"));
            let expected: Vec<i64> = (1..=last).collect();
            assert_eq!(values, expected, "{source} {id}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_is_away_stops_no_other_and_catches_up() {
    // GIVEN a source whose server is gone
    let mut running = Running::start().await;
    let (here, there) = (running.here.url("postgres"), running.there.url("postgres"));
    execute(&there, "insert into rows values (1, 1)");
    running.until_received("crm", 1).await;
    running.there.crash().unwrap();
    // WHEN rows are written here
    for value in 1..=50 {
        execute(&here, &format!("insert into rows values ({value}, 1)"));
    }
    // THEN they arrive, and /readyz says what is wrong without being unready
    running.until_received("default", 50).await;
    let told = running.until_copying(false).await.unwrap();
    assert!(running.readiness.report().is_ready());
    assert!(
        told.starts_with("the database of source `crm` can't be used"),
        "{told}"
    );
    // WHEN it is back
    running.there.restart().unwrap();
    execute(&there, "insert into rows values (2, 1)");
    // THEN its changes arrive again, and all is well
    running.until_received("crm", 2).await;
    running.until_copying(true).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_hangs_stops_no_other_and_not_the_stopping() {
    // GIVEN a source whose server takes no step any more
    let running = Running::start().await;
    let (here, there) = (running.here.url("postgres"), running.there.url("postgres"));
    execute(&there, "insert into rows values (1, 1)");
    running.until_received("crm", 1).await;
    let mut looker = connect(&there);
    let pids = crate::texts(
        &mut looker,
        "select pid from pg_stat_activity where application_name like 'rowcall%'",
    );
    let signal = |signal| {
        for pid in &pids {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        }
    };
    signal(rustix::process::Signal::STOP);
    execute(&there, "insert into rows values (2, 1)");
    // WHEN rows are written here
    execute(&here, "insert into rows values (1, 1)");
    // THEN they arrive, and the instance stops in time
    running.until_received("default", 1).await;
    let Running { stop, run, .. } = running;
    stop.send_replace(true);
    let stopped = tokio::time::timeout(Duration::from_secs(20), run).await;
    signal(rustix::process::Signal::CONT);
    stopped.unwrap().unwrap();
}
