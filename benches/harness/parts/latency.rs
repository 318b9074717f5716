//! From the moment at which a commit was to be, to the receipt of what it changed.
//!
//! What an event tells of its publishing is when the run that published it began. That run may find
//! what was committed a moment after it began, so the time from commit to publishing can be
//! negative.

use std::collections::HashMap;

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::BigInt, sql_types::Text};

use super::{CATALOGUE, subscription, synchronous};
use crate::{
    Run,
    figures::percentiles,
    inbox::Received,
    schedule::{Commit, Schedule, TABLE},
    site::Site,
};

/// The mode whose receiver is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Synchronous,
    /// Beside a synchronous subscription, which has to be tried first.
    Delayed,
    /// With a window of a second, the shortest.
    Batch,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Synchronous, Self::Delayed, Self::Batch];

    fn name(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::Delayed => "synchronous_delayed",
            Self::Batch => "batch of 1 s",
        }
    }

    fn metadata(self, run: &Run<'_>) -> String {
        match self {
            Self::Synchronous => synchronous(run.bed, 1),
            Self::Delayed => {
                synchronous(run.bed, 1) + &subscription(run.bed, 1, "synchronous_delayed")
            }
            Self::Batch => {
                let batch = subscription(run.bed, 0, "batch");
                CATALOGUE.to_owned() + &batch + "schedule = { max_wait = \"1s\" }\n"
            }
        }
    }

    /// The receiver that is watched.
    fn place(self) -> usize {
        usize::from(self == Self::Delayed)
    }
}

/// Measures each mode at each rate.
pub(crate) fn measure(run: &mut Run<'_>) {
    for mode in Mode::ALL {
        for rate in run.settings.rates.clone() {
            measure_one(run, mode, rate);
        }
    }
}

fn measure_one(run: &mut Run<'_>, mode: Mode, rate: u32) {
    let site = run.bed.site(TABLE, &mode.metadata(run));
    let schedule = Schedule::of(run.settings, rate);
    let instance = site.serve();
    let commits = schedule.write(&site.url);
    let log = || instance.log_end();
    let received = match mode {
        Mode::Synchronous => run.bed.inbox.wait_for(schedule.count, log),
        Mode::Delayed => run.bed.inbox.wait_for(2 * schedule.count, log),
        Mode::Batch => {
            wait_for_digests(&site, schedule.count);
            run.bed.inbox.received()
        }
    };
    let ways = ways(&site, mode, &commits, &received);
    assert_eq!(ways.len(), schedule.count, "some were lost");
    site.wait_for_settled();
    instance.stop();
    let mut tell = |what: &str, time: fn(&Way) -> i64| {
        let measured = ways.iter().filter(|way| way.id >= schedule.warm);
        let mut times: Vec<i64> = measured.map(time).collect();
        let name = format!("{}, {rate}/s, {what}", mode.name());
        run.report.add(&name, &percentiles(&mut times));
    };
    tell("schedule to receipt", |way| {
        way.received_us - way.commit.due_us
    });
    tell("schedule to commit", |way| {
        way.commit.done_us - way.commit.due_us
    });
    tell("commit to publishing", |way| {
        way.published_us - way.commit.done_us
    });
    tell("publishing to receipt", |way| {
        way.received_us - way.published_us
    });
    if mode == Mode::Delayed {
        tell("behind the synchronous", |way| {
            way.received_us - way.other_received_us
        });
    }
}

/// One change on its way.
struct Way {
    id: usize,
    commit: Commit,
    published_us: i64,
    received_us: i64,
    /// By the receiver that is not watched; 0 if there is none.
    other_received_us: i64,
}

/// What became of each commit.
fn ways(site: &Site, mode: Mode, commits: &[Commit], received: &Received) -> Vec<Way> {
    let at = |place: usize, id: &str| {
        let known = received.first_at_us.get(&(place, id.to_owned()));
        known.copied()
    };
    let digests = match mode {
        Mode::Batch => digest_receipts(received),
        _ => HashMap::new(),
    };
    let way = |event: Published| {
        let id = event.object_key.parse().unwrap();
        let received_us = match mode {
            Mode::Batch => digests.get(event.carrier.as_str()).copied(),
            _ => at(mode.place(), &event.carrier),
        };
        Some(Way {
            id,
            commit: commits[id],
            published_us: event.published_us,
            received_us: received_us?,
            other_received_us: at(0, &event.carrier).unwrap_or_default(),
        })
    };
    published(site, mode).into_iter().filter_map(way).collect()
}

/// When the last part of each digest was received.
fn digest_receipts(received: &Received) -> HashMap<&str, i64> {
    let mut last: HashMap<&str, i64> = HashMap::new();
    for ((_, part), at_us) in &received.first_at_us {
        let (digest, _) = part.split_once('.').unwrap();
        let last = last.entry(digest).or_default();
        *last = at_us.max(last).to_owned();
    }
    last
}

#[derive(QueryableByName)]
struct Published {
    #[diesel(sql_type = Text)]
    object_key: String,
    /// The event, or the digest that it is in.
    #[diesel(sql_type = Text)]
    carrier: String,
    #[diesel(sql_type = BigInt)]
    published_us: i64,
}

fn published(site: &Site, mode: Mode) -> Vec<Published> {
    let (carrier, digests) = match mode {
        Mode::Batch => (
            "m.digest_id",
            "join rowcall.digest_member m on m.event_id = e.id",
        ),
        _ => ("e.id", ""),
    };
    let query = format!(
        "select e.object_key, {carrier}::text as carrier, \
             (extract(epoch from e.published_at) * 1000000)::bigint as published_us \
         from rowcall.event e {digests}"
    );
    sql_query(query).load(&mut *site.connection()).unwrap()
}

/// Waits until everything was published and every digest was delivered.
fn wait_for_digests(site: &Site, count: usize) {
    site.wait_for_none(&format!(
        "select {count} - count(*) as value from rowcall.event"
    ));
    site.wait_for_none(
        "select count(*) as value from rowcall.digest \
         where state in ('open', 'closed') and events > 0",
    );
    site.wait_for_settled();
}
