//! Submitted events of many requests at once: stored together, answered one by one.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
};
use diesel::connection::SimpleConnection as _;
use rowcall::auth::Role;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc::unbounded_channel, oneshot},
    task::{JoinHandle, yield_now},
};

use crate::{
    harness::{ADMIN_KEY, Answer, Api, request},
    submitted::{duplicates, event, start, start_limited, submit, submit_as, texts},
    support::postgres::execute,
};

/// Two events at whose storing a session waits until the gate is opened.
const GATED: [&str; 2] = ["gate-1", "gate-2"];

const GATE: &str = "
    create table public.opened (yes boolean);
    create function public.wait() returns trigger language plpgsql as $$
    begin
        while not exists (select from public.opened) loop
            perform pg_catalog.pg_sleep(0.005);
        end loop;
        return new;
    end $$;
    create trigger gate before insert on rowcall.event_accepted for each row
        when (new.id like 'gate-%') execute function public.wait()";

/// Everything that stores is at work, and what is sent now has to wait.
struct Gate {
    api: Arc<Api>,
    keepers: Vec<JoinHandle<Answer>>,
}

impl Gate {
    async fn close(api: Api) -> Self {
        // The first request loads the catalogue; the others find it.
        assert_eq!(duplicates(&send(&api, &event("0", 1)).await), [false]);
        execute(&api.database.url, GATE);
        let mut gate = Self {
            api: Arc::new(api),
            keepers: Vec::new(),
        };
        for id in GATED {
            let keeper = gate.queue(vec![body(&event(id, 1))]).await;
            gate.keepers.extend(keeper);
        }
        let at_work = "select count(*)::text as text from pg_stat_activity \
                       where datname = current_database() and state = 'active' \
                       and query like 'insert into rowcall.event_accepted%'";
        wait_until(&gate.api, at_work, "2").await;
        gate
    }

    /// Sends requests, with a key each if there is one, until all of them wait or are answered.
    async fn queue(&self, requests: Vec<Sent>) -> Vec<JoinHandle<Answer>> {
        let mut sent = Vec::new();
        for Sent { text, key } in requests {
            let api = Arc::clone(&self.api);
            sent.push(tokio::spawn(async move {
                let mut request = request(ADMIN_KEY, "POST", "/v1/events");
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                api.send(request.body(Body::from(text)).unwrap()).await
            }));
        }
        // One thread runs all tasks, in their order. The key and the catalogue are known, so each
        // comes to wait without another wait before.
        for _ in 0..3 {
            yield_now().await;
        }
        sent
    }

    /// Opens the gate; the answers to what waited.
    async fn open(self, waiting: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
        execute(
            &self.api.database.url,
            "insert into public.opened values (true)",
        );
        for keeper in self.keepers {
            assert_eq!(duplicates(&keeper.await.unwrap()), [false]);
        }
        let mut answers = Vec::new();
        for task in waiting {
            answers.push(task.await.unwrap());
        }
        answers
    }
}

struct Sent {
    text: String,
    key: Option<&'static str>,
}

fn body(body: &Value) -> Sent {
    Sent {
        text: body.to_string(),
        key: None,
    }
}

fn keyed(key: &'static str, of: &Value) -> Sent {
    Sent {
        key: Some(key),
        ..body(of)
    }
}

async fn send(api: &Api, event: &Value) -> Answer {
    submit(api, "application/json", &event.to_string()).await
}

async fn wait_until(api: &Api, query: &str, expected: &str) {
    for attempt in 0.. {
        assert!(attempt < 10_000, "{query} is not {expected}");
        if texts(api, query) == [expected] {
            return;
        }
        yield_now().await;
    }
}

/// The ids of the appended events but those of the gate, with how many transactions wrote them.
fn stored(api: &Api) -> (Vec<String>, usize) {
    let of = "from rowcall.change where after ->> 'id' not in ('0', 'gate-1', 'gate-2')";
    let ids = texts(
        api,
        &format!("select after ->> 'id' as text {of} order by seq"),
    );
    let transactions = texts(api, &format!("select distinct xid::text as text {of}"));
    (ids, transactions.len())
}

