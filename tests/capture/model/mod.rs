//! The sequence of events equals a model's: whatever writers do, in whatever transactions, what
//! they committed is told once and in order, and nothing else is.
//!
//! The model knows nothing of triggers. It looks at the tables before and after each statement, in
//! the statement's own transaction, and keeps what changed until it knows whether that commits.

mod dice;
mod ledger;
mod session;
mod tables;
mod writes;

use rowcall::{config::Limits, stage::Stage as _};
use uuid::Uuid;

use self::{
    dice::Dice,
    ledger::{Told, assert_told, published},
    session::{Session, Tally},
    tables::{METADATA, SQL},
    writes::Writes,
};
use crate::support::{
    app::{Options, TestApp},
    postgres::Kind,
};

/// Rounds that a test runs, unless ROWCALL_TEST_ROUNDS says otherwise.
const ROUNDS: u64 = 3;
const SESSIONS: usize = 4;
/// What all sessions of a round do together.
const STEPS: usize = 700;

#[tokio::test]
async fn what_is_told_is_what_was_committed() {
    let tally = campaign(Kind::Standard, Limits::default().changes_per_batch_max).await;
    assert!(tally.committed > 20 && tally.rolled_back > 5, "{tally:?}");
    assert!(tally.failed > 5 && tally.undone > 5, "{tally:?}");
}

#[tokio::test]
async fn prepared_transactions_are_told_when_they_are_committed() {
    let tally = campaign(Kind::TwoPhase, Limits::default().changes_per_batch_max).await;
    assert!(tally.prepared > 5, "{tally:?}");
}

#[tokio::test]
async fn small_batches_tell_the_same() {
    let tally = campaign(Kind::Standard, 12).await;
    assert!(tally.committed > 20, "{tally:?}");
}

async fn campaign(kind: Kind, changes_max: usize) -> Tally {
    let rounds: u64 = std::env::var_os("ROWCALL_TEST_ROUNDS")
        .map_or(ROUNDS, |text| text.to_str().unwrap().parse().unwrap());
    let base = std::env::var_os("ROWCALL_TEST_SEED").map_or_else(
        || Uuid::new_v4().as_u64_pair().0,
        |text| text.to_str().unwrap().parse().unwrap(),
    );
    let mut tally = Tally::default();
    for number in 0..rounds {
        round(kind, changes_max, base.wrapping_add(number), &mut tally).await;
    }
    tally
}

async fn round(kind: Kind, changes_max: usize, seed: u64, tally: &mut Tally) {
    let limits = Limits {
        changes_per_batch_max: changes_max,
        ..Limits::for_testing()
    };
    let options = Options {
        kind,
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with(SQL, options).await;
    app.apply(METADATA).await;
    let told = format!("ROWCALL_TEST_SEED={seed}, batches of {changes_max}");
    let mut model = Model {
        dice: Dice::new(seed),
        // A TRUNCATE of several tables that falls on the edge of a batch is told twice.
        writes: Writes::new(changes_max > STEPS),
        committed: Vec::new(),
        sessions: (0..SESSIONS)
            .map(|number| Session::new(&app, number, matches!(kind, Kind::TwoPhase)))
            .collect(),
    };
    for _ in 0..STEPS {
        match model.dice.below(100) {
            0 => model.partition_comes_or_goes(&mut app, tally).await,
            1..=9 => publish(&mut app).await,
            _ => {
                let number = model.dice.below(SESSIONS);
                model.step(number, tally);
            }
        }
    }
    model.finish(tally);
    publish(&mut app).await;
    assert_told(&model.committed, &published(&app), &told);
}

struct Model {
    dice: Dice,
    writes: Writes,
    committed: Vec<Told>,
    sessions: Vec<Session>,
}

impl Model {
    fn step(&mut self, number: usize, tally: &mut Tally) {
        let (dice, writes) = (&mut self.dice, &mut self.writes);
        self.sessions[number].step(dice, writes, &mut self.committed, tally);
    }

    /// Lets every session end what it began.
    fn finish(&mut self, tally: &mut Tally) {
        for number in 0..self.sessions.len() {
            while !self.sessions[number].is_idle() {
                self.step(number, tally);
            }
        }
    }

    /// Rows that come or go with a partition do so silently. The other stages learn of it when
    /// upkeep runs.
    async fn partition_comes_or_goes(&mut self, app: &mut TestApp, tally: &mut Tally) {
        self.finish(tally);
        app.sql(if self.writes.is_attached {
            "alter table parts detach partition parts_as"
        } else {
            "alter table parts attach partition parts_as for values in ('as')"
        });
        self.writes.is_attached = !self.writes.is_attached;
        let now = app.clock.now();
        app.instance.upkeep.run_once(now).await.unwrap();
    }
}

async fn publish(app: &mut TestApp) {
    let now = app.clock.now();
    while app.instance.publish.run_once(now).await.unwrap() == rowcall::stage::Progress::Worked {}
}
