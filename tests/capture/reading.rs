//! What the tests of this binary share: a table that is an object type, and a reader of its
//! changes.

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::capture::{
    batch::{Batch, Reader},
    store::{Advance, ChangeRow, cursor_advance},
};
use serde_json::Value;

use crate::support::app::{Options, TestApp};

/// A table of numbered rows.
pub(crate) const ROWS: &str = "create table public.rows (id integer primary key, v text)";

/// Metadata for [`ROWS`]; `more` are further settings of the object type.
pub(crate) fn rows_metadata(more: &str) -> String {
    format!(
        "[namespace.t]\n[object_type.\"t.row\"]\ntable = \"public.rows\"\nkey = [\"id\"]\n{more}"
    )
}

/// An instance whose `public.rows` is captured; nobody is subscribed.
pub(crate) async fn rows_app(sql: &str, options: Options) -> TestApp {
    let app = TestApp::start_with(&format!("{ROWS}; {sql}"), options).await;
    app.apply(&rows_metadata("")).await;
    app
}

fn advance(batch: &Batch) -> Advance<'_> {
    Advance {
        source: "default",
        from: &batch.from,
        to: &batch.to,
        changes: 0,
    }
}

/// Reads by hand, as publishing does, and keeps what it read.
pub(crate) struct ByHand {
    connection: PgConnection,
    reader: Reader,
    pub(crate) changes: Vec<ChangeRow>,
}

impl ByHand {
    pub(crate) fn new(app: &TestApp, changes_max: usize) -> Self {
        let reader = Reader::new("default", &app.database.url, changes_max);
        Self {
            connection: app.connect(),
            reader,
            changes: Vec::new(),
        }
    }

    /// Reads one batch and moves the cursor; tells how many changes there were.
    pub(crate) fn read(&mut self) -> usize {
        let Some(batch) = self.reader.read(&mut self.connection).unwrap() else {
            return 0;
        };
        let is_moved = cursor_advance(&mut self.connection, advance(&batch)).unwrap();
        assert!(is_moved);
        self.changes.extend_from_slice(&batch.changes);
        batch.changes.len()
    }

    /// How many changes were written between the last two reads.
    pub(crate) fn written(&self) -> usize {
        self.reader.written()
    }

    /// Reads one batch, and moves the cursor in a transaction that is then rolled back.
    pub(crate) fn read_and_fail(&mut self) {
        let Some(batch) = self.reader.read(&mut self.connection).unwrap() else {
            return;
        };
        self.connection
            .transaction(|connection| {
                cursor_advance(connection, advance(&batch))?;
                Err::<(), _>(diesel::result::Error::RollbackTransaction)
            })
            .unwrap_err();
    }

    /// Reads until there is nothing more.
    pub(crate) fn read_all(&mut self) -> &[ChangeRow] {
        while self.read() > 0 {}
        // A batch that was split at its very end is closed by an empty one.
        while self.read() > 0 {}
        &self.changes
    }

    /// `op key`, in the order in which they were read.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.changes.iter().map(describe).collect()
    }
}

/// `u 1:a->b`
pub(crate) fn describe(change: &ChangeRow) -> String {
    let parse = |text: &Option<String>| -> Value {
        text.as_deref()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    };
    let (before, after) = (parse(&change.before), parse(&change.after));
    let id = if after.is_null() {
        &before["id"]
    } else {
        &after["id"]
    };
    let v = |image: &Value| image["v"].as_str().unwrap_or("-").to_owned();
    format!("{} {id}:{}->{}", change.op, v(&before), v(&after))
}

/// Runs statements; panics with the statement if they fail.
pub(crate) fn run(connection: &mut PgConnection, sql: &str) {
    connection
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The session's backend, for signals and for looking at its locks.
pub(crate) fn backend(connection: &mut PgConnection) -> i32 {
    use diesel::{RunQueryDsl as _, sql_types::Integer};
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    let row: Row = diesel::sql_query("select pg_backend_pid() as pid")
        .get_result(connection)
        .unwrap();
    row.pid
}
