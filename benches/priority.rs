//! `make bench-priority`: how soon a fresh synchronous delivery is received, without and with a
//! backlog that is due; and how long a claim takes beside deliveries that it can't take.
//!
//! `ROWCALL_BENCH_BACKLOG` is the backlog, and `ROWCALL_BENCH_BLOCKED` what can't be claimed, each
//! 20,000 if not set; a million is a fair size. `ROWCALL_BENCH_ROUNDS` is the number of fresh rows.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can't run has nothing to report"
)]
#![expect(clippy::print_stdout, reason = "the report")]

#[path = "ground/cluster.rs"]
mod cluster;
#[path = "ground/repository.rs"]
mod repository;
#[path = "ground/size.rs"]
mod size;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _, sql_query, sql_types::BigInt,
};
use rowcall::{
    app::{Instance, Role, Settings},
    clock::Clock,
    config::{Limits, Sources},
    deliver::claim::store::delivery_claim,
    private_postgres::Cluster,
};
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};
use uuid::Uuid;

use self::{
    cluster::durable,
    repository::{apply_metadata, execute, key, make},
    size::size,
};

/// How many places one claim has in the second part.
const PLACES: usize = 1_000;

/// What the receiver in this process saw.
#[derive(Default)]
struct Seen {
    all: AtomicUsize,
    /// The highest id of a fresh row.
    fresh: AtomicUsize,
    arrived: Notify,
}

fn main() {
    let backlog = size("ROWCALL_BENCH_BACKLOG", 20_000);
    let blocked = size("ROWCALL_BENCH_BLOCKED", 20_000);
    let rounds = size("ROWCALL_BENCH_ROUNDS", 100);
    let cluster = Cluster::start(durable("512MB")).unwrap();
    let url = make(&cluster);
    execute(
        &url,
        "create table public.captured (id integer primary key)",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(report_latency(&url, backlog, rounds));
    report_claims(&url, blocked);
}

/// What is captured, and the one who is told of it.
fn metadata(receiver: &str) -> String {
    format!(
        "[namespace.bench]\n[object_type.\"bench.row\"]\ntable = \"public.captured\"\n\
         key = [\"id\"]\n[subscription.mirror]\nobject_types = [\"bench.row\"]\n\
         mode = \"synchronous\"\nsink = {{ kind = \"webhook\", url = \"{receiver}\" }}"
    )
}

async fn receive(State(seen): State<Arc<Seen>>, body: Bytes) {
    seen.all.fetch_add(1, Ordering::Relaxed);
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let id = event["data"]["key"]["id"].as_u64().unwrap_or_default();
    seen.fresh.fetch_max(id as usize, Ordering::Relaxed);
    seen.arrived.notify_one();
}

async fn report_latency(url: &str, backlog: usize, rounds: usize) {
    let seen = Arc::new(Seen::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", post(receive))
        .with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, router).await });
    apply_metadata(url, &metadata(&format!("http://{address}/"))).await;
    let settings = Settings {
        database_url: SecretString::from(url.to_owned()),
        secret_key: key(),
        admin_key: None,
        allow_nets: vec!["127.0.0.0/8".parse().unwrap()],
        mail: None,
        public_url: None,
        sources: Sources::default(),
        verify: rowcall::subscription::verify::VerifySettings::default(),
        limits: Limits::default(),
        safety_poll: true,
    };
    let instance = Instance::build(settings, Clock::System).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let run = tokio::spawn(instance.run(None, &[Role::Publish, Role::Deliver], stopped));
    let mut writer = PgConnection::establish(url).unwrap();
    // The receiver is known, and connections are open.
    latencies(&mut writer, &seen, 1, 20).await;
    let without = latencies(&mut writer, &seen, 1_000, rounds).await;
    owe(&mut writer, backlog);
    let begun = seen.all.load(Ordering::Relaxed);
    let with = latencies(&mut writer, &seen, 1_000_000, rounds).await;
    let meanwhile = seen.all.load(Ordering::Relaxed) - begun;
    println!("from a row's commit to its receipt, {rounds} rows one after the other");
    print_latencies("nothing else to send", &without);
    print_latencies(&format!("a backlog of {backlog} due"), &with);
    let ratio = median(&with).as_secs_f64() / median(&without).as_secs_f64();
    println!(
        "  ratio of the medians {ratio:.2}; {meanwhile} of the backlog were received meanwhile"
    );
    stop.send_replace(true);
    run.await.unwrap();
}

