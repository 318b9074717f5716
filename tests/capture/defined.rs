//! `capture = "defined"`: only what an event type can match is written down, judged in the
//! function's body.

use diesel::connection::SimpleConnection as _;
use rowcall::{
    capture::{
        change::Change,
        relink::{Table, relink},
    },
    stage::Stage as _,
};

use crate::{
    reading::ByHand,
    support::{
        app::{Options, TestApp},
        postgres::Kind,
    },
};

pub(crate) const ORDERS: &str = "create table public.orders (id integer primary key, status text, \
     amount numeric(12,2), note varchar(100), region char(4));
     insert into public.orders select i, 'open', i, 'n', 'EU' from generate_series(1, 20) i";

/// Metadata of [`ORDERS`] with these event types: name, operations and condition.
pub(crate) fn metadata(more: &str, event_types: &[(&str, &str, &str)]) -> String {
    let mut toml = format!(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
         key = [\"id\"]\ncapture = \"defined\"\n{more}\n"
    );
    for (name, on, when) in event_types {
        toml += &format!(
            "[event_type.\"sales.order.{name}\"]\nobject_type = \"sales.order\"\non = {on}\n"
        );
        if !when.is_empty() {
            toml += &format!("when = \"\"\"{when}\"\"\"\n");
        }
    }
    toml
}

pub(crate) const RELEASED: (&str, &str, &str) = (
    "released",
    "[\"update\"]",
    "old.status != 'released' && new.status == 'released'",
);

/// `op id`, in the order of capture.
pub(crate) fn captured(app: &TestApp) -> Vec<String> {
    app.texts(
        "select op::text || ' ' || coalesce(coalesce(after, before)->>'id', '-') \
         from rowcall.change order by seq",
    )
}

/// Forgets what was captured, so that a test can look at what comes next.
pub(crate) fn forget(app: &TestApp) {
    app.sql("delete from rowcall.change");
}

async fn app(event_types: &[(&str, &str, &str)]) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    app.apply(&metadata("", event_types)).await;
    app
}

#[tokio::test]
async fn only_what_an_event_type_can_match_is_written_down() {
    // GIVEN
    let app = app(&[RELEASED, ("large", "[\"create\"]", "row.amount >= 1000")]).await;
    // WHEN
    app.sql(
        "update orders set status = 'released' where id = 1;
         update orders set status = 'released' where id = 1;
         update orders set status = null where id = 2;
         update orders set status = 'released' where id = 2;
         update orders set amount = 5000 where id = 3;
         insert into orders values (30, 'open', 999.99), (31, 'open', 1000), (32, 'open', null), \
             (33, 'open', 'NaN');
         delete from orders where id < 5",
    );
    // THEN
    assert_eq!(captured(&app), ["u 1", "u 2", "c 31", "c 33"]);
    forget(&app);
}

#[tokio::test]
async fn what_cannot_be_lowered_is_captured() {
    // GIVEN a conjunct and a disjunct that have no SQL
    let app = app(&[
        (
            "matched",
            "[\"update\"]",
            "new.status == 'open' && new.note.matches('^x')",
        ),
        (
            "maybe",
            "[\"create\"]",
            "new.status == 'open' || new.note.matches('^x')",
        ),
    ])
    .await;
    // WHEN
    app.sql(
        "update orders set amount = 0 where id = 1;
         update orders set status = 'held' where id = 2;
         insert into orders values (30, 'held'), (31, 'open')",
    );
    // THEN what is left of a conjunction still judges, and nothing is left of a disjunction
    assert_eq!(captured(&app), ["u 1", "c 30", "c 31"]);
    forget(&app);
}

#[tokio::test]
async fn a_literal_ends_no_body() {
    let app = app(&[(
        "odd",
        "[\"update\"]",
        "new.status == '$rowcall$; begin; $$ $1' || new.status == '{{bell}}'",
    )])
    .await;
    app.sql(
        r"update orders set status = '$rowcall$; begin; $$ $1' where id = 1;
          update orders set status = '{{bell}}' where id = 2;
          update orders set status = '$rowcall$' where id = 3",
    );
    assert_eq!(captured(&app), ["u 1", "u 2"]);
    forget(&app);
}

#[tokio::test]
async fn without_event_types_only_truncate_is_captured() {
    let app = app(&[]).await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("update orders set amount = 0; delete from orders; truncate orders");
    hand.read_all();
    assert_eq!(hand.changes.len(), 1);
    assert_eq!(hand.changes[0].op, "t");
}

#[tokio::test]
async fn a_change_yields_only_what_is_written_down() {
    // GIVEN a subscription to everything, and a condition that is judged twice
    let mut app = app(&[
        RELEASED,
        ("matched", "[\"update\"]", "new.note.matches('^x')"),
    ])
    .await;
    // WHEN
    app.sql(
        "update orders set status = 'released' where id = 1;
         update orders set note = 'x', status = 'released' where id = 2;
         update orders set note = 'y' where id = 3",
    );
    app.run_until_idle().await;
    // THEN the last change was captured, and is no event
    assert_eq!(captured(&app).len(), 3);
    assert_eq!(
        app.texts("select type || ' ' || object_key from rowcall.event order by position"),
        [
            "sales.order.released 1",
            "sales.order.matched 2",
            "sales.order.released 2"
        ]
    );
}

