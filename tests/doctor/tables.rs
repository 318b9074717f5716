//! Findings about captured tables: each is there when it is provoked, gone when its remedy was
//! taken, and not there before.

use diesel::connection::SimpleConnection as _;
use rowcall::{doctor::finding::Severity, stage::Stage as _};

use crate::{
    house::{ORDERS, SALES, findings, found, only, saying, shop, warnings},
    support::app::TestApp,
};

/// Provokes a finding with `sql` and mends it with the remedy that the finding itself gives.
async fn provoked_and_mended(code: &str, severity: Severity, sql: &str, says: &str) -> TestApp {
    let mut app = shop().await;
    assert!(found(&app, code).await.is_empty(), "{code} before");
    app.sql(sql);
    let finding = only(&found(&app, code).await, severity, subject(code));
    assert!(finding.message.contains(says), "{finding:?}");
    // It is a hole, so /readyz has it with its remedy
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &[&finding.message, &finding.remedy]), 1);
    // WHEN its remedy is taken THEN it is gone, from both
    app.sql(&finding.remedy);
    assert!(found(&app, code).await.is_empty(), "{code} after");
    assert_eq!(saying(&warnings(&mut app).await, &[&finding.message]), 0);
    app
}

fn subject(code: &str) -> &'static str {
    match code {
        "key-nullable" | "key-deferrable" | "key-not-unique" => "\"public\".\"orders\"",
        _ => "public.orders",
    }
}

#[tokio::test]
async fn a_sound_shop_has_no_errors_and_warnings() {
    let mut app = shop().await;
    let findings = findings(&app).await;
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        // Other tests of this program change the one role that all databases share.
        .filter(|finding| !finding.code.starts_with("capture-role"))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_disabled_trigger() {
    let sql = "alter table orders disable trigger \" rowcall\"";
    provoked_and_mended("trigger-disabled", Severity::Error, sql, "is disabled").await;
}

#[tokio::test]
async fn a_trigger_that_fires_for_replicas_only() {
    let sql = "alter table orders enable replica trigger \" rowcall\"";
    let says = "fires only where session_replication_role is replica";
    provoked_and_mended("trigger-replica-only", Severity::Error, sql, says).await;
}

#[tokio::test]
async fn a_table_that_logical_replication_writes_into() {
    let sql = "create subscription \"doctor_SUB\" connection 'dbname=nowhere' publication p \
            with (connect = false); \
        insert into pg_subscription_rel (srsubid, srrelid, srsubstate) \
            select oid, 'public.orders'::regclass, 'r' from pg_subscription \
            where subname = 'doctor_SUB'";
    let says = "worker does not fire";
    let app = provoked_and_mended("replica-not-captured", Severity::Error, sql, says).await;
    // A database with a subscription can't be dropped.
    app.sql(
        "alter subscription \"doctor_SUB\" set (slot_name = none); \
         drop subscription \"doctor_SUB\"",
    );
}

#[tokio::test]
async fn a_key_that_may_be_null() {
    let sql = "alter table orders drop constraint orders_pkey, add unique (id), \
            alter column id drop not null";
    provoked_and_mended(
        "key-nullable",
        Severity::Error,
        sql,
        "`id` of `sales.order`",
    )
    .await;
}

#[tokio::test]
async fn a_key_that_is_unique_no_more() {
    let sql = "alter table orders drop constraint orders_pkey; \
        alter table orders alter column id set not null";
    provoked_and_mended("key-not-unique", Severity::Error, sql, "no unique index").await;
}

#[tokio::test]
async fn a_key_that_is_unique_at_commit() {
    let sql = "alter table orders drop constraint orders_pkey; \
        alter table orders alter column id set not null, add unique (id) deferrable";
    let says = "the order of their events is not promised";
    provoked_and_mended("key-deferrable", Severity::Warning, sql, says).await;
}

#[tokio::test]
async fn an_unlogged_table() {
    let sql = "alter table orders set unlogged";
    provoked_and_mended("unlogged-table", Severity::Warning, sql, "after a crash").await;
}

#[tokio::test]
async fn a_key_column_that_was_renamed_and_columns_that_should_be_hidden() {
    // GIVEN
    let app = TestApp::start(ORDERS).await;
    app.apply(&format!("{SALES}mask = [\"card\"]\nexclude = [\"status\"]"))
        .await;
    assert!(found(&app, "hidden-column-gone").await.is_empty());
    // WHEN columns get other names
    app.sql(
        "alter table orders rename id to number; alter table orders rename card to plastic; \
         alter table orders rename status to state",
    );
    // THEN the key, and what is told now, are named
    let key = found(&app, "key-column-gone").await;
    let key = only(&key, Severity::Error, "\"public\".\"orders\"");
    assert!(key.message.contains("key column `id`"), "{key:?}");
    let hidden = found(&app, "hidden-column-gone").await;
    assert_eq!(hidden.len(), 2, "{hidden:#?}");
    assert!(
        hidden
            .iter()
            .any(|one| one.message.contains("`mask`") && one.message.contains("`card`"))
    );
}

#[tokio::test]
async fn a_table_that_is_gone_and_one_that_took_its_place() {
    // GIVEN
    let mut app = shop().await;
    for code in ["table-gone", "table-replaced", "not-installed"] {
        assert!(found(&app, code).await.is_empty());
    }
    // WHEN it is dropped
    app.sql("drop table orders");
    // THEN
    only(
        &found(&app, "table-gone").await,
        Severity::Error,
        "public.orders",
    );
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &["public.orders", "is not there"]), 1);
    // WHEN another takes its name
    app.sql(ORDERS);
    only(
        &found(&app, "table-replaced").await,
        Severity::Error,
        "public.orders",
    );
    only(
        &found(&app, "trigger-missing").await,
        Severity::Error,
        "public.orders",
    );
    // THEN upkeep installs the triggers, and there is nothing to tell
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    assert!(found(&app, "table-replaced").await.is_empty());
    assert!(found(&app, "trigger-missing").await.is_empty());
    app.sql("insert into orders (id) values (1)");
    app.run_until_idle().await;
    assert_eq!(app.count("select count(*) from rowcall.event"), 1);
}

