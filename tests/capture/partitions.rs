//! Partitions, inheritance, TRUNCATE, and the application's own triggers.

use rowcall::{
    capture::{
        change::Change,
        relink::{Table, relink},
    },
    stage::Stage as _,
};

use crate::{
    reading::{ByHand, describe, rows_metadata},
    support::app::TestApp,
};

/// What publishing makes of what was read from a table with these key columns, of which it is
/// partitioned by the last: relinked and folded.
fn linked(hand: &ByHand, key: &[&str]) -> Vec<Change> {
    let key: Vec<String> = key.iter().map(ToString::to_string).collect();
    let changes = hand
        .changes
        .iter()
        .map(|row| Change::read(row.clone(), &key).unwrap())
        .collect();
    let table = Table {
        key: &key,
        partitioned_by: &key[1..],
        is_whole: true,
    };
    relink(changes, |_| Some(table))
}

fn described(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let text = describe(&change.row);
            format!("{}{}", change.op.as_str(), &text[1..])
        })
        .collect()
}

const PARTITIONED: &str = "create table public.rows (id integer, v text, region text, \
        primary key (id, region)) partition by list (region);
    create table public.rows_a partition of rows for values in ('a');
    create table public.rows_b partition of rows for values in ('b')";

#[tokio::test]
async fn a_row_that_moves_between_partitions_is_updated() {
    let app = TestApp::start(PARTITIONED).await;
    app.apply(&rows_metadata("").replace("[\"id\"]", "[\"id\", \"region\"]"))
        .await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("insert into rows values (1, 'x', 'a'), (2, 'y', 'a')");
    app.sql("insert into rows_b values (3, 'direct', 'b')");
    app.sql("update rows set region = 'b', v = v || '!' where id < 3");
    hand.read_all();
    let moved = linked(&hand, &["id", "region"]).split_off(3);
    assert_eq!(described(&moved), ["update 1:x->x!", "update 2:y->y!"]);
    assert_eq!(moved[0].previous_key.as_deref(), Some("1/a"));
    assert_eq!(moved[0].key.as_deref(), Some("1/b"));
}

#[tokio::test]
async fn a_partition_that_is_attached_later_is_captured() {
    let mut app = TestApp::start(PARTITIONED).await;
    app.apply(&rows_metadata("").replace("[\"id\"]", "[\"id\", \"region\"]"))
        .await;
    let mut hand = ByHand::new(&app, 100);
    app.sql(
        "create table rows_c (like rows including all); \
         alter table rows attach partition rows_c for values in ('c')",
    );
    app.sql("insert into rows values (1, 'x', 'c'); insert into rows_c values (2, 'y', 'c')");
    assert_eq!(hand.read_all().len(), 2);
    // Its TRUNCATE is, after the next upkeep.
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.sql("truncate rows_c");
    hand.read_all();
    assert_eq!(hand.changes[2].op, "t");
}

#[tokio::test]
async fn truncate_is_captured_on_the_table_and_on_each_partition() {
    let app = TestApp::start(PARTITIONED).await;
    app.apply(&rows_metadata("").replace("[\"id\"]", "[\"id\", \"region\"]"))
        .await;
    let mut hand = ByHand::new(&app, 100);
    app.sql("truncate rows_a");
    app.sql("begin; truncate rows; rollback");
    assert_eq!(hand.read_all().len(), 1);
    app.sql("truncate rows");
    assert!(hand.read_all().iter().all(|change| change.op == "t"));
}

#[tokio::test]
async fn inheritance_children_are_captured_whichever_table_is_named() {
    let app = TestApp::start(
        "create table public.rows (id integer primary key, v text);
         create table public.child (extra text, primary key (id)) inherits (public.rows)",
    )
    .await;
    app.apply(&rows_metadata("")).await;
    let mut hand = ByHand::new(&app, 100);
    app.sql(
        "insert into child values (1, 'a', 'more'); update rows set v = 'b'; delete from child",
    );
    hand.read_all();
    assert_eq!(hand.seen(), ["c 1:-->a", "u 1:a->b", "d 1:b->-"]);
    assert!(hand.changes[1].after.as_ref().unwrap().contains("more"));
}

#[tokio::test]
async fn the_applications_triggers_do_not_turn_the_order_around() {
    // GIVEN triggers that update the same row again, and another row of the same statement
    let app = TestApp::start(
        "create table public.rows (id integer primary key, v integer);
         create function public.again() returns trigger language plpgsql as $$ begin
             if new.v < 100 then update rows set v = v + 100 where id = new.id; end if;
             if new.id = 1 and new.v < 100 then update rows set v = v + 1000 where id = 2; end if;
             return null; end $$;
         create trigger a_app after update on rows for each row execute function public.again();
         insert into rows values (1, 1), (2, 2)",
    )
    .await;
    app.apply(&rows_metadata("")).await;
    let mut hand = ByHand::new(&app, 100);
    // WHEN
    app.sql("update rows set v = v + 1");
    // THEN each row's changes are a chain that ends at what the table holds
    hand.read_all();
    let changes = linked(&hand, &["id"]);
    for id in ["1", "2"] {
        let of_row: Vec<_> = changes
            .iter()
            .filter(|change| change.key.as_deref() == Some(id))
            .collect();
        assert!(of_row.len() > 1);
        for pair in of_row.windows(2) {
            assert_eq!(pair[0].row.after, pair[1].row.before, "{:?}", hand.seen());
        }
        let stands = &app.texts(&format!(
            "select row_to_json(r) from rows r where id = {id}"
        ))[0];
        assert_eq!(of_row.last().unwrap().row.after.as_ref(), Some(stands));
    }
}
