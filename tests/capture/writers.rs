//! Writers of every kind: what they commit is captured, what they roll back is not, and none of
//! them fails or is changed by it.

use diesel::RunQueryDsl as _;

use crate::{
    reading::{ByHand, backend, rows_app, run},
    support::{
        app::{Options, TestApp},
        postgres::Kind,
    },
};

async fn app() -> TestApp {
    rows_app("", Options::default()).await
}

#[tokio::test]
async fn every_isolation_level_is_captured() {
    let app = app().await;
    let mut hand = ByHand::new(&app, 1000);
    for (id, level) in ["read committed", "repeatable read", "serializable"]
        .iter()
        .enumerate()
    {
        let mut writer = app.connect();
        run(
            &mut writer,
            &format!("begin isolation level {level}; select 1 from rows"),
        );
        // Another commits after the writer's snapshot.
        app.sql(&format!("insert into rows values ({}, 'other')", 100 + id));
        run(
            &mut writer,
            &format!("insert into rows values ({id}, 'x'); commit"),
        );
        assert_eq!(hand.read(), 2, "{level}");
    }
}

#[tokio::test]
async fn savepoints_and_rolled_back_work() {
    let app = app().await;
    let mut hand = ByHand::new(&app, 1000);
    app.sql(
        "begin;
         insert into rows values (1, 'kept');
         savepoint a; insert into rows values (2, 'dropped'); rollback to a;
         savepoint b; insert into rows values (3, 'released'); release b;
         do $$ begin
             begin insert into rows values (4, 'dropped'); raise 'no';
             exception when others then null; end;
             insert into rows values (5, 'kept');
         end $$;
         commit",
    );
    app.sql("begin; insert into rows values (6, 'dropped'); rollback");
    hand.read_all();
    assert_eq!(
        hand.seen(),
        ["c 1:-->kept", "c 3:-->released", "c 5:-->kept"]
    );
}

#[tokio::test]
async fn prepared_transactions_are_read_when_they_are_committed() {
    // GIVEN a cluster with prepared transactions, where the bell is off
    let options = Options {
        kind: Kind::TwoPhase,
        ..Options::default()
    };
    let app = rows_app("", options).await;
    let mut hand = ByHand::new(&app, 1000);
    // WHEN
    app.sql("begin; insert into rows values (1, 'a'); prepare transaction 'one'");
    app.sql("begin; insert into rows values (2, 'b'); prepare transaction 'two'");
    app.sql("insert into rows values (3, 'c')");
    assert_eq!(hand.read(), 1);
    app.sql("rollback prepared 'two'");
    assert_eq!(hand.read(), 0);
    app.sql("commit prepared 'one'");
    // THEN
    hand.read_all();
    assert_eq!(hand.seen(), ["c 3:-->c", "c 1:-->a"]);
    let function = app.texts("select prosrc from pg_proc where proname like 'capture\\_%'");
    assert!(
        !function[0].contains("pg_notify"),
        "a transaction that notified can't be prepared"
    );
}

