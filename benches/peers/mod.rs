//! `make bench-peers`: the same work by Rowcall and by what else one would take, in turns, so that
//! their ratios are those of one machine in one mood.
//!
//! The work is a drain of many changed rows, and commits at a steady rate. [`Peer`] says how each
//! of them is set up. None of the others signs what it posts, keeps an order, or keeps what it
//! sent.

mod peer;

use std::collections::HashMap;

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};

use self::peer::{Peer, Running};
use crate::{
    Run,
    figures::percentiles,
    inbox::Received,
    parts::drain::{self, Drain},
    schedule::{Commit, Schedule, TABLE},
    site::Site,
};

/// With so long a note, bodies with both images are nearly as large as Rowcall's, which say more.
const NOTE_BYTES: usize = 250;
/// Rows that are changed in one transaction, before a drain.
const ROWS_PER_COMMIT: usize = 1_000;

/// Measures everyone's drain and latency.
pub(crate) fn measure(run: &mut Run<'_>) {
    peer::check_installed();
    // Who goes first has the machine as the last round left it, so they take turns.
    let mut peers = Peer::ALL;
    peers.rotate_left((run.round - 1) % Peer::ALL.len());
    for peer in peers {
        drain(run, peer);
    }
    for rate in run.settings.peer_rates.clone() {
        for peer in peers {
            latency(run, peer, rate);
        }
    }
}

fn drain(run: &mut Run<'_>, peer: Peer) {
    let rows = run.settings.deliveries;
    let site = run
        .bed
        .site(&drain::table(rows, NOTE_BYTES), &peer.metadata(run.bed));
    peer.prepare(&site, run.bed);
    let (begun, running) = if peer.keeps_changes() {
        change(&site, rows);
        let begun = Drain::begin(run.bed);
        (begun, Running::start(peer, &site, run.bed))
    } else {
        let running = Running::start(peer, &site, run.bed);
        change(&site, rows);
        (Drain::begin(run.bed), running)
    };
    let received = run.bed.inbox.wait_for(rows, || running.log_end());
    let usage = running.stop();
    let name = |peer: Peer| format!("drain, {}", peer.name());
    let figures = begun.figures(run.bed, &received, usage);
    run.report.add(&name(peer), &figures);
    if peer != Peer::Rowcall {
        run.report.compare(&name(Peer::Rowcall), &name(peer));
    }
}

/// Changes all rows, some in each transaction: with all in one, adding jobs takes graphile-worker
/// longer with each, 38 s for 20,000.
fn change(site: &Site, rows: usize) {
    for first in (1..=rows).step_by(ROWS_PER_COMMIT) {
        let last = first + ROWS_PER_COMMIT - 1;
        site.execute(&format!(
            "{} where id between {first} and {last}",
            drain::CHANGE
        ));
    }
}

fn latency(run: &mut Run<'_>, peer: Peer, rate: u32) {
    let site = run.bed.site(TABLE, &peer.metadata(run.bed));
    let schedule = Schedule::of(run.settings, rate);
    peer.prepare(&site, run.bed);
    let running = Running::start(peer, &site, run.bed);
    let commits = schedule.write(&site.url);
    let log = || running.log_end();
    let received = run.bed.inbox.wait_for(schedule.count, log);
    let rows = rows_received(&site, peer, &received);
    running.stop();
    let measured = rows.into_iter().filter(|(row, _)| *row >= schedule.warm);
    let measured: Vec<(Commit, i64)> = measured.map(|(row, at_us)| (commits[row], at_us)).collect();
    let expected = schedule.count - schedule.warm;
    assert_eq!(measured.len(), expected, "some were lost");
    // A commit that is late because of the trigger is a part of the whole, and told apart.
    let mut tell = |what: &str, time: fn(&(Commit, i64)) -> i64| {
        let mut times: Vec<i64> = measured.iter().map(time).collect();
        let name = |peer: Peer| format!("{rate}/s, {what}, {}", peer.name());
        run.report.add(&name(peer), &percentiles(&mut times));
        if peer != Peer::Rowcall {
            run.report.compare(&name(Peer::Rowcall), &name(peer));
        }
    };
    tell("schedule to receipt", |(commit, at_us)| {
        at_us - commit.due_us
    });
    tell("schedule to commit", |(commit, _)| {
        commit.done_us - commit.due_us
    });
    tell("commit to receipt", |(commit, at_us)| {
        at_us - commit.done_us
    });
}

/// When each row's change was received. The others name the row itself, Rowcall the event.
fn rows_received(site: &Site, peer: Peer, received: &Received) -> HashMap<usize, i64> {
    #[derive(QueryableByName)]
    struct Event {
        #[diesel(sql_type = Text)]
        id: String,
        #[diesel(sql_type = Text)]
        object_key: String,
    }
    let events: Vec<Event> = match peer {
        Peer::Rowcall => sql_query("select id::text as id, object_key from rowcall.event")
            .load(&mut *site.connection())
            .unwrap(),
        _ => Vec::new(),
    };
    let rows: HashMap<String, String> = events
        .into_iter()
        .map(|event| (event.id, event.object_key))
        .collect();
    let all = received.first_at_us.iter();
    all.map(|((_, id), at_us)| {
        let row = rows.get(id).unwrap_or(id);
        (row.parse().unwrap(), *at_us)
    })
    .collect()
}
