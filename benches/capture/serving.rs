//! With Rowcall at work on the same machine: an instance in this process, and a receiver beside it.

#![expect(
    clippy::disallowed_methods,
    reason = "it looks at the repository from outside, now and then"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use diesel::connection::SimpleConnection as _;
use rowcall::{
    app::{Instance, Role, Settings as AppSettings},
    clock::Clock,
    config::Limits,
};
use secrecy::SecretString;
use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle};

use crate::{
    Settings,
    bed::{Bed, Table},
    report::{Report, median, quantile},
    repository::key,
};

/// Commits a second of the paced run.
const PACE: u32 = 1_500;

/// An instance that runs, and what its receiver got.
struct Serving {
    runtime: Runtime,
    received: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    run: JoinHandle<()>,
}

impl Serving {
    fn start(bed: &Bed) -> Self {
        let runtime = Runtime::new().unwrap();
        let received = Arc::new(AtomicUsize::new(0));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let counted = async |State(count): State<Arc<AtomicUsize>>, _: axum::body::Bytes| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let router = Router::new()
            .route("/", post(counted))
            .with_state(Arc::clone(&received));
        runtime.spawn(async move { axum::serve(listener, router).await });
        bed.apply(&format!("http://{address}/"));
        let settings = AppSettings {
            database_url: SecretString::from(bed.url.clone()),
            secret_key: key(),
            admin_key: None,
            allow_nets: vec!["127.0.0.0/8".parse().unwrap()],
            mail: None,
            public_url: None,
            verify: rowcall::subscription::verify::VerifySettings::default(),
            sources: rowcall::config::Sources::default(),
            limits: Limits::default(),
            safety_poll: true,
        };
        let instance = runtime
            .block_on(Instance::build(settings, Clock::System))
            .unwrap();
        let (stop, stopped) = watch::channel(false);
        let run = runtime.spawn(async move {
            instance
                .run(None, &[Role::Publish, Role::Deliver], stopped)
                .await;
        });
        Self {
            runtime,
            received,
            stop,
            run,
        }
    }

    fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until everything that was captured is published and sent; tells how long that took.
    fn catch_up(&self, bed: &Bed) -> f64 {
        let started = Instant::now();
        let left = "select (select count(*) from rowcall.delivery \
                 where state in ('pending', 'held', 'sending')) \
             + (select count(*) from rowcall.change c, rowcall.source s where s.name = 'default' \
                 and not pg_visible_in_snapshot(c.xid, s.snapshot)) as value";
        while bed.number(left) > 0 {
            thread::sleep(Duration::from_millis(100));
        }
        started.elapsed().as_secs_f64()
    }

    fn stop(self, bed: &Bed) {
        self.catch_up(bed);
        self.stop.send_replace(true);
        self.runtime.block_on(self.run).unwrap();
    }
}

/// Asks again and again how many sessions wait for the lock of commits that notified; tells how
/// often any did, while `work` runs.
fn notify_waits<T>(bed: &Bed, work: impl FnOnce() -> T) -> (T, i64) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                seen += bed.number(
                    "select count(*) as value from pg_locks \
                     where locktype = 'object' and database = 0 and not granted",
                );
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, looker.join().unwrap())
    })
}

/// The reader is awake, and publishing waits for a lock.
pub(crate) fn awake(bed: &Bed, settings: &Settings, report: &mut Report) {
    bed.tidy();
    let serving = Serving::start(bed);
    let mut lock = bed.connect();
    lock.batch_execute("begin; select revision from rowcall.registry for update")
        .unwrap();
    // It finds these and waits for the lock: from here on it is awake.
    bed.pgbench(Table::All, 1, 1, None);
    for clients in [8, 32] {
        let mut figures = vec![(Table::Plain, Vec::new()), (Table::All, Vec::new())];
        for _ in 0..settings.rounds {
            for (table, values) in &mut figures {
                values.push(bed.pgbench(*table, clients, settings.seconds, None).rate);
            }
            // A statement of Rowcall's may wait for a minute; this lets it begin anew.
            lock.batch_execute("rollback; begin; select revision from rowcall.registry for update")
                .unwrap();
        }
        let title = format!("single-row UPDATE, {clients} clients, reader awake, publishing held");
        report.compare(&title, "commits/s", &figures);
    }
    lock.batch_execute("rollback").unwrap();
    serving.stop(bed);
}

/// A steady pace, published and delivered meanwhile.
pub(crate) fn paced(bed: &Bed, settings: &Settings, report: &mut Report) {
    let seconds = settings.seconds.max(5);
    let (mut means, mut tails, mut waits) = (Vec::new(), Vec::new(), 0);
    let (mut base, mut captured, mut at_work) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bed.tidy();
        let plain = bed.pgbench(Table::Plain, 8, seconds, Some(PACE)).latencies;
        // What the trigger alone costs at this pace.
        let stopped = bed.pgbench(Table::All, 8, seconds, Some(PACE)).latencies;
        bed.tidy();
        let serving = Serving::start(bed);
        let (run, seen) = notify_waits(bed, || {
            bed.pgbench(Table::All, 8, seconds, Some(PACE)).latencies
        });
        serving.stop(bed);
        waits += seen;
        means.push(mean(&run) / mean(&plain));
        tails.push(quantile(&run, 0.99) / quantile(&plain, 0.99));
        base.push(mean(&plain));
        captured.push(mean(&stopped));
        at_work.push(mean(&run));
    }
    report.tell(
        &format!("{PACE} commits/s by 8 clients, published and delivered meanwhile"),
        &[
            ("mean statement latency without capture, ms", median(&base)),
            (
                "mean statement latency, captured, Rowcall stopped, ms",
                median(&captured),
            ),
            ("mean statement latency, ms", median(&at_work)),
            ("ratio of the means", median(&means)),
            ("ratio of the 99th percentiles", median(&tails)),
            ("waits for the lock of NOTIFY seen", waits as f64),
        ],
    );
}

/// As fast as the writers can, published and delivered meanwhile.
pub(crate) fn saturated(bed: &Bed, settings: &Settings, report: &mut Report) {
    let (mut ratios, mut shares, mut catch_ups) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds.min(3) {
        bed.tidy();
        let plain = bed.pgbench(Table::Plain, 8, settings.seconds, None).rate;
        let serving = Serving::start(bed);
        let run = bed.pgbench(Table::All, 8, settings.seconds, None).rate;
        let written = run * f64::from(settings.seconds);
        shares.push(serving.received() as f64 / written);
        catch_ups.push(serving.catch_up(bed));
        serving.stop(bed);
        ratios.push(run / plain);
    }
    report.tell(
        "single-row UPDATE, 8 clients, unthrottled, published and delivered meanwhile",
        &[
            ("ratio to no capture", median(&ratios)),
            ("delivered while they wrote, share", median(&shares)),
            ("seconds to catch up afterwards", median(&catch_ups)),
        ],
    );
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