#[tokio::test]
async fn statements_that_are_cancelled_leave_no_lock_and_no_change() {
    // GIVEN a writer whose statement is cancelled again and again in its middle
    let app = app().await;
    app.sql("insert into rows select i, '0' from generate_series(1, 200) i");
    let mut hand = ByHand::new(&app, 10_000);
    hand.read_all();
    let mut writer = app.connect();
    let pid = backend(&mut writer);
    let url = app.database.url.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let canceller = std::thread::spawn(move || {
        let mut connection = crate::support::postgres::connect(&url);
        let mut cancels = 0;
        while matches!(
            stopped.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Empty)
        ) {
            diesel::sql_query(format!("select pg_cancel_backend({pid})"))
                .execute(&mut connection)
                .unwrap();
            cancels += 1;
        }
        cancels
    });
    // WHEN
    let (mut committed, mut failed) = (0, 0);
    for round in 0..300 {
        match diesel::sql_query(format!("update rows set v = '{round}'")).execute(&mut writer) {
            Ok(rows) => committed += rows,
            Err(_) => failed += 1,
        }
    }
    drop(stop);
    let cancels: u32 = canceller.join().unwrap();
    // THEN what committed was captured, and no session kept the doorbell's lock
    assert!(failed > 0, "no statement was cancelled in {cancels} tries");
    hand.changes.clear();
    assert_eq!(hand.read_all().len(), committed);
    let kept = app.count(
        "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock' \
        and database = (select oid from pg_database where datname = current_database())",
    );
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn copy_merge_on_conflict_and_cascades() {
    let app = TestApp::start(
        "create table public.rows (id integer primary key, v text);
         create table public.children (id integer primary key,
             parent integer references rows on delete cascade)",
    )
    .await;
    app.apply(
        "[namespace.t]\n[object_type.\"t.row\"]\ntable = \"public.rows\"\nkey = [\"id\"]\n\
         [object_type.\"t.child\"]\ntable = \"public.children\"\nkey = [\"id\"]",
    )
    .await;
    let mut hand = ByHand::new(&app, 1000);
    app.sql("insert into rows values (1, 'a') on conflict do nothing");
    app.sql("insert into rows values (1, 'b') on conflict (id) do update set v = excluded.v");
    app.sql("insert into rows values (1, 'c') on conflict do nothing");
    app.sql(
        "merge into rows r using (values (1, 'm'), (2, 'n')) as s (id, v) on r.id = s.id \
             when matched then update set v = s.v when not matched then insert values (s.id, s.v)",
    );
    app.sql("insert into children values (10, 1)");
    app.sql("with gone as (delete from rows where id = 2 returning id) select * from gone");
    app.sql("delete from rows where id = 1");
    app.sql("update rows set v = 'nobody' where id = 99");
    hand.read_all();
    assert_eq!(
        hand.seen(),
        [
            "c 1:-->a",
            "u 1:a->b",
            "u 1:b->m",
            "c 2:-->n",
            "c 10:-->-",
            "d 2:n->-",
            "d 1:m->-",
            "d 10:-->-"
        ]
    );
}

#[tokio::test]
async fn the_actor_and_the_session_user_are_kept_apart() {
    let app = app().await;
    let mut hand = ByHand::new(&app, 10);
    app.sql(
        "begin; set local rowcall.actor = 'anna'; set local rowcall.traceparent = '00-1-2-01'; \
             insert into rows values (1, 'a'); commit; insert into rows values (2, 'b')",
    );
    hand.read_all();
    assert_eq!(hand.changes[0].actor.as_deref(), Some("anna"));
    assert_eq!(hand.changes[0].traceparent.as_deref(), Some("00-1-2-01"));
    assert_eq!(hand.changes[0].role, "rowcall");
    assert_eq!(
        hand.changes[1].actor, None,
        "a setting of one transaction is not the next one's"
    );
}

#[tokio::test]
async fn a_writer_needs_no_rights_on_rowcalls_schema() {
    // GIVEN a role that may write the table and nothing else
    let app = app().await;
    app.sql("drop role if exists plain_writer");
    app.sql(
        "create role plain_writer; grant insert, update on rows to plain_writer; \
             grant select on rows to plain_writer",
    );
    let mut hand = ByHand::new(&app, 10);
    // WHEN it writes, also with a search_path and temporary objects meant to mislead
    app.sql(
        "set role plain_writer; create temp table change_1 (x integer); \
             set search_path = pg_temp, public; insert into rows values (1, 'a')",
    );
    // THEN
    assert_eq!(hand.read_all().len(), 1);
    for sql in [
        "set role plain_writer; insert into rowcall.change_1 select * from rowcall.change",
        "set role plain_writer; select rowcall.capture_1()",
        "set role plain_writer; select nextval('rowcall.change_seq')",
    ] {
        let refused = diesel::connection::SimpleConnection::batch_execute(&mut app.connect(), sql);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("permission denied"),
            "{sql}"
        );
    }
    app.sql("drop owned by plain_writer; drop role plain_writer");
}
