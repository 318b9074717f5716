//! Looking after many object types takes no more statements than looking after a few.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use diesel::{
    Connection as _,
    connection::{InstrumentationEvent, SimpleConnection as _},
};
use rowcall::{
    capture::install::reconcile,
    catalog::{load::Folder, model::Catalog},
    stage::Stage as _,
};

use crate::support::app::TestApp;

/// So many tables of each of five shapes: captured whole, by what is defined, by a WHEN; with
/// partitions, and with a child.
fn tables(each: usize) -> (String, String) {
    let mut sql = String::new();
    let mut toml = "[namespace.m]\n".to_owned();
    for n in 0..each {
        let _ = write!(
            sql,
            "create table public.whole_{n} (id integer primary key, v text);
             create table public.defined_{n} (id integer primary key, v text);
             create table public.when_{n} (id integer primary key, v text);
             create table public.parted_{n} (id integer primary key) partition by list (id);
             create table public.part_{n} partition of parted_{n} for values in (1);
             create table public.parent_{n} (id integer primary key);
             create table public.child_{n} (extra text) inherits (parent_{n});"
        );
        for (shape, more) in [
            ("whole", ""),
            ("defined", "capture = \"defined\""),
            ("when", "capture = \"defined\"\nwhen_clause = true"),
            ("parted", ""),
            ("parent", ""),
        ] {
            let _ = write!(
                toml,
                "[object_type.\"m.{shape}_{n}\"]\ntable = \"public.{shape}_{n}\"\nkey = [\"id\"]\n\
                 {more}\n"
            );
            if !more.is_empty() {
                let _ = write!(
                    toml,
                    "[event_type.\"m.{shape}_{n}.held\"]\nobject_type = \"m.{shape}_{n}\"\n\
                     when = \"row.v == 'held'\"\n"
                );
            }
        }
    }
    (sql, toml)
}

/// How many statements it takes to see that nothing is to be done.
async fn statements(each: usize) -> usize {
    let (sql, toml) = tables(each);
    let mut app = TestApp::start(&sql).await;
    app.apply(&toml).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    let folder = Folder::of_text("t.toml", &toml);
    let mut catalog = Catalog::default();
    for item in folder.object_types {
        catalog.object_types.insert(item.name, item.spec);
    }
    for item in folder.event_types {
        catalog.event_types.insert(item.name, item.spec);
    }
    let written = app.texts("select xmin::text from rowcall.capture_target order by id");
    assert_eq!(written.len(), 5 * each);
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let mut connection = app.connect();
    connection
        .batch_execute("set search_path = pg_catalog; set jit = off")
        .unwrap();
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    connection
        .transaction(|connection| reconcile(connection, &catalog, 100_000, now))
        .unwrap();
    // Nothing was written anew.
    assert_eq!(
        app.texts("select xmin::text from rowcall.capture_target order by id"),
        written
    );
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn upkeep_of_many_object_types_takes_as_many_statements_as_of_a_few() {
    assert_eq!(statements(1).await, statements(8).await);
}
