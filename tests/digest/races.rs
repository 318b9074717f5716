//! Gathering, closing and condensing at once, many times.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    thread,
};

use chrono::TimeDelta;
use diesel::Connection as _;
use rowcall::digest::gather::{Gathering, digest_gather};

use crate::{
    gathering::assert_exact,
    harness::{Made, bodies, deliver_all, digest, news, news_id, schedule, write_events},
};

/// A small generator, so that a seed is all there is to a run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_event_is_in_exactly_one_digest_whoever_gathers_and_closes() {
    const GATHERERS: i64 = 4;
    const ROUNDS: i64 = 60;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    for (spec, condense) in [
        ("max_items = 7, max_wait = \"1s\"", "none"),
        ("max_wait = \"1s\"", "keys"),
        (
            "cron = \"* * * * * *\", max_items = 3, send_empty = true",
            "none",
        ),
        (
            "cron = \"* * * * * *\", send_empty = true, late = \"each\"",
            "keys",
        ),
    ] {
        // GIVEN a subscription whose windows close often
        let mut app = news(spec, &format!("condense = \"{condense}\"")).await;
        let mut sibling = app.sibling().await;
        let (id, compiled) = (news_id(&app), schedule(spec));
        let (published, position) = (AtomicI64::new(0), AtomicI64::new(0));
        let (is_over, clock, database) = (AtomicBool::new(false), app.clock.clone(), &app.database);
        // WHEN several gather, some of whose transactions fail, while two instances close and
        // condense and the clock goes on
        let gather = |number: i64| {
            let mut dice = Dice(seed.wrapping_add(number as u64));
            let mut connection = database.connect();
            for _ in 0..ROUNDS {
                let count = 1 + dice.below(12) as i64;
                let fails = dice.below(8) == 0;
                let first = position.fetch_add(count, Ordering::Relaxed);
                let made: Vec<Made> = (1..=count).map(|n| Made::created(first + n, "x")).collect();
                let now = clock.now();
                let gathered = connection.transaction(|connection| {
                    let members = write_events(connection, &made, first, now);
                    let gathering = Gathering {
                        subscription_id: id,
                        schedule: &compiled,
                        grouping: None,
                        members,
                    };
                    digest_gather(connection, &[gathering], now)?;
                    if fails {
                        return Err(diesel::result::Error::RollbackTransaction);
                    }
                    Ok(())
                });
                assert_eq!(gathered.is_err(), fails, "{gathered:?}");
                if !fails {
                    published.fetch_add(count, Ordering::Relaxed);
                }
                clock.advance(TimeDelta::milliseconds(dice.below(300) as i64));
            }
        };
        tokio::task::block_in_place(|| {
            thread::scope(|scope| {
                let runtime = tokio::runtime::Handle::current();
                let closers =
                    [&mut app.instance.digest, &mut sibling.instance.digest].map(|stage| {
                        let (runtime, is_over, clock) = (runtime.clone(), &is_over, &clock);
                        scope.spawn(move || {
                            use rowcall::stage::Stage as _;
                            while !is_over.load(Ordering::Relaxed) {
                                runtime.block_on(stage.run_once(clock.now())).unwrap();
                            }
                        })
                    });
                let gatherers: Vec<_> = (0..GATHERERS)
                    .map(|number| {
                        scope.spawn({
                            let gather = &gather;
                            move || gather(number)
                        })
                    })
                    .collect();
                let ended: Vec<_> = gatherers
                    .into_iter()
                    .map(thread::ScopedJoinHandle::join)
                    .collect();
                is_over.store(true, Ordering::Relaxed);
                for closer in closers {
                    closer.join().unwrap();
                }
                assert!(ended.iter().all(Result::is_ok), "seed {seed}");
            });
        });
        // THEN all of it is in digests once, counts are exact, none is too large, and windows
        // follow one another
        app.clock.advance(TimeDelta::minutes(1));
        digest(&mut app).await;
        assert_exact(&app);
        let total = published.load(Ordering::Relaxed);
        assert_eq!(
            app.count("select count(*) from rowcall.digest_member"),
            total,
            "seed {seed}"
        );
        let told: i64 = bodies(&app)
            .iter()
            .map(|body| body["data"]["count"].as_i64().unwrap())
            .sum();
        assert_eq!(told, total, "seed {seed}");
        if let Some(max) = compiled.max_items() {
            let largest = app.count("select max(events) from rowcall.digest");
            assert!(largest <= i64::from(max), "seed {seed}");
        }
        let gaps = app.count(
            "select count(*) from rowcall.digest d where number is not null and number <> ( \
                 select count(*) from rowcall.digest p where p.number <= d.number)",
        );
        assert_eq!(gaps, 0, "seed {seed}");
        drop(sibling);
        deliver_all(&app);
    }
}