/// Writes rows one after the other, and waits for each to be received.
async fn latencies(
    writer: &mut PgConnection,
    seen: &Seen,
    first: usize,
    rounds: usize,
) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(rounds);
    for id in first..first + rounds {
        let insert = format!("insert into public.captured values ({id})");
        tokio::task::block_in_place(|| writer.batch_execute(&insert)).unwrap();
        let begun = Instant::now();
        while seen.fresh.load(Ordering::Relaxed) < id {
            seen.arrived.notified().await;
        }
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    latencies
}

/// Writes deliveries that are due: half of them retries, half of them first attempts that have
/// waited. Their events are copies of one that was delivered.
fn owe(writer: &mut PgConnection, backlog: usize) {
    tokio::task::block_in_place(|| {
        writer.batch_execute(&format!(
            "create table public.backlog as \
                 select gen_random_uuid() as event, g from generate_series(1, {backlog}) g; \
             begin; \
             insert into rowcall.event (id, source, position, type, object_type, object_key, \
                 \"time\", published_at, change_seq, xid, body) \
             select b.event, e.source, e.position, e.type, e.object_type, e.object_key, \
                 e.\"time\", e.published_at, e.change_seq, e.xid, e.body \
             from (select * from rowcall.event order by position limit 1) e, public.backlog b; \
             insert into rowcall.delivery (id, subscription_id, event_id, position, lane, \
                 sequence, urgency, state, attempts, due_at, created_at) \
             select gen_random_uuid(), d.subscription_id, b.event, d.position, b.g, \
                 10000000 + b.g, 0, 'pending', b.g % 2, d.created_at, d.created_at \
             from (select * from rowcall.delivery order by position limit 1) d, public.backlog b; \
             commit; analyze rowcall.delivery, rowcall.event"
        ))
    })
    .unwrap();
}

fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn print_latencies(what: &str, sorted: &[Duration]) {
    let ms = |place: usize| sorted.get(place).map_or(0.0, |one| one.as_secs_f64() * 1e3);
    let p99 = sorted.len().saturating_sub(1) * 99 / 100;
    println!(
        "  {what:32} median {:8.2} ms   p99 {:8.2} ms",
        ms(sorted.len() / 2),
        ms(p99)
    );
}

/// How long a claim takes, before and after much is pending that can't be claimed.
fn report_claims(url: &str, blocked: usize) {
    let mut connection = PgConnection::establish(url).unwrap();
    connection
        .batch_execute("set jit = off; truncate rowcall.delivery cascade")
        .unwrap();
    owe_pending(&mut connection, 20 * PLACES, "now() - interval '1 hour'");
    let alone = claim_ms(&mut connection);
    let never = "case when g % 2 = 0 then timestamptz 'infinity' end";
    owe_pending(&mut connection, blocked, never);
    let beside = claim_ms(&mut connection);
    println!("a claim of {PLACES} deliveries");
    println!("  {alone:8.1} ms where all can be claimed");
    println!("  {beside:8.1} ms beside {blocked} that are blocked or parked");
}

fn owe_pending(connection: &mut PgConnection, count: usize, due_at: &str) {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        first: i64,
    }
    let row: Row = sql_query("select coalesce(max(position), 0) as first from rowcall.delivery")
        .get_result(connection)
        .unwrap();
    connection
        .batch_execute(&format!(
            "insert into rowcall.delivery (id, subscription_id, event_id, position, lane, \
                 sequence, state, due_at, created_at) \
             select gen_random_uuid(), s.id, gen_random_uuid(), {first} + g, {first} + g, \
                 {first} + g, 'pending', {due_at}, now() \
             from rowcall.subscription s, generate_series(1, {count}) g; \
             analyze rowcall.delivery",
            first = row.first + 1,
        ))
        .unwrap();
    connection.batch_execute("vacuum rowcall.delivery").unwrap();
}

/// The median of nine claims, in milliseconds.
fn claim_ms(connection: &mut PgConnection) -> f64 {
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let now = Clock::System.now();
            let begun = Instant::now();
            let found = connection
                .transaction(|c| delivery_claim(c, Uuid::new_v4(), PLACES, now, now, now))
                .unwrap();
            // An eighth of the places is left to delayed deliveries and digests.
            assert!(found.claimed.len() >= PLACES * 7 / 8);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    median(&times).as_secs_f64() * 1e3
}