#[tokio::test]
async fn a_renamed_table_is_let_go_of_when_another_has_its_name() {
    // GIVEN a table that was put aside for a new one
    let mut app = shop().await;
    app.sql(&format!(
        "alter table orders rename to orders_old; {}",
        ORDERS.replace("primary key", "unique not null")
    ));
    // WHEN
    warnings(&mut app).await;
    // THEN the old one has no trigger, its function is gone, and the new one is captured
    let triggers = "select count(*) from pg_trigger where not tgisinternal and tgrelid = ";
    assert_eq!(app.count(&format!("{triggers}'orders_old'::regclass")), 0);
    assert_eq!(app.count(&format!("{triggers}'orders'::regclass")), 2);
    assert_eq!(
        app.count("select count(*) from pg_proc where proname ~ '^capture_[0-9]+$'"),
        1
    );
    app.sql("insert into orders_old (id) values (1); insert into orders (id) values (2)");
    app.run_until_idle().await;
    assert_eq!(app.texts("select object_key from rowcall.event"), ["2"]);
}

#[tokio::test]
async fn an_edited_function_and_one_that_another_owns() {
    // GIVEN
    let mut app = shop().await;
    let codes = ["function-edited", "function-owner", "function-gone"];
    for code in codes {
        assert!(found(&app, code).await.is_empty());
    }
    // WHEN somebody takes out what rings
    let owner = app.texts("select current_user")[0].clone();
    app.sql(&format!(
        "alter function rowcall.capture_1() owner to {owner}"
    ));
    let owned = only(
        &found(&app, "function-owner").await,
        Severity::Warning,
        "public.orders",
    );
    assert!(owned.message.contains(&owner), "{owned:?}");
    app.sql(
        "create or replace function rowcall.capture_1() returns trigger language plpgsql as \
         'begin return null; end'",
    );
    // THEN
    let edited = only(
        &found(&app, "function-edited").await,
        Severity::Error,
        "public.orders",
    );
    // and the remedy puts it back
    let (statement, _) = edited.remedy.split_once(';').unwrap();
    app.sql(statement);
    app.sql(&owned.remedy);
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    for code in codes {
        assert!(found(&app, code).await.is_empty());
    }
    // WHEN the settings are taken off, it is another function as well
    app.sql("alter function rowcall.capture_1() reset all");
    assert_eq!(found(&app, "function-edited").await.len(), 1);
    // WHEN it is dropped with its triggers THEN upkeep makes both again
    app.sql("drop function rowcall.capture_1() cascade");
    only(
        &found(&app, "function-gone").await,
        Severity::Error,
        "public.orders",
    );
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
    assert!(found(&app, "function-gone").await.is_empty());
}

#[tokio::test]
async fn functions_of_every_form_are_as_they_were_written() {
    for (form, names) in [
        ("exclude = [\"card\"]", 2),
        ("capture = \"defined\"", 2),
        ("mask = [\"$rowcall$;\"]", 2),
        ("", 2),
    ] {
        // GIVEN an object type whose function has this form
        let mut app = TestApp::start(ORDERS).await;
        app.sql("alter table orders add \"$rowcall$;\" text");
        app.apply(&format!("{SALES}\n{form}")).await;
        // THEN nothing is said of it
        assert_eq!(warnings(&mut app).await, Vec::<String>::new(), "{form}");
        // WHEN either of its functions is another THEN that is told, until upkeep wrote it anew
        let functions = app.texts(
            "select oid::regprocedure::text from pg_proc \
             where pronamespace = 'rowcall'::regnamespace and proname like 'capture%' order by 1",
        );
        assert_eq!(functions.len(), names, "{form}: {functions:?}");
        for function in functions {
            app.sql(&format!("alter function {function} set work_mem = '1MB'"));
            let edited = found(&app, "function-edited").await;
            let edited = only(&edited, Severity::Error, "public.orders");
            app.sql(edited.remedy.split_once(';').unwrap().0);
            assert_eq!(warnings(&mut app).await, Vec::<String>::new(), "{form}");
        }
    }
}

