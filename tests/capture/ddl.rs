//! Tables that change while they are written (F17): no statement fails through capture, and every
//! change that was committed is an event or a gap.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
};

use diesel::{PgConnection, RunQueryDsl as _, connection::SimpleConnection as _, sql_query};
use rowcall::{
    config::Limits,
    stage::{Progress, Stage as _},
};

use crate::{
    reading::{rows_metadata, run},
    support::{
        app::{Options, TestApp},
        postgres::connect,
    },
};

/// How often all changes of a table are made.
const CYCLES: usize = 2;
const WRITERS: usize = 3;
/// Rows that the writers write, change and delete while one statement of the owner's runs. Without
/// a bound they would outrun publishing on a busy machine.
const ROWS_EACH: usize = 60;

/// Why a writer may fail: it names what is not there at the moment.
const OWN_FAULTS: [&str; 2] = ["does not exist", "no partition of relation"];

/// What a writer committed: the texts that it wrote, and how many rows it deleted.
#[derive(Default)]
struct Committed {
    texts: BTreeSet<String>,
    deleted: usize,
    failed: usize,
}

/// How many rows may be written yet; `None`: no more ever.
struct Pace {
    left: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Pace {
    fn add(&self, rows: usize) {
        let mut left = self.left.lock().unwrap();
        *left = left.map(|left| left + rows);
        self.changed.notify_all();
    }

    fn stop(&self) {
        *self.left.lock().unwrap() = None;
        self.changed.notify_all();
    }

    /// Waits until a row may be written; false: none may be any more.
    fn take(&self) -> bool {
        let left = self.left.lock().unwrap();
        let is_none = |left: &mut Option<usize>| *left == Some(0);
        let mut left = self.changed.wait_while(left, is_none).unwrap();
        match left.as_mut() {
            Some(left) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }
}

/// Writers that go on until they are stopped, each with rows of its own.
struct Writers {
    pace: Arc<Pace>,
    threads: Vec<JoinHandle<Committed>>,
}

impl Writers {
    /// `statements` make the texts of an insert, an update and a delete of an id and a text.
    fn start(url: &str, statements: fn(usize, &str) -> [String; 3]) -> Self {
        let pace = Arc::new(Pace {
            left: Mutex::new(Some(0)),
            changed: Condvar::new(),
        });
        let threads = (0..WRITERS)
            .map(|writer| {
                let (url, pace) = (url.to_owned(), Arc::clone(&pace));
                std::thread::spawn(move || write(&url, writer, &pace, statements))
            })
            .collect();
        Self { pace, threads }
    }

    fn stop(self) -> Committed {
        self.pace.stop();
        let mut all = Committed::default();
        for thread in self.threads {
            let one = thread.join().unwrap();
            all.texts.extend(one.texts);
            all.deleted += one.deleted;
            all.failed += one.failed;
        }
        all
    }
}

fn write(
    url: &str,
    writer: usize,
    pace: &Pace,
    statements: fn(usize, &str) -> [String; 3],
) -> Committed {
    let (mut connection, mut committed) = (connect(url), Committed::default());
    let mut count = 0;
    while pace.take() {
        count += 1;
        let id = writer * 1_000_000 + count;
        for step in 0..3 {
            let text = format!("w{writer}-{count}-{step}");
            match sql_query(statements(id, &text)[step].as_str()).execute(&mut connection) {
                // What the insert could not write, the others do not find.
                Ok(0) => {}
                Ok(rows) if step == 2 => committed.deleted += rows,
                Ok(_) => {
                    committed.texts.insert(text);
                }
                Err(error) => {
                    let error = error.to_string();
                    let is_own = OWN_FAULTS.iter().any(|fault| error.contains(fault));
                    assert!(is_own, "the writer failed: {error}");
                    committed.failed += 1;
                }
            }
        }
    }
    committed
}

/// Runs DDL while the writers write; it may have to wait for them, never for long.
fn alter(connection: &mut PgConnection, writers: &Writers, ddl: &str) {
    writers.pace.add(ROWS_EACH);
    let tries = (0..100).any(|_| connection.batch_execute(ddl).is_ok());
    assert!(tries, "{ddl}");
}

async fn publish(app: &mut TestApp) {
    let now = app.clock.now();
    while app.instance.publish.run_once(now).await.unwrap() == Progress::Worked {}
}

/// Makes what is installed fit the table. It gives way to writers and to DDL: then it is tried
/// again later.
async fn reconcile(app: &mut TestApp) {
    let now = app.clock.now();
    drop(app.instance.upkeep.run_once(now).await);
}

/// Every text that was committed is in an event, and where it is not, a gap stands for it.
fn assert_all_told(app: &TestApp, committed: &Committed) {
    let texts: BTreeSet<String> = app
        .texts(
            "select body::json #>> '{data,after,v}' from rowcall.event \
             where type like '%.created' or type like '%.updated'",
        )
        .into_iter()
        .collect();
    let gaps = |op: &str| {
        app.count(&format!(
            "select count(*) from rowcall.event where type = 'rowcall.capture.gap' \
             and body::json #>> '{{data,captured_op}}' {op} 'delete'"
        )) as usize
    };
    let unexpected: Vec<&String> = texts.difference(&committed.texts).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let missing = committed.texts.difference(&texts).count();
    assert_eq!(missing, gaps("<>"), "of {} texts", committed.texts.len());
    let deleted = app.count("select count(*) from rowcall.event where type like '%.deleted'");
    assert_eq!(deleted as usize + gaps("="), committed.deleted);
    assert!(
        committed.texts.len() > 100,
        "{} texts are no load",
        committed.texts.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_and_tables_change_under_load() {
    // GIVEN writers of a table
    let mut app = TestApp::start(
        "create table public.rows (id bigint primary key, v text, a integer, b varchar(10) default '7', \
             secret text default 'hush')",
    )
    .await;
    app.apply(&rows_metadata("exclude = [\"secret\"]")).await;
    let writers = Writers::start(&app.database.url, |id, text| {
        [
            format!("insert into rows (id, v) values ({id}, '{text}')"),
            format!("update rows set v = '{text}' where id = {id}"),
            format!("delete from rows where id = {id}"),
        ]
    });
    // WHEN its owner changes everything about it, again and again
    let mut owner = app.connect();
    run(&mut owner, "set lock_timeout = '5s'");
    for cycle in 0..CYCLES {
        for ddl in [
            "alter table rows add column n integer default 5",
            "alter table rows drop column a",
            "alter table rows alter column b drop default, alter column b type integer using b::integer",
            "alter table rows rename column b to c",
            "alter table rows add column at timestamptz default now(), add column j json",
            "alter table rows alter column id type integer",
            "alter table rows rename to rows_aside",
            "alter table rows_aside rename to rows",
            "alter table rows rename column id to ident",
            "alter table rows rename column ident to id",
            "alter table rows drop constraint rows_pkey",
            "alter table rows add primary key (id)",
            "alter table rows drop column n, drop column at, drop column j",
            "alter table rows alter column id type bigint",
            "alter table rows rename column c to b",
            "alter table rows alter column b type varchar(10), add column a integer",
            "alter table rows rename column secret to shown",
            "alter table rows rename column shown to secret",
        ] {
            alter(&mut owner, &writers, ddl);
            publish(&mut app).await;
            if cycle > 0 {
                reconcile(&mut app).await;
            }
        }
    }
    let committed = writers.stop();
    // THEN
    publish(&mut app).await;
    assert_all_told(&app, &committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_column_that_is_gone_makes_gaps_of_every_change() {
    // GIVEN writers that need no key
    let mut app =
        TestApp::start("create table public.rows (id bigserial primary key, v text, w bigint)")
            .await;
    app.apply(&rows_metadata("")).await;
    let writers = Writers::start(&app.database.url, |id, text| {
        [
            format!("insert into rows (v, w) values ('{text}', {id})"),
            format!("update rows set v = '{text}' where w = {id}"),
            format!("delete from rows where w = {id}"),
        ]
    });
    let mut owner = app.connect();
    for ddl in [
        "alter table rows rename column id to number",
        "alter table rows drop column number",
        "alter table rows add column id bigserial primary key",
    ] {
        alter(&mut owner, &writers, ddl);
        // WHEN each of them has written a while
        let before = app.count("select last_value from rowcall.change_seq");
        while app.count("select last_value from rowcall.change_seq") < before + 150 {
            writers.pace.add(ROWS_EACH);
            publish(&mut app).await;
        }
        reconcile(&mut app).await;
    }
    let committed = writers.stop();
    // THEN what happened without the key is told as gaps, the rest as ever
    publish(&mut app).await;
    assert_eq!(committed.failed, 0);
    assert_all_told(&app, &committed);
    assert!(
        app.count("select count(*) from rowcall.event where type = 'rowcall.capture.gap'") >= 250
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_come_and_go_under_load() {
    // GIVEN writers of rows that move from one partition to the next
    // On a busy machine many changes of others fall between the two halves of a move, and a small
    // batch can't hold them together.
    let limits = Limits {
        changes_per_batch_max: Limits::default().changes_per_batch_max,
        ..Limits::for_testing()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with(
        "create table public.rows (id bigint, part integer, v text, primary key (id, part)) \
             partition by list (part);
         create table public.rows_0 partition of rows for values in (0);
         create table public.rows_1 partition of rows for values in (1)",
        options,
    )
    .await;
    app.apply(&rows_metadata("").replace("[\"id\"]", "[\"id\", \"part\"]"))
        .await;
    let writers = Writers::start(&app.database.url, |id, text| {
        let part = id % 3;
        [
            format!("insert into rows values ({id}, {part}, '{text}')"),
            format!("update rows set v = '{text}', part = (part + 1) % 3 where id = {id}"),
            format!("delete from rows where id = {id}"),
        ]
    });
    // WHEN a partition is made, attached, detached and dropped
    let mut owner = app.connect();
    run(&mut owner, "set lock_timeout = '5s'");
    for cycle in 0..CYCLES {
        for ddl in [
            "create table rows_2 partition of rows for values in (2)",
            "create index on rows (v)",
            "alter table rows detach partition rows_2",
            "drop table rows_2",
            "create table rows_2 (v text, extra integer, part integer not null, id bigint not null)",
            "alter table rows_2 drop column extra",
            "alter table rows attach partition rows_2 for values in (2)",
            // Its rows go silently, as with a DETACH: so it has to be empty.
            "begin; lock table rows in exclusive mode; update rows set part = 1, v = v where part = 2; \
             alter table rows detach partition rows_2; commit; drop table rows_2",
        ] {
            alter(&mut owner, &writers, ddl);
            publish(&mut app).await;
            if cycle > 0 {
                reconcile(&mut app).await;
            }
        }
    }
    let mut committed = writers.stop();
    publish(&mut app).await;
    // THEN every move is one event, and nothing is told of that was not committed
    assert_eq!(
        app.count("select count(*) from rowcall.event where type = 'rowcall.capture.gap'"),
        0
    );
    assert!(committed.failed > 0, "no writer met a missing partition");
    // What a partition took with it when it was detached is not deleted by anybody.
    committed.deleted =
        app.count("select count(*) from rowcall.event where type like '%.deleted'") as usize;
    assert_all_told(&app, &committed);
    let halves = app.texts(
        "select d.object_key || ' ' || c.object_key from rowcall.event c \
         join rowcall.event d on d.xid = c.xid and d.type like '%.deleted' \
         where c.type like '%.created'",
    );
    assert_eq!(halves, [""; 0]);
}

#[tokio::test]
async fn a_column_that_is_added_is_in_the_next_event() {
    let mut app = TestApp::start("create table public.rows (id integer primary key)").await;
    app.apply(&rows_metadata("")).await;
    let mut writer = app.connect();
    for statement in [
        "insert into rows values (1)",
        "alter table rows add column n integer default 5",
        "update rows set id = 1",
        "alter table rows drop column n, add column m text default 'm'",
        "update rows set id = 1",
    ] {
        run(&mut writer, statement);
        publish(&mut app).await;
    }
    assert_eq!(
        app.texts("select body::json #> '{data,after}' from rowcall.event order by position"),
        [r#"{"id":1}"#, r#"{"id":1,"n":5}"#, r#"{"id":1,"m":"m"}"#]
    );
}

#[tokio::test]
async fn a_table_that_is_dropped_takes_nothing_with_it_that_was_committed() {
    // GIVEN changes that nobody read yet
    let mut app = TestApp::start(
        "create table public.rows (id integer primary key, v text);
         create table public.others (id integer primary key, v text)",
    )
    .await;
    let others = "[object_type.\"t.other\"]\ntable = \"public.others\"\nkey = [\"id\"]";
    app.apply(&format!("{}\n{others}", rows_metadata(""))).await;
    app.sql("insert into rows values (1, 'a'); insert into others values (1, 'b')");
    // WHEN the table is dropped, upkeep runs, and another of its name is made
    app.sql("drop table rows");
    reconcile(&mut app).await;
    app.sql("insert into others values (2, 'c')");
    app.sql("create table public.rows (id integer primary key, v text)");
    reconcile(&mut app).await;
    app.sql("insert into rows values (2, 'd')");
    // THEN all is told
    publish(&mut app).await;
    assert_eq!(
        app.texts("select type || ' ' || object_key from rowcall.event order by position"),
        [
            "t.row.created 1",
            "t.other.created 1",
            "t.other.created 2",
            "t.row.created 2"
        ]
    );
}

/// Rows of the large statements; a campaign sets ROWCALL_TEST_ROWS to a million.
fn rows() -> usize {
    std::env::var_os("ROWCALL_TEST_ROWS")
        .map_or(20_000, |text| text.to_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_large_copy_and_a_large_cascade_are_told_row_by_row() {
    // GIVEN
    let rows = rows();
    let mut app = TestApp::start(
        "create table public.parents (id integer primary key);
         create table public.rows (id integer primary key,
             parent integer default 1 references parents on delete cascade on update cascade)",
    )
    .await;
    app.apply(&rows_metadata("")).await;
    app.sql("insert into parents values (1)");
    // WHEN rows are copied, and each of them is changed and deleted by a single row's change
    let mut writer = app.connect();
    run(&mut writer, "set statement_timeout = 0");
    run(
        &mut writer,
        &format!("copy rows (id) from program 'seq 1 {rows}'"),
    );
    run(&mut writer, "update parents set id = 2");
    run(&mut writer, "delete from parents");
    publish(&mut app).await;
    // THEN each row has its three events, in their order
    let wrong = app.texts(
        "select object_key from rowcall.event group by object_key having \
             string_agg(split_part(type, '.', 3), ' ' order by position) \
             <> 'created updated deleted'",
    );
    assert_eq!(wrong, [""; 0]);
    assert_eq!(
        app.count("select count(*) from rowcall.event"),
        3 * rows as i64
    );
}
