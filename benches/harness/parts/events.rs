//! Events that are published through the API, one a request and many a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rowcall::clock::Clock;
use tokio::runtime::Runtime;

use crate::{Run, site::ADMIN_KEY};

/// The ways: clients at work at the same time, and events in each of their requests.
const WAYS: [(usize, usize); 2] = [(64, 1), (8, 100)];

/// Measures both ways.
pub(crate) fn measure(run: &mut Run<'_>) {
    for (clients, at_once) in WAYS {
        measure_one(run, clients, at_once);
    }
}

fn measure_one(run: &mut Run<'_>, clients: usize, at_once: usize) {
    let metadata = format!(
        "[namespace.bench]\n[event_type.\"bench.work.done\"]\n\
         schema = {{ type = \"object\", required = [\"amount\"], \
         properties = {{ amount = {{ type = \"number\" }}, note = {{ type = \"string\" }} }} }}\n\
         [subscription.receiver]\nevent_types = [\"bench.work.done\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{}\" }}\n",
        run.bed.inbox.url(0)
    );
    let site = run.bed.site("select", &metadata);
    let instance = site.serve();
    let requests = run.settings.events.div_ceil(at_once);
    let started_us = Clock::System.now().timestamp_micros();
    let publisher = Publisher {
        client: Client::builder(TokioExecutor::new()).build(connector()),
        url: format!("http://{}/v1/events", instance.address),
        at_once,
        requests,
        next: AtomicUsize::new(0),
    };
    let seconds = publisher.publish(clients);
    let log = || instance.log_end();
    let received = run.bed.inbox.wait_for(requests * at_once, log);
    let (_, last_us) = received.span_us();
    site.wait_for_settled();
    let usage = instance.stop();
    let events = (requests * at_once) as f64;
    run.report.add(
        &format!("clients: {clients}, events a request: {at_once}"),
        &[
            ("accepted/s", events / seconds),
            (
                "delivered/s",
                events * 1e6 / (last_us - started_us).max(1) as f64,
            ),
            ("peak MB", usage.memory_peak_mb),
            ("body bytes", received.body_bytes),
        ],
    );
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// Who publishes.
struct Publisher {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    at_once: usize,
    requests: usize,
    next: AtomicUsize,
}

impl Publisher {
    /// Publishes everything; tells in how many seconds it was accepted.
    fn publish(self, clients: usize) -> f64 {
        let runtime = Runtime::new().unwrap();
        let publisher = Arc::new(self);
        let started = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..clients)
                .map(|_| tokio::spawn(Arc::clone(&publisher).work()))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        started.elapsed().as_secs_f64()
    }

    async fn work(self: Arc<Self>) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return;
            }
            let response = self.client.request(self.request(number)).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(
                status,
                StatusCode::ACCEPTED,
                "{}",
                String::from_utf8_lossy(&body)
            );
        }
    }

    fn request(&self, number: usize) -> Request<Full<Bytes>> {
        let events = (0..self.at_once).map(|place| event(number * self.at_once + place));
        let events: Vec<String> = events.collect();
        let (kind, body) = match events.as_slice() {
            [one] => ("application/cloudevents+json", one.clone()),
            many => (
                "application/cloudevents-batch+json",
                format!("[{}]", many.join(",")),
            ),
        };
        Request::post(&self.url)
            .header(header::CONTENT_TYPE, kind)
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
            .body(Full::from(body))
            .unwrap()
    }
}

fn event(number: usize) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{number}\",\"source\":\"/bench\",\
         \"type\":\"bench.work.done\",\"subject\":\"{number}\",\
         \"data\":{{\"amount\":{number},\"note\":\"{}\"}}}}",
        "n".repeat(100)
    )
}