#[tokio::test]
async fn what_waits_is_stored_in_one_transaction_and_answered_one_by_one() {
    // GIVEN requests that come while others are being stored: new ones, the same again, others of
    // the same name, and such as have an idempotency key
    let gate = Gate::close(start()).await;
    let api = Arc::clone(&gate.api);
    let requests = vec![
        body(&event("a", 1)),
        body(&event("a", 1)),
        body(&event("a", 2)),
        body(&json!([event("c", 1), event("0", 2)])),
        body(&event("c", 2)),
        keyed("k", &event("d", 1)),
        keyed("k", &event("e", 1)),
        keyed("k", &event("d", 1)),
        keyed("l", &event("0", 3)),
        keyed("l", &event("f", 1)),
        body(&event("0", 1)),
        body(&json!([event("g", 1), event("f", 1), event("h", 1)])),
        body(&event("bad", -1)),
    ];
    let waiting = gate.queue(requests).await;
    let last = waiting.len() - 1;
    assert!(waiting[..last].iter().all(|task| !task.is_finished()));
    // WHEN they are stored
    let answers = gate.open(waiting).await;
    // THEN each is answered as if it had come alone, after those before it
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(
        statuses,
        [
            202, 202, 409, 409, 202, 202, 422, 202, 409, 202, 202, 202, 422
        ]
    );
    for (place, expected) in [
        (0, &[false][..]),
        (1, &[true]),
        (4, &[false]),
        (5, &[false]),
        (7, &[true]),
        (9, &[false]),
        (10, &[true]),
        (11, &[false, true, false]),
    ] {
        assert_eq!(duplicates(&answers[place]), expected, "{place}");
    }
    assert_eq!(answers[2].pointers(), ["/id"]);
    assert_eq!(answers[3].pointers(), ["/1/id"]);
    answers[6].is_problem(422, "idempotency-key-reused", &[]);
    answers[8].is_problem(409, "event-id-reused", &[]);
    assert_eq!(answers[12].pointers(), ["/data/amount"]);
    let ids = ["a", "c", "d", "f", "g", "h"].map(str::to_owned).to_vec();
    assert_eq!(stored(&api), (ids, 1));
    // AND what was refused has neither its names nor its key
    assert_eq!(duplicates(&send(&api, &event("c", 2)).await), [true]);
    send(&api, &event("c", 1))
        .await
        .is_problem(409, "event-id-reused", &[]);
    assert_eq!(duplicates(&send(&api, &event("e", 7)).await), [false]);
    let kept = "select key || ' ' || count(*) as text from rowcall.idempotency group by key \
                order by key";
    assert_eq!(texts(&api, kept), ["k 1", "l 1"]);
}

#[tokio::test]
async fn one_that_cannot_be_stored_is_refused_alone() {
    // GIVEN one among many that the database does not take
    let api = start();
    execute(
        &api.database.url,
        "alter table rowcall.event_accepted add check (id <> 'poison')",
    );
    let gate = Gate::close(api).await;
    let api = Arc::clone(&gate.api);
    let waiting = gate
        .queue(
            ["a", "poison", "b", "a"]
                .map(|id| body(&event(id, 1)))
                .into(),
        )
        .await;
    // WHEN they are stored
    let answers = gate.open(waiting).await;
    // THEN it fails by itself
    answers[1].is_problem(500, "internal", &[]);
    let firsts = [&answers[0], &answers[3]].map(|answer| duplicates(answer)[0]);
    assert_ne!(firsts[0], firsts[1]);
    assert_eq!(duplicates(&answers[2]), [false]);
    let (mut ids, transactions) = stored(&api);
    ids.sort_unstable();
    assert_eq!((ids, transactions), (vec!["a".into(), "b".into()], 2));
}

#[tokio::test]
async fn a_name_that_somebody_keeps_makes_only_its_own_request_wait() {
    // GIVEN somebody who is remembering a name, and does not end
    let gate = Gate::close(start()).await;
    let api = Arc::clone(&gate.api);
    let mut keeper = api.database.connect();
    let keep = "begin; insert into rowcall.event_accepted values ('/shop', 'kept', \
                sha256('x'), now())";
    keeper.batch_execute(keep).unwrap();
    let mut waiting = gate
        .queue(["a", "kept", "b"].map(|id| body(&event(id, 1))).into())
        .await;
    let kept = waiting.remove(1);
    // WHEN others wait with the one that asks for that name
    let answers = gate.open(waiting).await;
    // THEN they are answered, and it waits on
    for answer in answers {
        assert_eq!(duplicates(&answer), [false]);
    }
    assert!(!kept.is_finished());
    keeper.batch_execute("rollback").unwrap();
    assert_eq!(duplicates(&kept.await.unwrap()), [false]);
    assert_eq!(stored(&api).0.len(), 3);
}

#[tokio::test]
async fn more_than_may_wait_is_told_to_come_again() {
    // GIVEN as many requests as may wait
    let api = start_limited(|limits| limits.events_waiting_bytes_max = 11_024);
    let gate = Gate::close(api).await;
    let api = Arc::clone(&gate.api);
    let ids = ["a", "b", "c", "d", "e", "f", "g"];
    let waiting = gate.queue(ids.map(|id| body(&event(id, 1))).into()).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    // WHEN another comes
    let answer = send(&api, &event("h", 1)).await;
    // THEN it is told so at once, and the others do not notice
    let limit = "limits.events_waiting_bytes_max";
    answer.is_problem(
        503,
        "unavailable",
        &["11024 bytes", limit, "send the request again"],
    );
    assert_eq!(answer.headers["retry-after"], "1");
    for answer in gate.open(waiting).await {
        assert_eq!(duplicates(&answer), [false]);
    }
    assert_eq!(duplicates(&send(&api, &event("h", 1)).await), [false]);
    assert_eq!(stored(&api).0.len(), 8);
}

