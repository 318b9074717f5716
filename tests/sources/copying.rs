//! Order, batches and what can't be copied.

use rowcall::{config::Limits, stage::Stage as _};

use crate::{METADATA, Two, V, copy_all, count, support::postgres::connect};

#[tokio::test]
async fn a_large_transaction_is_copied_in_pieces_that_stay_in_order() {
    // GIVEN batches of 100 changes
    let mut two = Two::start().await;
    two.there("insert into rows select n, '0' from generate_series(1, 250) as n");
    two.there("update rows set v = '1'");
    two.there("update rows set v = '2'");
    // WHEN
    two.run().await;
    // THEN every object has its three changes, in order
    let lanes = two.app.texts(
        "select string_agg(body::json->'data'->'after'->>'v', ' ' order by position) \
         from rowcall.event group by object_key",
    );
    assert_eq!(lanes.len(), 250);
    assert!(lanes.iter().all(|lane| lane == "0 1 2"), "{lanes:?}");
    assert_eq!(
        two.app
            .count("select count(distinct xid) from rowcall.event"),
        3
    );
    assert!(
        two.app
            .count("select count(distinct xid) from rowcall.change")
            >= 8
    );
}

#[tokio::test]
async fn a_transaction_that_stays_open_is_copied_when_it_commits() {
    let mut two = Two::start().await;
    let mut writer = connect(&two.crm.url);
    let run = |writer: &mut _, sql: &str| {
        diesel::connection::SimpleConnection::batch_execute(writer, sql).unwrap();
    };
    run(&mut writer, "begin; insert into rows values (1, 'late')");
    two.there("insert into rows values (2, 'early')");
    two.run().await;
    run(&mut writer, "commit");
    two.run().await;
    assert_eq!(two.events(V), ["->early", "->late"]);
}

const NESTED: &str = "create table public.rows (id integer primary key, v integer);
    create function public.again() returns trigger language plpgsql as $$ begin
        if new.v < 100 then update rows set v = v + 100 where id = new.id; end if;
        if new.id = 1 and new.v < 100 then update rows set v = v + 1000 where id = 2; end if;
        return null; end $$;
    create trigger a_app after update on rows for each row execute function public.again();
    insert into rows values (1, 1), (2, 2)";

#[tokio::test]
async fn nested_triggers_are_put_right_in_copies_as_well() {
    let mut two = Two::start_with(NESTED, METADATA, Limits::for_testing()).await;
    // Two transactions that the copier takes together.
    two.there("update rows set v = v + 1");
    two.there("update rows set v = v - 900 where id = 2");
    two.run().await;
    assert_eq!(
        two.app
            .count("select count(distinct xid) from rowcall.change"),
        1
    );
    // THEN each row's changes are a chain that ends at what the table holds
    for id in [1, 2] {
        let of_row = two.app.texts(&format!(
            "select {V} from (select position, body::json as e from rowcall.event \
             where object_key = '{id}' order by position) as q"
        ));
        let links: Vec<_> = of_row
            .iter()
            .map(|text| text.split_once("->").unwrap())
            .collect();
        assert!(links.len() > 1);
        for pair in links.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "{of_row:?}");
        }
        let stands = count(&two.crm.url, &format!("select v from rows where id = {id}"));
        assert_eq!(links.last().unwrap().1, stands.to_string());
    }
}

#[tokio::test]
async fn what_folding_a_move_between_partitions_needs_is_copied_and_kept_together() {
    let mut two = Two::start_with(
        "create table public.rows (id integer, v text, region text, primary key (id, region)) \
             partition by list (region);
         create table public.rows_a partition of rows for values in ('a');
         create table public.rows_b partition of rows for values in ('b');
         insert into rows select n, 'x', 'a' from generate_series(1, 150) as n",
        &METADATA.replace(
            "key = [\"id\"]\nsource",
            "key = [\"id\", \"region\"]\nsource",
        ),
        Limits {
            changes_per_batch_max: 99,
            ..Limits::for_testing()
        },
    )
    .await;
    // WHEN as many rows move as make several batches of an odd number
    two.there("update rows set region = 'b'");
    two.run().await;
    // THEN the two halves of each move have one transaction there, and were copied by one here
    assert_eq!(
        two.app.count(
            "select count(*) from ( \
                 select from rowcall.change \
                 group by coalesce(before, after)->>'id' \
                 having count(*) = 2 and count(distinct relation) = 2 and count(distinct xid) = 1 \
                     and count(distinct source_xid) = 1 \
                     and array_agg(op order by seq) = '{d,c}') as q"
        ),
        150
    );
    assert!(
        two.app
            .count("select count(distinct xid) from rowcall.change")
            >= 4
    );
}

#[tokio::test]
async fn a_row_that_the_repository_cannot_hold_becomes_a_gap_and_stops_no_other() {
    // GIVEN a repository that can't look as deep into JSON as the source
    let there = "create table public.rows (id integer primary key, v json)";
    let mut two = Two::start_with(there, METADATA, Limits::for_testing()).await;
    two.app.sql(&format!(
        "alter database {} set max_stack_depth = '100kB'",
        two.app.database.name
    ));
    // Pooled connections keep the old setting.
    two.app.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()",
    );
    two.there("insert into rows values (1, '1')");
    two.there("insert into rows values (2, (repeat('[', 3000) || repeat(']', 3000))::json)");
    two.there("insert into rows values (3, '3')");
    // WHEN; what was terminated fails first
    let now = two.app.clock.now();
    for _ in 0..20 {
        let copied = copy_all(&mut two.app.instance, now).await;
        let published = two.app.instance.publish.run_once(now).await;
        let left = two.app.count("select 3 - count(*) from rowcall.event");
        if copied.is_ok() && published.is_ok() && left == 0 {
            break;
        }
    }
    two.run().await;
    // THEN
    assert_eq!(
        two.events("concat(e->>'type', ' ', e->'data'->>'reason')"),
        [
            "crm.row.created ",
            "rowcall.capture.gap not_copied",
            "crm.row.created "
        ]
    );
}

#[tokio::test]
async fn the_tables_there_have_what_the_shared_code_asks_for() {
    // The same code installs, rotates and reads in both databases.
    let two = Two::start().await;
    let columns = "select string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod)), \
         ', ' order by a.attname) from pg_attribute a \
         where a.attrelid = 'rowcall.TABLE'::regclass and a.attnum > 0 and not a.attisdropped";
    for table in ["change", "rotation", "capture_target"] {
        let asked = columns.replace("TABLE", table);
        assert_eq!(
            two.app.texts(&asked),
            crate::texts(&mut connect(&two.crm.url), &asked),
            "rowcall.{table}: see src/foreign/migrations"
        );
    }
}
