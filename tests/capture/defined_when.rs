//! `when_clause = true`: the same, judged in the triggers' WHEN; and the ways from one to another.

use diesel::{Connection as _, connection::SimpleConnection as _};
use rowcall::{
    capture::install::reconcile,
    catalog::{load::Folder, model::Catalog},
    stage::Stage as _,
};

use crate::{
    defined::{ORDERS, RELEASED, captured, forget, metadata},
    support::{app::TestApp, postgres::connect},
};

const WHEN: &str = "when_clause = true";

async fn app(event_types: &[(&str, &str, &str)]) -> TestApp {
    let app = TestApp::start(ORDERS).await;
    app.apply(&metadata(WHEN, event_types)).await;
    app
}

fn triggers(app: &TestApp) -> Vec<String> {
    app.texts(
        "select tgname || case when tgqual is null then '' else ' when' end from pg_trigger \
         where tgname like ' rowcall%' order by tgname",
    )
}

/// Tells whether a trigger was written again.
fn version(app: &TestApp) -> Vec<String> {
    app.texts("select xmin::text from pg_trigger where tgname like ' rowcall%' order by tgname")
}

#[tokio::test]
async fn the_condition_stands_in_the_trigger() {
    // GIVEN
    let app = app(&[RELEASED, ("gone", "[\"delete\"]", "")]).await;
    // THEN what nobody wants has no trigger, and what everybody wants no condition
    assert_eq!(
        triggers(&app),
        [
            " rowcall delete",
            " rowcall truncate",
            " rowcall update when"
        ]
    );
    // WHEN
    app.sql(
        "insert into orders values (30, 'released');
         update orders set status = 'released';
         update orders set status = 'released';
         delete from orders where id in (1, 30)",
    );
    // THEN
    let captured = captured(&app);
    assert_eq!(captured.len(), 20 + 2, "{captured:?}");
    assert!(!captured.contains(&"u 30".to_owned()) && captured.contains(&"d 30".to_owned()));
    forget(&app);
}

#[tokio::test]
async fn triggers_are_replaced_when_they_must_be_and_not_otherwise() {
    let mut app = app(&[RELEASED]).await;
    let first = version(&app);
    // Upkeep touches nothing that is right, a new leaf included.
    let now = app.clock.now() + chrono::TimeDelta::days(2);
    app.instance.upkeep.run_once(now).await.unwrap();
    app.instance.upkeep.run_once(now).await.unwrap();
    assert_eq!(version(&app), first);
    // Another condition.
    app.apply(&metadata(
        WHEN,
        &[("held", "[\"update\"]", "new.status == 'held'")],
    ))
    .await;
    app.sql(
        "update orders set status = 'released'; update orders set status = 'held' where id = 1",
    );
    assert_eq!(captured(&app), ["u 1"]);
    // Judged in the body.
    app.apply(&metadata("", &[RELEASED])).await;
    assert_eq!(triggers(&app), [" rowcall", " rowcall truncate"]);
    app.sql(
        "update orders set status = 'open'; update orders set status = 'released' where id = 2",
    );
    assert_eq!(captured(&app), ["u 1", "u 2"]);
    // Everything.
    let all = metadata("", &[RELEASED]).replace("\"defined\"", "\"all\"");
    app.apply(&all).await;
    app.sql("update orders set amount = 1 where id = 3");
    assert_eq!(captured(&app), ["u 1", "u 2", "u 3"]);
    // And back.
    app.apply(&metadata(WHEN, &[RELEASED])).await;
    assert_eq!(
        triggers(&app),
        [" rowcall truncate", " rowcall update when"]
    );
    forget(&app);
}

#[tokio::test]
async fn the_owners_ddl_of_a_conditions_column_is_refused_until_the_condition_goes() {
    // GIVEN
    let mut app = app(&[RELEASED]).await;
    let mut owner = app.connect();
    for ddl in [
        "alter table orders drop column status",
        "alter table orders alter column status type varchar(10)",
    ] {
        let refused = owner.batch_execute(ddl).unwrap_err().to_string();
        let is_refused = refused.contains("used in a trigger") || refused.contains("depend on it");
        assert!(is_refused, "{refused}");
    }
    // Other columns are free, and so are new ones.
    app.sql(
        "alter table orders drop column note; alter table orders alter column amount type text",
    );
    // WHEN the object type judges in the body for the time of the migration
    app.apply(&metadata("", &[RELEASED])).await;
    // THEN
    owner
        .batch_execute("alter table orders alter column status type varchar(10)")
        .unwrap();
    app.apply(&metadata(WHEN, &[RELEASED])).await;
    app.sql(
        "update orders set status = 'held'; update orders set status = 'released' where id = 1",
    );
    assert_eq!(captured(&app), ["u 1"]);
    forget(&app);
    // AND a renamed column, in whose place another one comes, is noticed by upkeep
    app.sql("alter table orders rename status to state; alter table orders add column status text");
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.sql("update orders set state = 'x'; update orders set status = 'released' where id = 2");
    assert_eq!(captured(&app), ["u 2"]);
    forget(&app);
}