#[tokio::test]
async fn who_goes_away_while_it_waits_is_left_out() {
    let gate = Gate::close(start()).await;
    let api = Arc::clone(&gate.api);
    let mut waiting = gate
        .queue(["a", "gone", "b"].map(|id| body(&event(id, 1))).into())
        .await;
    let gone = waiting.remove(1);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    for answer in gate.open(waiting).await {
        assert_eq!(duplicates(&answer), [false]);
    }
    assert_eq!(stored(&api), (vec!["a".into(), "b".into()], 1));
    assert_eq!(duplicates(&send(&api, &event("gone", 1)).await), [false]);
}

#[tokio::test]
async fn those_who_wait_are_answered_before_the_api_ends() {
    // GIVEN a request that waits, of a client at the other end of a socket
    let gate = Gate::close(start()).await;
    let api = Arc::clone(&gate.api);
    let (arrived, mut arrivals) = unbounded_channel();
    let router = api
        .router()
        .layer(from_fn(move |request: Request, next: Next| {
            arrived.send(()).unwrap();
            next.run(request)
        }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = axum::serve(listener, router).with_graceful_shutdown(async {
        let _: Result<(), _> = stopped.await;
    });
    let served = tokio::spawn(served.into_future());
    let text = event("a", 1).to_string();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    client.write_all((head + &text).as_bytes()).await.unwrap();
    arrivals.recv().await.unwrap();
    // WHEN the API is asked to end
    stop.send(()).unwrap();
    for _ in 0..3 {
        yield_now().await;
    }
    assert!(!served.is_finished());
    gate.open(Vec::new()).await;
    // THEN it answers first
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    served.await.unwrap().unwrap();
    assert_eq!(stored(&api).0, ["a"]);
}

#[tokio::test]
async fn an_edit_of_the_schema_is_seen_by_those_who_wait() {
    let gate = Gate::close(start()).await;
    let api = Arc::clone(&gate.api);
    // GIVEN requests that were checked before the edit, of which one passes by both schemas
    let mut closed = event("b", -1);
    closed["type"] = json!("sales.campaign.closed");
    let waiting = gate
        .queue(vec![
            body(&event("a", 1)),
            body(&closed),
            body(&event("c", 5)),
        ])
        .await;
    execute(
        &api.database.url,
        "update rowcall.catalog_item \
             set definition = '{\"schema\": {\"properties\": {\"amount\": {\"minimum\": 3}}}}' \
             where name = 'sales.campaign.opened'; \
         update rowcall.registry set revision = revision + 1",
    );
    // WHEN they are stored
    let answers = gate.open(waiting).await;
    // THEN the one that the new schema does not take is refused
    assert_eq!(answers[0].pointers(), ["/data/amount"]);
    assert_eq!(duplicates(&answers[1]), [false]);
    assert_eq!(duplicates(&answers[2]), [false]);
    assert_eq!(stored(&api), (vec!["b".into(), "c".into()], 1));
    // AND one that only the new one takes is accepted
    execute(
        &api.database.url,
        "update rowcall.catalog_item set definition = '{}' where name = 'sales.campaign.opened'; \
         update rowcall.registry set revision = revision + 1",
    );
    assert_eq!(duplicates(&send(&api, &event("d", -1)).await), [false]);
}

#[tokio::test]
async fn keys_that_are_looked_for_together_let_in_their_own_only() {
    // GIVEN requests with different keys, that come while the keys can't be read
    let api = Arc::new(start());
    assert_eq!(duplicates(&send(&api, &event("0", 1)).await), [false]);
    let keys: Vec<String> = (0..6)
        .map(|n| {
            api.key(if n == 4 {
                Role::Viewer
            } else {
                Role::Publisher
            })
        })
        .collect();
    let foreign = Api::start().key(Role::Publisher);
    let mut admin = api.database.connect();
    let lock = "begin; lock table rowcall.api_key in access exclusive mode";
    admin.batch_execute(lock).unwrap();
    let mut sent = Vec::new();
    for (n, key) in keys.iter().chain([&foreign]).enumerate() {
        let (api, key) = (Arc::clone(&api), key.clone());
        sent.push(tokio::spawn(async move {
            let text = event(&n.to_string(), 7)
                .to_string()
                .replace("/shop", "/other");
            submit_as(&api, &key, "application/json", &text).await
        }));
    }
    let waiting = "select (count(*) > 0)::text as text from pg_stat_activity \
                   where wait_event_type = 'Lock' and datname = current_database()";
    wait_until(&api, waiting, "true").await;
    // WHEN one of the keys is revoked before they are read
    let revoke = format!(
        "update rowcall.api_key set revoked_at = now() where id = '{}'; commit",
        &keys[5][4..16]
    );
    admin.batch_execute(&revoke).unwrap();
    // THEN each is let in as far as its own key goes
    let mut statuses = Vec::new();
    for task in sent {
        statuses.push(task.await.unwrap().status);
    }
    assert_eq!(statuses, [202, 202, 202, 202, 403, 401, 401]);
    let written = texts(
        &api,
        "select after ->> 'id' || ' ' || actor as text from rowcall.change \
         where after ->> 'source' = '/other' order by 1",
    );
    let expected: Vec<String> = (0..4).map(|n| format!("{n} {}", &keys[n][4..16])).collect();
    assert_eq!(written, expected);
}
