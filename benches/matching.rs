//! `make bench-matching`: how fast events find their subscriptions, what it takes to load these,
//! and how fast a filter is judged.
//!
//! Each subscription has a filter of an equality (one of 1,000 regions) and a range of its own, so
//! that no two filters have the same text. They are loaded from a private Postgres as publishing
//! loads them; matching runs on one thread, over events whose bodies are as publishing makes them.
//! Rates are of that thread's processor time, so that what else runs on the machine counts little.
//! `ROWCALL_BENCH_SUBSCRIPTIONS` is the larger number of subscriptions, 100,000 if not set;
//! `ROWCALL_BENCH_SECONDS` how long each rate is measured, 3 if not set. The last line is JSON.

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
    collections::HashSet,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::DateTime;
use diesel::{
    Connection as _, PgConnection, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, Binary, Text, Timestamptz, Uuid as SqlUuid},
};
use rowcall::{
    catalog::model::Catalog,
    clock::Clock,
    expr::{EventFacts, Expression, Facts, Row, Scope, ScopeColumn},
    private_postgres::Cluster,
    publish::{detect::Ids, event::Event, plan::matched},
    registry::{
        live::{LiveRegistry, Registry},
        registry_raise, registry_revision,
    },
    sink::{AddressGuard, Scheme, Signer, WebhookClient},
    subscription::{
        labels::Labels,
        model::SubscriptionSpec,
        register::{Origin, Registration, register},
    },
};
use secrecy::SecretString;
use uuid::Uuid;

use self::{
    cluster::durable,
    repository::{apply_metadata, execute, key, make},
    size::size,
};

const REGIONS: usize = 1_000;
/// Ranges begin below this, in hundredths; an event's amount is below a tenth of it.
const AMOUNT_MAX: usize = 100_000;
const EVENTS: usize = 2_000;
/// Subscriptions that are written with one statement.
const WRITTEN: usize = 5_000;
/// How often one more is added.
const ADDED: usize = 15;
const COLUMNS: [(&str, &str); 10] = [
    ("id", "bigint"),
    ("region", "text"),
    ("amount", "numeric(12,2)"),
    ("status", "text"),
    ("customer_id", "bigint"),
    ("quantity", "integer"),
    ("is_paid", "boolean"),
    ("note", "text"),
    ("created_at", "timestamp with time zone"),
    ("updated_at", "timestamp with time zone"),
];
const CONDITION: &str = "new.region == 'r7' && new.amount > 100 && new.status != 'draft'";

/// What is measured with one number of subscriptions.
struct Measured {
    subscriptions: usize,
    load_s: f64,
    load_processor_s: f64,
    kept_mb: f64,
    peak_mb: f64,
    add_ms: f64,
    events_per_s: f64,
    matches_per_event: f64,
}

fn main() {
    let most = size("ROWCALL_BENCH_SUBSCRIPTIONS", 100_000);
    let lasts = Duration::from_secs(size("ROWCALL_BENCH_SECONDS", 3) as u64);
    let evaluations = evaluations_per_s(lasts);
    let cluster = Cluster::start(durable("256MB")).unwrap();
    let url = prepare(&cluster);
    let mut connection = PgConnection::establish(&url).unwrap();
    let mut measured = Vec::new();
    let mut written = 0;
    for wanted in [1_000.min(most), most] {
        subscribe(&mut connection, written, wanted);
        written = wanted;
        measured.push(measure(&mut connection, wanted, lasts));
        written += ADDED;
    }
    report(&measured, evaluations);
}

fn prepare(cluster: &Cluster) -> String {
    let columns = COLUMNS.map(|(name, sql_type)| format!("{name} {sql_type}"));
    let table = format!(
        "create table public.orders ({}, primary key (id))",
        columns.join(", ")
    );
    let url = make(cluster);
    execute(&url, &table);
    let toml = "[namespace.bench]\n[object_type.\"bench.order\"]\ntable = \"public.orders\"\n\
                key = [\"id\"]\n";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(apply_metadata(&url, toml));
    url
}

