//! A session that writes: it opens transactions, sets savepoints, fails, and ends in every way.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _,
    result::Error as QueryError, sql_query, sql_types::Text,
};

use super::{
    dice::Dice,
    ledger::{Told, done},
    tables::state,
    writes::{Write, Writes},
};
use crate::{reading::run, support::app::TestApp};

/// Why a statement of the model may fail: each is the writer's own doing.
const OWN_FAULTS: [&str; 8] = [
    "duplicate key value",
    "lock timeout",
    "could not serialize",
    "no partition of relation",
    "violates partition constraint",
    "violates foreign key",
    "deadlock detected",
    "moved to another partition",
];

pub(super) struct Session {
    number: usize,
    connection: PgConnection,
    stage: Stage,
    /// What the open transaction did, and how much of it stood at each savepoint.
    ledger: Vec<Told>,
    savepoints: Vec<usize>,
    may_prepare: bool,
    prepared: usize,
}

enum Stage {
    Idle,
    /// So many statements are to come.
    Open(usize),
    /// Under this name.
    Prepared(String),
}

/// How many statements and transactions did what; a model that does nothing proves nothing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) failed: usize,
    pub(super) committed: usize,
    pub(super) rolled_back: usize,
    pub(super) prepared: usize,
    pub(super) undone: usize,
}

impl Session {
    pub(super) fn new(app: &TestApp, number: usize, may_prepare: bool) -> Self {
        let mut connection = app.connect();
        // One thread runs all sessions: who holds a lock won't give it up while another waits.
        run(&mut connection, "set lock_timeout = '10ms'");
        Self {
            number,
            connection,
            stage: Stage::Idle,
            ledger: Vec::new(),
            savepoints: Vec::new(),
            may_prepare,
            prepared: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Does one thing. What is committed by it is added to `committed`.
    pub(super) fn step(
        &mut self,
        dice: &mut Dice,
        writes: &mut Writes,
        committed: &mut Vec<Told>,
        tally: &mut Tally,
    ) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => self.begin(dice),
            Stage::Open(0) => self.end(dice, committed, tally),
            Stage::Open(left) => {
                self.stage = Stage::Open(left - 1);
                self.act(dice, writes, tally);
            }
            Stage::Prepared(name) => {
                let commits = dice.percent(75);
                let verb = if commits { "commit" } else { "rollback" };
                run(&mut self.connection, &format!("{verb} prepared '{name}'"));
                tally.prepared += 1;
                self.settle(commits, committed);
            }
        }
    }

    fn begin(&mut self, dice: &mut Dice) {
        let level = match dice.below(6) {
            0 => "serializable",
            1 | 2 => "repeatable read",
            _ => "read committed",
        };
        run(
            &mut self.connection,
            &format!("begin isolation level {level}"),
        );
        self.stage = Stage::Open(1 + dice.below(6));
    }

    fn act(&mut self, dice: &mut Dice, writes: &mut Writes, tally: &mut Tally) {
        let depth = self.savepoints.len();
        match dice.below(10) {
            0 => {
                run(&mut self.connection, &format!("savepoint s{depth}"));
                self.savepoints.push(self.ledger.len());
            }
            1 if depth > 0 => self.roll_back_to(dice.below(depth), tally),
            2 if depth > 0 => {
                let name = dice.below(depth);
                run(&mut self.connection, &format!("release s{name}"));
                self.savepoints.truncate(name);
            }
            _ => {
                for write in writes.next(dice) {
                    if self.write(&write).is_err() {
                        tally.failed += 1;
                        self.recover(dice, tally);
                        break;
                    }
                }
            }
        }
    }

    /// Runs a statement, and notes what it did by looking before and after.
    fn write(&mut self, write: &Write) -> Result<(), QueryError> {
        let tried = (|| {
            let before = state(&mut self.connection)?;
            self.connection.batch_execute(&write.sql)?;
            Ok((before, state(&mut self.connection)?))
        })();
        match tried {
            Ok((before, after)) => {
                for told in done(&before, &after, write.truncates) {
                    // Of several in a row, one is told.
                    let last = self
                        .ledger
                        .iter()
                        .rfind(|one| one.object_type == told.object_type);
                    if told.op != "truncate" || last.is_none_or(|last| last.op != "truncate") {
                        self.ledger.push(told);
                    }
                }
                Ok(())
            }
            Err(error) => {
                let text = error_text(&error);
                assert!(
                    OWN_FAULTS.iter().any(|fault| text.contains(fault)),
                    "{}: {text}",
                    write.sql
                );
                Err(error)
            }
        }
    }

    fn recover(&mut self, dice: &mut Dice, tally: &mut Tally) {
        let depth = self.savepoints.len();
        if depth > 0 && dice.percent(70) {
            self.roll_back_to(dice.below(depth), tally);
        } else {
            self.roll_back(tally);
        }
    }

    fn roll_back_to(&mut self, savepoint: usize, tally: &mut Tally) {
        run(&mut self.connection, &format!("rollback to s{savepoint}"));
        tally.undone += self.ledger.len() - self.savepoints[savepoint];
        self.ledger.truncate(self.savepoints[savepoint]);
        self.savepoints.truncate(savepoint + 1);
    }

    fn roll_back(&mut self, tally: &mut Tally) {
        run(&mut self.connection, "rollback");
        tally.rolled_back += 1;
        self.settle(false, &mut Vec::new());
    }

    fn end(&mut self, dice: &mut Dice, committed: &mut Vec<Told>, tally: &mut Tally) {
        if dice.percent(15) {
            return self.roll_back(tally);
        }
        let xid = self.xid();
        for told in &mut self.ledger {
            told.xid.clone_from(&xid);
        }
        if self.may_prepare && dice.percent(30) {
            self.prepared += 1;
            let name = format!("{} {}", self.number, self.prepared);
            match self
                .connection
                .batch_execute(&format!("prepare transaction '{name}'"))
            {
                Ok(()) => self.stage = Stage::Prepared(name),
                Err(error) => self.failed_at_end(&error, tally),
            }
            return;
        }
        match self.connection.batch_execute("commit") {
            Ok(()) => {
                tally.committed += 1;
                self.settle(true, committed);
            }
            Err(error) => self.failed_at_end(&error, tally),
        }
    }

    fn failed_at_end(&mut self, error: &QueryError, tally: &mut Tally) {
        let text = error_text(error);
        assert!(text.contains("could not serialize"), "{text}");
        self.roll_back(tally);
    }

    fn settle(&mut self, is_committed: bool, committed: &mut Vec<Told>) {
        if is_committed {
            committed.append(&mut self.ledger);
        }
        self.ledger.clear();
        self.savepoints.clear();
        self.stage = Stage::Idle;
    }

    fn xid(&mut self) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            xid: String,
        }
        let row: Row =
            sql_query("select coalesce(pg_current_xact_id_if_assigned()::text, '') as xid")
                .get_result(&mut self.connection)
                .unwrap();
        row.xid
    }
}

fn error_text(error: &QueryError) -> String {
    match error {
        QueryError::DatabaseError(_, information) => format!(
            "{} ({})",
            information.message(),
            information.details().unwrap_or_default()
        ),
        other => other.to_string(),
    }
}