#[tokio::test]
async fn children_and_parts_that_no_trigger_tells_of() {
    // GIVEN a table that is inherited from
    let mut app = shop().await;
    app.sql(
        "create table orders_eu (unique (id)) inherits (orders); \
         create foreign data wrapper nothing; \
         create server away foreign data wrapper nothing; \
         create foreign table orders_us () inherits (orders) server away",
    );
    // THEN the child has no trigger yet, and the foreign table will have none
    let missing = found(&app, "trigger-missing").await;
    let missing = only(&missing, Severity::Error, "public.orders_eu");
    assert!(missing.message.contains("inherits"), "{missing:?}");
    only(
        &found(&app, "foreign-part").await,
        Severity::Warning,
        "public.orders_us",
    );
    // WHEN upkeep ran THEN only the foreign table is left
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &["public.orders_us"]), 1);
    assert_eq!(saying(&shown, &["public.orders_eu"]), 0);
    // WHEN a session has a temporary child THEN it is told, and upkeep and applying go on
    let mut session = app.connect();
    session
        .batch_execute("create temporary table mine () inherits (public.orders)")
        .unwrap();
    let temporary = found(&app, "temporary-part").await;
    assert_eq!(temporary.len(), 1, "{temporary:?}");
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &["temporary table"]), 1);
    app.apply(&format!("{SALES}description = \"again\"")).await;
    drop(session);
}

#[tokio::test]
async fn columns_that_cost_much_or_become_no_json() {
    // GIVEN a table with large texts, json, and a type with a cast of its own
    let app = TestApp::start(
        "create table docs (id integer primary key, body text, raw json, title text); \
         alter table docs alter column body set storage external; \
         create type mood as enum ('good', 'bad'); \
         create function mood_json(mood) returns json language sql immutable \
             as 'select null::json'; \
         create cast (mood as json) with function mood_json(mood); \
         create table moods (id integer primary key, mood mood)",
    )
    .await;
    let metadata = "[namespace.office]\n\
        [object_type.\"office.doc\"]\ntable = \"public.docs\"\nkey = [\"id\"]\n\
        [object_type.\"office.mood\"]\ntable = \"public.moods\"\nkey = [\"id\"]\n";
    app.apply(metadata).await;
    assert!(found(&app, "large-column").await.is_empty());
    assert!(found(&app, "json-parsed").await.is_empty());
    let cast = only(
        &found(&app, "json-cast").await,
        Severity::Warning,
        "\"public\".\"moods\"",
    );
    assert!(
        cast.message.contains("the type public.mood of `mood`"),
        "{cast:?}"
    );
    // WHEN there is much of it, from before it was captured
    app.sql(
        "alter table docs disable trigger all; \
         insert into docs select i, repeat('x', 20000), '{}', 'short' from generate_series(1, 100) as i; \
         alter table docs enable trigger all",
    );
    let large = only(
        &found(&app, "large-column").await,
        Severity::Note,
        "\"public\".\"docs\"",
    );
    assert!(
        large
            .message
            .contains("MB out of line, in `body`, `raw`, `title`"),
        "{large:?}"
    );
    // WHEN some was captured THEN the column is measured
    app.sql("update docs set title = 'changed' where id < 10");
    let large = only(
        &found(&app, "large-column").await,
        Severity::Note,
        "\"public\".\"docs\"",
    );
    assert!(
        large
            .message
            .starts_with("`body` is captured with about 20 kB"),
        "{large:?}"
    );
    // WHEN it is excluded THEN it is no finding, but the json is parsed now
    app.apply(&metadata.replace(
        "key = [\"id\"]\n[object_type.\"office.mood",
        "key = [\"id\"]\nexclude = [\"body\"]\n[object_type.\"office.mood",
    ))
    .await;
    assert!(found(&app, "large-column").await.is_empty());
    let json = only(
        &found(&app, "json-parsed").await,
        Severity::Note,
        "\"public\".\"docs\"",
    );
    assert!(json.message.contains("`raw` is json"), "{json:?}");
    drain(app).await;
}

/// What was captured is published, so that no work is left.
async fn drain(mut app: TestApp) {
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    app.run_until_idle().await;
}