/// The subscription of this number: its range is its own.
fn spec(number: usize) -> SubscriptionSpec {
    let from = number * 7_919 % AMOUNT_MAX;
    let text = format!(
        r#"{{"object_types": ["bench.order"], "mode": "synchronous",
            "filter": "new.region == 'r{}' && new.amount > {}.{:02}",
            "labels": {{"tenant": "t{}"}},
            "sink": {{"kind": "webhook", "url": "https://t{}.example.com/hooks/{number}"}}}}"#,
        number % REGIONS,
        from / 100,
        from % 100,
        number % 5_000,
        number % 5_000,
    );
    serde_json::from_str(&text).unwrap()
}

/// Writes the subscriptions of these numbers, as registering each would.
fn subscribe(connection: &mut PgConnection, from: usize, to: usize) {
    let (key, ids, now) = (key(), Ids::new(), Clock::System.now());
    let secret = Signer::generate(Scheme::V1).unwrap().expose();
    let numbers: Vec<usize> = (from..to).collect();
    for numbers in numbers.chunks(WRITTEN) {
        let row = |number: &usize| {
            let id = ids.next(now);
            let sealed = key.seal(id, &SecretString::from(secret.clone())).unwrap();
            let definition = serde_json::to_string(&spec(*number)).unwrap();
            (id, format!("orders-{number}"), definition, sealed)
        };
        let rows: Vec<(Uuid, String, String, Vec<u8>)> = numbers.iter().map(row).collect();
        let ids: Vec<Uuid> = rows.iter().map(|row| row.0).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
        let definitions: Vec<&str> = rows.iter().map(|row| row.2.as_str()).collect();
        let sealed: Vec<&[u8]> = rows.iter().map(|row| row.3.as_slice()).collect();
        sql_query(
            "insert into rowcall.subscription (id, name, origin, owner, state, mode, definition, \
                 secret, secret_key_id, created_at, updated_at) \
             select id, name, 'api', 'bench', 'active', 'synchronous', definition::json, sealed, \
                 $5, $6, $6 \
             from unnest($1, $2, $3, $4) as r (id, name, definition, sealed)",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Text>, _>(names)
        .bind::<Array<Text>, _>(definitions)
        .bind::<Array<Binary>, _>(sealed)
        .bind::<Text, _>(key.id())
        .bind::<Timestamptz, _>(now)
        .execute(connection)
        .unwrap();
    }
    registry_raise(connection).unwrap();
    connection
        .batch_execute("vacuum analyze rowcall.subscription")
        .unwrap();
}

fn measure(connection: &mut PgConnection, subscriptions: usize, lasts: Duration) -> Measured {
    let client = WebhookClient::new(AddressGuard::default()).unwrap();
    let live = LiveRegistry::new(Arc::new(key()), client, None);
    let before = memory_mb();
    let (begun, worked) = (Instant::now(), processor_time());
    let registry = at_present(&live, connection);
    let load_s = begun.elapsed().as_secs_f64();
    let load_processor_s = (processor_time() - worked).as_secs_f64();
    let after = memory_mb();
    assert_eq!(registry.subscriptions.iter().count(), subscriptions);
    let (events_per_s, matches_per_event) = matching(&registry, lasts);
    drop(registry);
    Measured {
        subscriptions,
        load_s,
        load_processor_s,
        kept_mb: after.now - before.now,
        peak_mb: after.peak - before.now,
        add_ms: add_ms(&live, connection, subscriptions),
        events_per_s,
        matches_per_event,
    }
}

fn at_present(live: &LiveRegistry, connection: &mut PgConnection) -> Arc<Registry> {
    let revision = registry_revision(connection).unwrap();
    live.at(connection, revision).unwrap()
}

/// The median time from a registration's commit until it is in the registry.
fn add_ms(live: &LiveRegistry, connection: &mut PgConnection, from: usize) -> f64 {
    let catalog = Catalog::load(connection).unwrap();
    let mut times: Vec<f64> = (from..from + ADDED)
        .map(|number| {
            let registration = Registration {
                name: format!("orders-{number}"),
                spec: spec(number),
                origin: Origin::Api,
                owner: Some("bench".to_owned()),
            };
            let now = Clock::System.now();
            connection
                .transaction(|connection| {
                    register(connection, &key(), &catalog, registration, now).map_err(|error| {
                        println!("{error}");
                        diesel::result::Error::RollbackTransaction
                    })
                })
                .unwrap();
            let begun = Instant::now();
            let registry = at_present(live, connection);
            let took = begun.elapsed();
            assert_eq!(registry.subscriptions.iter().count(), number + 1);
            took.as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Events a second, and how many subscriptions each is for.
fn matching(registry: &Registry, lasts: Duration) -> (f64, f64) {
    let (ids, now) = (Ids::new(), Clock::System.now());
    let events: Vec<Event> = (0..EVENTS).map(|number| event(number, &ids)).collect();
    let nobody = HashSet::new();
    let planned = matched(&events, 0, registry, &nobody, &ids, now).len();
    let (begun, worked, mut rounds) = (Instant::now(), processor_time(), 0);
    while begun.elapsed() < lasts {
        // By batches, as publishing does it.
        for batch in events.chunks(EVENTS / 4) {
            black_box(matched(batch, 0, registry, &nobody, &ids, now));
        }
        rounds += 1;
    }
    let rate = (rounds * EVENTS) as f64 / (processor_time() - worked).as_secs_f64();
    (rate, planned as f64 / EVENTS as f64)
}

fn row(number: usize, amount: usize) -> String {
    format!(
        "{{\"id\":{number},\"region\":\"r{}\",\"amount\":{}.{:02},\"status\":\"open\",\
         \"customer_id\":{},\"quantity\":3,\"is_paid\":false,\
         \"note\":\"as agreed by telephone, to be sent with the next lorry\",\
         \"created_at\":\"2026-03-02T10:00:00.123456+00:00\",\
         \"updated_at\":\"2026-03-02T11:00:00.654321+00:00\"}}",
        number * 17 % REGIONS,
        amount / 100,
        amount % 100,
        number * 31,
    )
}

fn event(number: usize, ids: &Ids) -> Event {
    let time = DateTime::from_timestamp(1_772_000_000, 0).unwrap();
    let id = ids.next(time);
    let amount = number * 4_909 % (AMOUNT_MAX / 10);
    let body = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/rowcall/default\",\
         \"type\":\"bench.order.updated\",\"subject\":\"{number}\",\
         \"time\":\"2026-02-25T06:13:20.000000Z\",\"datacontenttype\":\"application/json\",\
         \"partitionkey\":\"bench.order/{number}\",\"data\":{{\"object_type\":\"bench.order\",\
         \"key\":{{\"id\":{number}}},\"op\":\"update\",\"before\":{},\"after\":{},\
         \"changed\":[\"amount\"],\"actor\":null,\"xid\":\"4711\"}}}}",
        row(number, amount + 1),
        row(number, amount),
    );
    Event {
        id,
        source: "default".into(),
        position: number as i64,
        event_type: "bench.order.updated".into(),
        object_type: Some("bench.order".into()),
        scope: "bench.order".into(),
        key: Some(number.to_string()),
        previous_key: None,
        time,
        captured_at: time,
        change_seq: number as i64,
        xid: 4_711,
        body: body.into(),
        only_for: None,
    }
}

/// Evaluations a second of [`CONDITION`], whose three parts all hold.
fn evaluations_per_s(lasts: Duration) -> f64 {
    let column = |(name, sql_type): (&str, &str)| ScopeColumn {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        hidden: None,
    };
    let scope = Scope::rows(COLUMNS.map(column).to_vec());
    let condition = Expression::compile(CONDITION, &scope).unwrap();
    let rows: Vec<String> = (0..64).map(|n| row(7 + n * 1_000, 20_000 + n)).collect();
    let rows: Vec<String> = rows.iter().map(|row| region_7(row)).collect();
    let rows: Vec<Row<'_>> = rows.iter().map(|row| Row::parse(row).unwrap()).collect();
    let time = DateTime::from_timestamp(1_772_000_000, 0).unwrap();
    let labels = Labels::default();
    let facts: Vec<Facts<'_>> = rows
        .iter()
        .map(|row| Facts {
            before: None,
            after: Some(row),
            changed: &[],
            op: "create",
            event: EventFacts {
                id: "",
                event_type: "bench.order.created",
                object_type: Some("bench.order"),
                source: "/rowcall/default",
                subject: None,
                time,
                data: None,
            },
            subscription: Some(rowcall::expr::SubscriptionFacts {
                name: "orders",
                mode: "synchronous",
                labels: &labels,
            }),
            now: time,
            actor: None,
        })
        .collect();
    let (begun, worked, mut count) = (Instant::now(), processor_time(), 0_usize);
    while begun.elapsed() < lasts {
        for _ in 0..1_000 {
            for facts in &facts {
                assert!(black_box(&condition).evaluate(black_box(facts)).is_true());
            }
        }
        count += 1_000 * facts.len();
    }
    count as f64 / (processor_time() - worked).as_secs_f64()
}

/// For how long this thread has had a processor.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ran_ns = told.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ran_ns.unwrap())
}

fn region_7(row: &str) -> String {
    let (head, rest) = row.split_once(r#""region":""#).unwrap();
    let (_, tail) = rest.split_once('"').unwrap();
    format!(r#"{head}"region":"r7"{tail}"#)
}

/// Resident memory of this process, and the most that it was since the last look.
struct Memory {
    now: f64,
    peak: f64,
}

fn memory_mb() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mb = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kb.unwrap_or_default() / 1_024.0
    };
    let memory = Memory {
        now: mb("VmRSS:"),
        peak: mb("VmHWM:"),
    };
    // Where that is not allowed, the peak is the process's.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    memory
}

fn report(measured: &[Measured], evaluations_per_s: f64) {
    println!("matching on one thread; filters of an equality over {REGIONS} regions and a range");
    println!(
        "  {:>13} {:>8} {:>12} {:>9} {:>9} {:>8} {:>10} {:>13}",
        "subscriptions",
        "load s",
        "on processor",
        "kept MB",
        "peak MB",
        "add ms",
        "events/s",
        "matches/event"
    );
    for one in measured {
        println!(
            "  {:>13} {:>8.2} {:>12.2} {:>9.1} {:>9.1} {:>8.2} {:>10.0} {:>13.1}",
            one.subscriptions,
            one.load_s,
            one.load_processor_s,
            one.kept_mb,
            one.peak_mb,
            one.add_ms,
            one.events_per_s,
            one.matches_per_event
        );
    }
    println!("  a condition of three parts on a row of ten columns: {evaluations_per_s:.0}/s");
    let rows: Vec<serde_json::Value> = measured
        .iter()
        .map(|one| {
            serde_json::json!({
                "subscriptions": one.subscriptions,
                "load_s": one.load_s,
                "load_processor_s": one.load_processor_s,
                "kept_mb": one.kept_mb,
                "peak_mb": one.peak_mb,
                "add_ms": one.add_ms,
                "events_per_s": one.events_per_s,
                "matches_per_event": one.matches_per_event,
            })
        })
        .collect();
    println!(
        "{}",
        serde_json::json!({"matching": rows, "evaluations_per_s": evaluations_per_s})
    );
}
