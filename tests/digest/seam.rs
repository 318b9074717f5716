//! A crash at a chosen statement: the sessions that hold a transaction are ended in the moment in
//! which the instance is about to send it.
//!
//! Every statement of every connection of this program is counted by the database it goes to. When
//! the count of an armed database is used up, its sessions in a transaction are ended and gone
//! before the statement is sent. So a test can go through a transaction statement by statement,
//! COMMIT included, without knowing what they are.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use diesel::{
    QueryableByName, RunQueryDsl as _,
    connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation},
    sql_types::BigInt,
};

use crate::support::{app::TestApp, postgres};

/// What is armed, by the name of the database.
static ARMED: Mutex<Option<HashMap<String, Armed>>> = Mutex::new(None);

#[derive(Clone, Debug)]
struct Armed {
    url: String,
    /// Statements that still pass.
    left: u32,
}

/// What became of an armed crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// So many statements were not sent.
    NotReached,
    /// The statement was reached; there was a transaction to be ended, or there was none.
    Reached { is_ended: bool },
}

/// What was reached since it was armed, by the name of the database.
static REACHED: Mutex<Option<HashMap<String, bool>>> = Mutex::new(None);

/// Must be called before the instances are built that are to crash.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        set_default_instrumentation(|| Some(Box::new(Watch(String::new())))).unwrap();
    });
}

/// Lets the statement number `n` from now on, from 0, be the one at which the crash happens.
pub(crate) fn arm(app: &TestApp, n: u32) {
    let armed = Armed {
        url: app.database.url.clone(),
        left: n,
    };
    lock(&REACHED)
        .get_or_insert_default()
        .remove(&app.database.name);
    lock(&ARMED)
        .get_or_insert_default()
        .insert(app.database.name.clone(), armed);
}

/// Ends the watch that [`arm`] began, and says what came of it.
pub(crate) fn disarm(app: &TestApp) -> Crash {
    let name = &app.database.name;
    lock(&ARMED).get_or_insert_default().remove(name);
    match lock(&REACHED).get_or_insert_default().remove(name) {
        None => Crash::NotReached,
        Some(is_ended) => Crash::Reached { is_ended },
    }
}

/// Whether the crash that [`arm`] prepared has happened.
pub(crate) fn is_reached(app: &TestApp) -> bool {
    lock(&REACHED)
        .get_or_insert_default()
        .contains_key(&app.database.name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the statements of one connection; holds where it leads.
struct Watch(String);

impl Instrumentation for Watch {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => {
                url.clone_into(&mut self.0);
            }
            InstrumentationEvent::StartQuery { .. } => {
                if let Some((name, url)) = due(&self.0) {
                    let is_ended = end_transactions(&url);
                    lock(&REACHED)
                        .get_or_insert_default()
                        .insert(name, is_ended);
                }
            }
            _ => {}
        }
    }
}

/// The database, by name and URL, whose crash is to happen at this statement. It is armed no more.
fn due(url: &str) -> Option<(String, String)> {
    let mut armed = lock(&ARMED);
    let armed = armed.as_mut()?;
    let name = armed.keys().find(|name| url.contains(*name))?.clone();
    let one = armed.get_mut(&name)?;
    if one.left > 0 {
        one.left -= 1;
        return None;
    }
    let one = armed.remove(&name)?;
    Some((name, one.url))
}

/// Ends the sessions of Rowcall that are in a transaction, and waits until they are gone.
fn end_transactions(url: &str) -> bool {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        ended: i64,
    }
    let row: Row = diesel::sql_query(
        "select count(*) filter (where pg_terminate_backend(pid, 10000)) as ended \
         from pg_stat_activity where datname = current_database() \
             and application_name = 'rowcall' and state like 'idle in transaction%'",
    )
    .get_result(&mut postgres::connect(url))
    .unwrap();
    row.ended > 0
}
