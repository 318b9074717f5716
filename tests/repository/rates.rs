//! Rate counters under concurrency, and judgements as they are kept.

use std::{sync::Barrier, thread};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::Connection as _;
use rowcall::constraint::{
    counters::{BatchRates, RateKey},
    judge::{Ground, Moment, Rates as _, Wanted},
    store::{Matter, NewJudgement, Verdict, judgement_insert, rate_forget, rates_load, rates_save},
};
use uuid::Uuid;

use crate::{support::postgres::TestDatabase, texts};

const SUBSCRIPTION: Uuid = Uuid::from_u128(7);

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn key(constraint: &str, subscription: Uuid) -> RateKey {
    RateKey {
        constraint: constraint.to_owned(),
        subscription,
        window_start: time("2026-01-31T08:00:00Z"),
    }
}

fn wanted(constraint: &str, limit: i64) -> Wanted<'_> {
    Wanted {
        constraint,
        window_start: time("2026-01-31T08:00:00Z"),
        limit,
    }
}

fn counts(database: &TestDatabase) -> Vec<String> {
    texts(
        &mut database.connect(),
        "select constraint_name || ' ' || spent as text from rowcall.rate order by 1",
    )
}

#[test]
fn a_rate_is_never_exceeded_and_is_used_to_its_end() {
    const INSTANCES: usize = 8;
    const BATCHES: usize = 25;
    const PER_BATCH: usize = 3;
    const LIMIT: i64 = 431;
    // GIVEN two rates, the tighter of which is less than what is asked for
    let database = TestDatabase::create();
    let begin = Barrier::new(INSTANCES);
    // WHEN instances count at the same time, naming the rates in turns in either order
    let published: Vec<i64> = thread::scope(|scope| {
        let run = |instance: usize| {
            let mut connection = database.connect();
            let mut published = 0;
            begin.wait();
            for batch in 0..BATCHES {
                let mut keys = vec![key("tight", SUBSCRIPTION), key("wide", SUBSCRIPTION)];
                if (instance + batch).is_multiple_of(2) {
                    keys.reverse();
                }
                let both = [wanted("tight", LIMIT), wanted("wide", 100_000)];
                published += connection
                    .transaction(|connection| {
                        let mut rates = rates_load(connection, keys)?;
                        let spent = (0..PER_BATCH)
                            .filter(|_| rates.of(SUBSCRIPTION).try_spend(&both).is_ok())
                            .count();
                        rates_save(connection, &rates)?;
                        Ok::<_, diesel::result::Error>(i64::try_from(spent).unwrap())
                    })
                    .unwrap();
            }
            published
        };
        let threads: Vec<_> = (0..INSTANCES)
            .map(|instance| scope.spawn(move || run(instance)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    // THEN exactly the limit was published, by several of them, and both counters say so
    assert_eq!(published.iter().sum::<i64>(), LIMIT);
    assert!(published.iter().filter(|count| **count > 0).count() > 1);
    assert_eq!(counts(&database), ["tight 431", "wide 431"]);
}

#[test]
fn a_batch_that_is_rolled_back_has_spent_nothing() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    for commits in [true, false] {
        let _ = connection.transaction(|connection| {
            let keys = vec![key("a", SUBSCRIPTION), key("a", SUBSCRIPTION)];
            let mut rates = rates_load(connection, keys).unwrap();
            rates.of(SUBSCRIPTION).try_spend(&[wanted("a", 9)]).unwrap();
            rates_save(connection, &rates).unwrap();
            if commits {
                Ok(())
            } else {
                Err(diesel::result::Error::RollbackTransaction)
            }
        });
    }
    assert_eq!(counts(&database), ["a 1"]);
}

#[test]
fn subscriptions_and_windows_count_apart() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    let other = Uuid::from_u128(8);
    let mut later = key("a", SUBSCRIPTION);
    later.window_start += TimeDelta::hours(1);
    let keys = vec![key("a", SUBSCRIPTION), key("a", other), later];
    let mut rates = rates_load(&mut connection, keys).unwrap();
    let one = [wanted("a", 1)];
    assert!(rates.of(SUBSCRIPTION).try_spend(&one).is_ok());
    assert!(rates.of(SUBSCRIPTION).try_spend(&one).is_err());
    assert!(rates.of(other).try_spend(&one).is_ok());
    rates_save(&mut connection, &rates).unwrap();
    assert_eq!(counts(&database), ["a 0", "a 1", "a 1"]);
    // Nothing to read or write is no statement.
    rates_save(&mut connection, &BatchRates::default()).unwrap();
    assert!(
        rates_load(&mut connection, Vec::new())
            .unwrap()
            .changed()
            .is_empty()
    );

    let after = time("2026-01-31T08:30:00Z");
    assert_eq!(rate_forget(&mut connection, after, 1).unwrap(), 1);
    assert_eq!(rate_forget(&mut connection, after, 100).unwrap(), 1);
    assert_eq!(rate_forget(&mut connection, after, 100).unwrap(), 0);
    assert_eq!(counts(&database), ["a 0"]);
}

#[test]
fn judgements_are_kept_with_their_grounds() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    let judgement = |matter, moment, verdict| NewJudgement {
        matter,
        subscription_id: SUBSCRIPTION,
        judged_at: time("2026-01-31T08:00:00Z"),
        moment,
        verdict,
        by: Ground {
            name: "office-hours".into(),
            version: 4,
            reason: "the condition is false".to_owned(),
            values: r#"{"row.amount":"10.50"}"#.to_owned(),
        },
    };
    let (event, digest) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let judgements = [
        judgement(Matter::Event(event), Moment::Event, Verdict::Hold),
        judgement(Matter::Event(event), Moment::Event, Verdict::Suppress),
        judgement(Matter::Digest(digest), Moment::Send, Verdict::Withdraw),
    ];
    judgement_insert(&mut connection, &judgements).unwrap();
    judgement_insert(&mut connection, &[]).unwrap();
    let kept = texts(
        &mut connection,
        "select concat_ws(' ', (event_id is null)::text, moment, decision, constraint_name, \
             constraint_version, reason, \"values\" ->> 'row.amount') as text \
         from rowcall.judgement order by decision",
    );
    assert_eq!(
        kept,
        [
            "false event hold office-hours 4 the condition is false 10.50",
            "false event suppress office-hours 4 the condition is false 10.50",
            "true send withdraw office-hours 4 the condition is false 10.50",
        ]
    );
}
