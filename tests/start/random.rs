//! Writers at work while subscriptions start: whatever they do, a mirror of what is told is the
//! table in the end, and no row is told twice as one that is there.

use std::{collections::HashSet, sync::mpsc::Sender, thread::JoinHandle};

use diesel::{PgConnection, connection::SimpleConnection as _};
use serde_json::json;
use uuid::Uuid;

use crate::{
    shop::{Mirror, event, mirror, publish, register, send_all, shop, start_of},
    support::{app::TestApp, receiver::Receiver},
};

/// A small generator (SplitMix64): the seed alone gives what happens.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One statement on keys around 1 to 80; it does nothing where it can't.
fn statement(random: &mut Random) -> String {
    let (a, b) = (random.below(80), random.below(80));
    match random.below(8) {
        0 | 1 => {
            format!("insert into public.orders values ({a}, 'made', {b}) on conflict do nothing")
        }
        2 => format!("delete from public.orders where id = {a}"),
        3 => format!(
            "update public.orders set id = {b} where id = {a} and not exists (select from public.orders where id = {b})"
        ),
        4 => {
            format!("update public.orders set amount = amount + 1 where id between {a} and {a} + 5")
        }
        _ => format!("update public.orders set status = 's{b}' where id = {a}"),
    }
}

/// Writers that each write a transaction for every token they are given.
pub(crate) struct Writers {
    tokens: Vec<Sender<()>>,
    threads: Vec<JoinHandle<u64>>,
}

impl Writers {
    /// As many as there are seeds. `write` writes one transaction, and says whether it could.
    pub(crate) fn start(
        app: &TestApp,
        seeds: impl Iterator<Item = u64>,
        write: fn(&mut PgConnection, &mut Random) -> bool,
    ) -> Self {
        let (mut tokens, mut threads) = (Vec::new(), Vec::new());
        for seed in seeds {
            let (token, given) = std::sync::mpsc::channel();
            let (mut connection, mut random) = (app.connect(), Random(seed));
            threads.push(std::thread::spawn(move || {
                let written = given
                    .iter()
                    .filter(|()| write(&mut connection, &mut random));
                written.count() as u64
            }));
            tokens.push(token);
        }
        Self { tokens, threads }
    }

    /// Lets each write so many transactions more; does not wait for them.
    pub(crate) fn go_on(&self, transactions: u64) {
        for token in &self.tokens {
            for _ in 0..transactions {
                token.send(()).unwrap();
            }
        }
    }

    /// Waits until all is written, and says how much that was.
    pub(crate) fn finish(self) -> u64 {
        drop(self.tokens);
        let threads = self.threads.into_iter();
        threads.map(|thread| thread.join().unwrap()).sum()
    }
}

/// Some statements in one transaction, which may be rolled back. Two writers may meet at a key, or
/// in a circle; then one of them fails.
fn write(connection: &mut PgConnection, random: &mut Random) -> bool {
    let mut sql = "begin".to_owned();
    for _ in 0..=random.below(4) {
        sql = format!("{sql}; {}", statement(random));
    }
    let end = if random.below(6) == 0 {
        "rollback"
    } else {
        "commit"
    };
    match connection.batch_execute(&format!("{sql}; {end}")) {
        Ok(()) => true,
        Err(_) => {
            connection.batch_execute("rollback").unwrap();
            false
        }
    }
}

#[tokio::test]
async fn a_mirror_that_starts_amid_writers_is_the_table() {
    let seed = Uuid::new_v4().as_u64_pair().0;
    for round in 0..4 {
        amid_writers(seed.wrapping_add(round)).await;
    }
}

async fn amid_writers(seed: u64) {
    // GIVEN rows, and writers at work
    let mut receivers = Vec::new();
    let mut app =
        shop("insert into public.orders select n, 'old', n from generate_series(1, 60) n;").await;
    let mut random = Random(seed);
    let writers = Writers::start(&app, (1..=3).map(|n| seed ^ n), write);
    // WHEN subscriptions start at different moments, and instances come and go
    let mut ids = Vec::new();
    let mut rounds = 0;
    loop {
        rounds += 1;
        writers.go_on(random.below(5));
        for _ in 0..=random.below(3) {
            publish(&mut app).await;
        }
        if ids.len() < 3 && random.below(3) == 0 {
            let receiver = Receiver::start().await;
            let name = format!("mirror-{}", ids.len());
            ids.push(register(&app, &mirror(&receiver, &json!({"name": name}))).await);
            receivers.push(receiver);
        }
        if random.below(5) == 0 {
            let sibling = app.sibling().await;
            drop(app);
            app = sibling;
        }
        let mut are_done = ids.len() == 3;
        for id in &ids {
            are_done &= start_of(&app, id).await["state"] == "done";
        }
        if are_done || rounds == 300 {
            break;
        }
        let now = app.clock.now();
        rowcall::stage::Stage::run_once(&mut app.instance.deliver, now)
            .await
            .unwrap();
    }
    let written = writers.finish();
    send_all(&mut app).await;

    // THEN each mirror is the table
    let table = Mirror::of_table(&app, "public.orders", &["id"]);
    for (id, receiver) in ids.iter().zip(&receivers) {
        let start = start_of(&app, id).await;
        assert_eq!(start["state"], "done", "seed {seed}: {start}");
        let (mut mirror, mut known, mut snapshots) = (Mirror::default(), HashSet::new(), 0);
        for request in receiver.received() {
            let event = event(&request);
            if !known.insert(request.id) {
                continue;
            }
            let key = event["data"]["key"].to_string();
            if event["data"]["op"] == "snapshot" {
                // AND no row is told as one that is there that was told already
                assert!(!mirror.0.contains_key(&key), "seed {seed}: {key} twice");
                snapshots += 1;
            }
            mirror.take(&event);
        }
        assert_eq!(mirror, table, "seed {seed}, {written} transactions");
        // AND what is counted is what was told
        assert_eq!(start["told"], snapshots, "seed {seed}");
    }
}