#[tokio::test]
async fn the_owners_ddl_never_fails_a_writer_and_what_is_uncertain_is_captured() {
    // GIVEN a writer's session that has judged already
    let when =
        "new.status == 'released' && new.amount > 10 && new.note != 'x' && new.region == 'EU'";
    let app = app(&[("released", "[\"update\"]", when)]).await;
    let mut writer = app.connect();
    writer
        .batch_execute("update orders set note = 'n' where id = 1")
        .unwrap();
    assert!(captured(&app).is_empty());
    for ddl in [
        "alter table orders rename status to state",
        "alter table orders rename state to status",
        "alter table orders drop column note",
        "alter table orders add column note varchar(100)",
        "alter table orders alter column amount type text using 'x'",
        "alter table orders alter column amount type integer using 7",
        "alter table orders drop column amount",
        "alter table orders add column amount numeric(12,2)",
        "alter table orders add column more integer default 5",
        "alter table orders alter column region type text",
    ] {
        app.sql(ddl);
        let [_, _, _, name, ..] = ddl.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{ddl}");
        };
        // WHEN that session writes, and a new one
        forget(&app);
        writer
            .batch_execute("update orders set id = id where id = 1")
            .unwrap_or_else(|error| panic!("{ddl}: {error}"));
        app.sql("update orders set id = id where id = 2");
        // THEN where all columns are as the condition knows them, it judges; else all is captured
        let is_as_it_was = app.count(
            "select count(*) from pg_attribute where attrelid = 'orders'::regclass and not attisdropped \
             and (attname, format_type(atttypid, atttypmod)) in (('status', 'text'), \
                 ('amount', 'numeric(12,2)'), ('note', 'character varying(100)'), ('region', 'character(4)'))",
        ) == 4;
        let expected: &[&str] = if is_as_it_was { &[] } else { &["u 1", "u 2"] };
        assert_eq!(captured(&app), expected, "{ddl} {name}");
    }
    forget(&app);
}

