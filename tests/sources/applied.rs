//! Catalogue and triggers, which are in two databases.

use rowcall::{
    capture::install::reconcile,
    catalog::{apply::apply, model::Catalog},
    db::{Connection, Database},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{METADATA, ROWS, Two, V, applied, count, order, sources};

#[tokio::test]
async fn what_is_committed_before_the_apply_answers_but_after_its_triggers_is_judged_by_it() {
    // GIVEN a writer that writes between the triggers there and the commit here
    let mut two = Two::start_with(ROWS, "[namespace.t]", Default::default()).await;
    let database = Database::new(&two.app.database.url, 1);
    let calls = Arc::new(AtomicU32::new(0));
    let (counted, there) = (Arc::clone(&calls), two.crm.url.clone());
    let install = move |connection: &mut Connection, catalog: &Catalog, now| {
        reconcile(connection, catalog, 100_000, now)?;
        // The second is the repository's.
        if counted.fetch_add(1, Ordering::Relaxed) == 1 {
            crate::support::postgres::execute(&there, "insert into rows values (1, 'between')");
        }
        Ok::<_, rowcall::capture::install::InstallError>(())
    };
    let metadata = Arc::new(order(METADATA, sources(&two.crm.url)));
    apply(&database, metadata, two.app.clock.now(), install)
        .await
        .unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    // THEN
    two.run().await;
    assert_eq!(two.events(V), ["->between"]);
}

#[tokio::test]
async fn an_apply_that_fails_here_leaves_the_running_catalogue_and_its_capture() {
    // GIVEN an object type that runs
    let mut two = Two::start().await;
    let database = Database::new(&two.app.database.url, 1);
    // WHEN an apply that takes it out, and brings another, fails after it has been there
    two.there("create table public.other (id integer primary key, v text)");
    let toml = METADATA.replace("crm.row", "crm.other").replace(
        "\"public.rows\"\nkey = [\"id\"]\nsource",
        "\"public.other\"\nkey = [\"id\"]\nsource",
    );
    let calls = AtomicU32::new(0);
    let calls = Arc::new(calls);
    let counted = Arc::clone(&calls);
    let install = move |connection: &mut Connection, catalog: &Catalog, now| {
        if counted.fetch_add(1, Ordering::Relaxed) == 1 {
            return Err(diesel::result::Error::RollbackTransaction.into());
        }
        reconcile(connection, catalog, 100_000, now)
    };
    let metadata = Arc::new(order(&toml, sources(&two.crm.url)));
    apply(&database, metadata, two.app.clock.now(), install)
        .await
        .unwrap_err();
    // THEN no change of what runs is missed, and nothing is made of the others
    two.there("insert into rows values (1, 'a'); insert into other values (1, 'b')");
    two.run().await;
    assert_eq!(two.events(V), ["->a"]);
    // AND upkeep tidies up
    two.upkeep().await.unwrap();
    let triggers = "select count(*) from pg_trigger where tgname like '% rowcall%' \
         and tgrelid = 'public.other'::regclass";
    assert_eq!(count(&two.crm.url, triggers), 0);
}

#[tokio::test]
async fn an_object_type_may_move_to_another_database_and_back() {
    let mut two = Two::start().await;
    two.there("insert into rows values (1, 'there')");
    // WHEN crm.row becomes a table here, while its last change there is not copied yet
    two.app
        .sql("create table public.local (id integer primary key, v text)");
    let here = METADATA.replace(
        "\"public.rows\"\nkey = [\"id\"]\nsource = \"crm\"",
        "\"public.local\"\nkey = [\"id\"]",
    );
    applied(&two.app, &here, sources(&two.crm.url))
        .await
        .unwrap();
    two.there("insert into rows values (2, 'no more')");
    two.app.sql("insert into local values (3, 'here')");
    two.run().await;
    two.app.apply(METADATA).await;
    two.there("insert into rows values (4, 'back')");
    two.app.sql("insert into local values (5, 'no more')");
    two.run().await;
    // THEN each change is told as one of where it was made
    let mut events = two.events(&format!("concat(e->>'source', ' ', {V})"));
    events.sort();
    assert_eq!(
        events,
        [
            "/rowcall/crm ->back",
            "/rowcall/crm ->there",
            "/rowcall/default ->here"
        ]
    );
}
