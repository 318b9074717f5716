//! `make bench`: how fast a backlog drains.
//!
//! Rows are updated while Rowcall does not run; then what was captured is delivered to one webhook
//! receiver in this process. What capture costs the writers is measured by `make bench-capture`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can't run has nothing to report"
)]
#![expect(clippy::print_stdout, reason = "the report")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::{
    app::{Instance, Role, Settings},
    capture::install::reconcile,
    catalog::{apply::apply, examine::Order, load::Folder},
    clock::Clock,
    config::{Limits, Sources},
    db::{Connection, Database, migrate},
    private_postgres::{Cluster, ClusterOptions},
    sink::AddressGuard,
    subscription::secret::SecretKey,
};
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::watch};

/// How often each of the rows is updated.
const ROUNDS: u32 = 3;
const ROWS: u32 = 100_000;
const DATABASE: &str = "bench";

fn main() {
    let mut options = ClusterOptions::temporary();
    // As in production: a commit is durable.
    options.durable = true;
    let cluster = Cluster::start(options.with_setting("shared_buffers", "512MB")).unwrap();
    let url = prepare(&cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Captured for nobody yet: the receiver's address is known later.
        apply_metadata(&url, "http://127.0.0.1:9/").await;
        let mut writer = PgConnection::establish(&url).unwrap();
        for _ in 0..ROUNDS {
            writer
                .batch_execute("update public.captured set total = total + 1")
                .unwrap();
        }
        report_drain(&url).await;
    });
}

fn prepare(cluster: &Cluster) -> String {
    PgConnection::establish(&cluster.url("postgres"))
        .unwrap()
        .batch_execute(&format!("create database {DATABASE}"))
        .unwrap();
    let url = cluster.url(DATABASE);
    migrate(&url).unwrap();
    let mut connection = PgConnection::establish(&url).unwrap();
    connection
        .batch_execute(&format!(
            "create table public.captured (id integer primary key, status text, customer integer, \
                 total numeric(12, 2), note text, placed_at timestamptz, region text);
             insert into public.captured \
                 select i, 'new', i % 1000, i, repeat('n', 100), now(), 'EU' \
                 from generate_series(1, {ROWS}) i"
        ))
        .unwrap();
    url
}

async fn apply_metadata(url: &str, receiver: &str) {
    let toml = format!(
        "[namespace.bench]\n[object_type.\"bench.row\"]\ntable = \"public.captured\"\nkey = [\"id\"]\n\
         [subscription.drain]\nobject_types = [\"bench.row\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{receiver}\" }}"
    );
    let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let order = Order::new(
        Folder::of_text("bench.toml", &toml),
        guard,
        Some(Arc::new(key())),
    );
    let value_bytes_max = Limits::default().value_bytes_max;
    let install = move |connection: &mut Connection, catalog: &_, now| {
        reconcile(connection, catalog, value_bytes_max, now)
    };
    apply(
        &Database::new(url, 1),
        Arc::new(order),
        Clock::System.now(),
        install,
    )
    .await
    .unwrap();
}

fn key() -> SecretKey {
    SecretKey::parse(&"5a".repeat(32)).unwrap()
}

/// What the rounds captured is published and delivered from a standing start.
async fn report_drain(url: &str) {
    let received = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route(
            "/",
            post(
                async |State(count): State<Arc<AtomicUsize>>, _: axum::body::Bytes| {
                    count.fetch_add(1, Ordering::Relaxed);
                },
            ),
        )
        .with_state(Arc::clone(&received));
    tokio::spawn(async move { axum::serve(listener, router).await });
    apply_metadata(url, &format!("http://{address}/")).await;
    let settings = Settings {
        database_url: SecretString::from(url.to_owned()),
        secret_key: key(),
        admin_key: None,
        allow_nets: vec!["127.0.0.0/8".parse().unwrap()],
        mail: None,
        public_url: None,
        verify: rowcall::subscription::verify::VerifySettings::default(),
        sources: Sources::default(),
        limits: Limits::default(),
        safety_poll: true,
    };
    let instance = Instance::build(settings, Clock::System).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let started = Instant::now();
    let run = tokio::spawn(instance.run(None, &[Role::Publish, Role::Deliver], stopped));
    let total = captured(url);
    while received.load(Ordering::Relaxed) < total {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    println!("drain of {total} captured changes to one webhook receiver in the same process");
    println!(
        "  {:>8.0} deliveries/s   {elapsed:.2} s",
        total as f64 / elapsed
    );
    stop.send_replace(true);
    run.await.unwrap();
}

fn captured(url: &str) -> usize {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let row: Row = diesel::sql_query("select count(*) from rowcall.change")
        .get_result(&mut PgConnection::establish(url).unwrap())
        .unwrap();
    row.count as usize
}