#[tokio::test]
async fn writers_go_on_while_columns_of_a_condition_come_and_go() {
    // GIVEN writers that never stop, of rows that the condition does not want
    let when = "new.status == 'released' && new.amount > 10";
    let mut app = app(&[("released", "[\"update\"]", when)]).await;
    let url = app.database.url.clone();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (1..=3)
        .map(|id| {
            let (url, stop) = (url.clone(), std::sync::Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut connection = crate::support::postgres::connect(&url);
                let mut writes = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let sql = format!("update orders set id = id where id = {id}");
                    connection.batch_execute(&sql).unwrap();
                    writes += 1;
                }
                writes
            })
        })
        .collect();
    // WHEN
    for _ in 0..5 {
        for ddl in [
            "alter table orders drop column status",
            "alter table orders add column status text",
            "alter table orders rename amount to sum",
            "alter table orders rename sum to amount",
            "alter table orders alter column amount type integer using 5",
            "alter table orders alter column amount type numeric(12,2)",
        ] {
            app.sql(ddl);
            let now = app.clock.now();
            app.instance.upkeep.run_once(now).await.unwrap();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    // THEN none of them failed
    for writer in writers {
        assert!(writer.join().unwrap() > 0);
    }
    // AND the condition judges again
    forget(&app);
    app.sql("update orders set status = 'released', amount = 9 where id = 4");
    app.sql("update orders set status = 'released', amount = 11 where id = 5");
    assert_eq!(captured(&app), ["u 5"]);
    forget(&app);
}

#[tokio::test]
async fn nobody_else_judges() {
    // GIVEN operators and casts of a schema that a writer puts first, which raise or lie
    let app = TestApp::start(
        "create schema evil;
         create function evil.no(varchar, text) returns boolean language plpgsql as
             $$ begin raise 'evil'; end $$;
         create function evil.no(text, text) returns boolean language plpgsql as
             $$ begin raise 'evil'; end $$;
         create function evil.no(integer, bigint) returns boolean language plpgsql as
             $$ begin raise 'evil'; end $$;
         create operator evil.= (leftarg = varchar, rightarg = text, function = evil.no);
         create operator evil.= (leftarg = text, rightarg = text, function = evil.no);
         create operator evil.= (leftarg = integer, rightarg = bigint, function = evil.no);
         create function evil.starts_with(text, text) returns boolean language sql as 'select true';
         create type public.mood as enum ('good', 'bad');
         create function evil.mood(mood) returns text language plpgsql as
             $$ begin raise 'evil'; end $$;
         create cast (mood as text) with function evil.mood(mood) as implicit;
         create table public.orders (id integer primary key, status text, note varchar(100), m mood);
         insert into orders values (1, 'open', 'n', 'bad')",
    )
    .await;
    for more in ["", "when_clause = true"] {
        app.apply(&metadata(
            more,
            &[(
                "odd",
                "[\"update\"]",
                "new.status == 'x' || new.note == 'x' || new.m == 'good' || new.id == 7 \
                 || new.note.startsWith('x')",
            )],
        ))
        .await;
        // WHEN
        app.sql(
            "set search_path = evil, public, pg_catalog;
             create temp table pg_attribute (x integer);
             create function pg_temp.starts_with(text, text) returns boolean language sql as 'select true';
             update public.orders set note = 'y';
             set search_path = pg_temp, evil, public, pg_catalog;
             update public.orders set m = 'good'",
        );
        // THEN
        assert_eq!(captured(&app), ["u 1"], "{more}");
        forget(&app);
        app.sql("update orders set m = 'bad', note = 'n'");
        assert!(captured(&app).is_empty());
    }
}

#[tokio::test]
async fn a_move_between_partitions_is_captured_whole() {
    for more in ["", "when_clause = true"] {
        // GIVEN a partitioned table and a condition on updates
        let mut app = TestApp::start(
            "create table public.orders (id integer, status text, region text, \
                 primary key (id, region)) partition by list (region);
             create table public.orders_a partition of orders for values in ('a');
             create table public.orders_b partition of orders for values in ('b');
             insert into orders values (1, 'open', 'a'), (2, 'open', 'a'), (3, 'open', 'a')",
        )
        .await;
        let toml = metadata(more, &[RELEASED]).replace("[\"id\"]", "[\"id\", \"region\"]");
        app.apply(&toml).await;
        // WHEN rows move, one of them with what the condition wants
        app.sql(
            "update orders set status = 'released', region = 'b' where id = 1;
             update orders set region = 'b' where id = 2;
             update orders_a set status = 'held' where id = 3;
             update orders_a set status = 'released' where id = 3",
        );
        // THEN both halves of a move are captured, so that they can be folded where the key does
        // not say the partition
        assert_eq!(
            captured(&app),
            ["d 1", "c 1", "d 2", "c 2", "u 3"],
            "{more}"
        );
        let mut hand = ByHand::new(&app, 100);
        hand.read_all();
        let (key, partitioned_by) = (["id".to_owned()], ["region".to_owned()]);
        let changes = hand.changes.iter();
        let changes = changes.map(|row| Change::read(row.clone(), &key).unwrap());
        let table = Table {
            key: &key,
            partitioned_by: &partitioned_by,
            is_whole: false,
        };
        let folded = relink(changes.collect(), |_| Some(table));
        let ops: Vec<&str> = folded.iter().map(|change| change.op.as_str()).collect();
        assert_eq!(ops, ["update"; 3]);
        // AND a partition that comes later judges by the same condition
        app.sql(
            "create table orders_c (like orders including all);
             alter table orders attach partition orders_c for values in ('c');
             insert into orders values (9, 'open', 'c')",
        );
        forget(&app);
        app.sql("update orders set status = 'held' where id = 9");
        app.sql("update orders set status = 'released' where id = 9");
        assert_eq!(captured(&app), ["u 9"], "{more}");
        app.run_until_idle().await;
        assert_eq!(
            app.texts("select type || ' ' || object_key from rowcall.event"),
            ["sales.order.released 9/c"]
        );
    }
}

#[tokio::test]
async fn prepared_statements_and_the_other_isolation_levels_judge_alike() {
    let options = Options {
        kind: Kind::TwoPhase,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    app.apply(&metadata("", &[RELEASED])).await;
    app.sql(
        "begin isolation level serializable; update orders set status = 'released' where id = 1; \
             savepoint a; update orders set status = 'released' where id = 2; rollback to a; \
             update orders set amount = 0; commit;
         begin; update orders set status = 'released' where id = 3; update orders set amount = 1; \
             prepare transaction 'one'",
    );
    app.sql("commit prepared 'one'");
    assert_eq!(captured(&app), ["u 1", "u 3"]);
    // Judging writes nothing, so it takes no transaction id of its own for each row.
    let mut writer = app.connect();
    let ids =
        |app: &TestApp| app.count("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint");
    let before = ids(&app);
    writer
        .batch_execute("update orders set amount = amount + 1")
        .unwrap();
    assert!(ids(&app) - before <= 4);
    forget(&app);
}

#[tokio::test]
async fn changes_that_were_not_captured_do_not_turn_the_order_around() {
    // GIVEN an object that goes round in one transaction, with a step that nobody wants
    let mut app = app(&[
        RELEASED,
        (
            "reopened",
            "[\"update\"]",
            "old.status == 'held' && new.status == 'open'",
        ),
    ])
    .await;
    // WHEN
    app.sql(
        "begin; update orders set status = 'released' where id = 1;
         update orders set status = 'held' where id = 1;
         update orders set status = 'open' where id = 1; commit",
    );
    app.run_until_idle().await;
    // THEN it is told as it happened: what was captured would be a chain the other way round
    assert_eq!(captured(&app), ["u 1", "u 1"]);
    assert_eq!(
        app.texts("select type from rowcall.event order by position"),
        ["sales.order.released", "sales.order.reopened"]
    );
}