#[tokio::test]
async fn who_may_only_make_triggers_can_go_from_one_to_another() {
    // GIVEN a service that owns Rowcall's schema, and of the table has the right TRIGGER alone
    let app = TestApp::start(&format!(
        "{ORDERS};
         do $$ begin
             create role clerk login; grant rowcall_capture to clerk;
         exception when duplicate_object then null; end $$;
         grant trigger on orders to clerk;
         alter schema rowcall owner to clerk;
         grant all on all tables in schema rowcall to clerk;
         do $$ declare name text; begin
             for name in select c.oid::regclass::text from pg_class c \
                     where relnamespace = 'rowcall'::regnamespace and relkind in ('r', 'p') loop
                 execute 'alter table ' || name || ' owner to clerk';
             end loop;
         end $$;
         grant all on all sequences in schema rowcall to clerk"
    ))
    .await;
    let as_clerk = app.database.url.replace("user=rowcall", "user=clerk");
    assert_ne!(as_clerk, app.database.url);
    let mut clerk = connect(&as_clerk);
    clerk.batch_execute("set jit = off").unwrap();
    let mut put = |toml: &str| {
        let folder = Folder::of_text("t.toml", toml);
        let mut catalog = Catalog::default();
        for item in folder.object_types {
            catalog.object_types.insert(item.name, item.spec);
        }
        for item in folder.event_types {
            catalog.event_types.insert(item.name, item.spec);
        }
        let now = app.clock.now();
        clerk
            .transaction(|connection| reconcile(connection, &catalog, 100_000, now))
            .unwrap();
    };
    let held = ("held", "[\"update\"]", "new.status == 'held'");
    let all = metadata("", &[]).replace("\"defined\"", "\"all\"");
    // WHEN it goes from everything to a WHEN and back, and from one WHEN to another
    put(&all);
    put(&metadata(WHEN, &[RELEASED]));
    app.sql("update orders set status = 'released' where id = 1; update orders set amount = 1");
    assert_eq!(captured(&app), ["u 1"]);
    forget(&app);
    put(&metadata(WHEN, &[held]));
    app.sql(
        "update orders set status = 'released'; update orders set status = 'held' where id = 2",
    );
    assert_eq!(captured(&app), ["u 2"]);
    forget(&app);
    // THEN what it can't drop never fires, so that nothing is captured twice
    put(&metadata("", &[held]));
    app.sql(
        "update orders set amount = 2 where id > 2; update orders set status = 'held' where id < 3",
    );
    assert_eq!(captured(&app), ["u 1", "u 2"]);
    assert_eq!(
        triggers(&app),
        [" rowcall", " rowcall truncate", " rowcall update when"]
    );
    let written = version(&app);
    put(&metadata("", &[held]));
    assert_eq!(version(&app), written);
    put(&all);
    forget(&app);
    app.sql("update orders set amount = 3 where id = 1");
    assert_eq!(captured(&app), ["u 1"]);
    forget(&app);
}

#[tokio::test]
async fn inheritance_children_judge_too() {
    let app = TestApp::start(&format!(
        "{ORDERS}; create table public.child (extra text, primary key (id)) inherits (orders);
         insert into child values (50, 'open', 1, 'n', 'EU', 'x')"
    ))
    .await;
    for more in [WHEN, ""] {
        app.apply(&metadata(more, &[RELEASED])).await;
        app.sql(
            "update orders set amount = 2 where id >= 20;
             update orders set status = 'released' where id >= 20",
        );
        assert_eq!(captured(&app), ["u 20", "u 50"], "{more}");
        app.sql("update orders set status = 'open'");
        forget(&app);
    }
}
