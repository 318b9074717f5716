//! A source that is not what it was: noticed, not read, and read on after a rebase, without a
//! change that is lost or published twice. Whole clusters that are copied: see epoch_copies.rs.

use chrono::TimeDelta;
use rowcall::{
    db::Database,
    source::{
        list::{Overview, State, overview},
        rebase::{Rebased, Unread, rebase},
    },
    stage::Stage as _,
};

use crate::{
    reading::{ROWS, rows_app, rows_metadata},
    support::{
        app::{Options, TestApp},
        postgres::{Kind, TestDatabase, cluster, execute},
    },
};

/// Somebody who is told of every row, and whose receiver is never there: events and deliveries are
/// looked at in the repository.
pub(crate) const SUBSCRIBED: &str = "\n[subscription.mirror]\nobject_types = [\"t.row\"]\n\
     mode = \"batch\"\nschedule = { cron = \"0 0 1 1 *\" }\n\
     sink = { kind = \"webhook\", url = \"http://127.0.0.1:9/\", secret = { env = \"SIGNING_SECRET\" } }\n";

async fn app() -> TestApp {
    let app = rows_app("", Options::default()).await;
    app.apply(&format!("{}{SUBSCRIBED}", rows_metadata("")))
        .await;
    app
}

/// Publishes until there is nothing more.
pub(crate) async fn publish(app: &mut TestApp) {
    for _ in 0..20 {
        let now = app.clock.now();
        app.instance.publish.run_once(now).await.unwrap();
    }
}

/// Why publishing fails.
pub(crate) async fn refusal(app: &mut TestApp) -> String {
    let now = app.clock.now();
    let error = app.instance.publish.run_once(now).await.unwrap_err();
    rowcall::stage::chain(&error)
}

pub(crate) async fn rebased(app: &TestApp, unread: Unread) -> Rebased {
    let database = Database::new(&app.database.url, 1);
    rebase(&database, "default", unread).await.unwrap()
}

pub(crate) async fn default_source(app: &TestApp) -> Overview {
    let database = Database::new(&app.database.url, 1);
    let mut sources = database.transaction(overview).await.unwrap();
    sources.remove(0)
}

/// What was published, in its order: `created 1`, or `gap restored`.
pub(crate) fn published(app: &TestApp) -> Vec<String> {
    app.texts(
        "select case when type = 'rowcall.capture.gap' then 'gap ' || (body::json->'data'->>'reason') \
             else split_part(type, '.', 3) || ' ' || object_key end \
         from rowcall.event order by position",
    )
}

fn done(unread: i64, renumbered: i64, rebased: &Rebased) {
    let Rebased::Done {
        unread: u,
        renumbered: r,
        ..
    } = rebased
    else {
        panic!("{rebased:?}");
    };
    assert_eq!((*u, *r), (unread, renumbered), "{rebased:?}");
}

#[tokio::test]
async fn a_sequence_that_is_set_back_is_noticed_and_the_order_kept() {
    // GIVEN changes that are published, and one that is not
    let mut app = app().await;
    app.sql("insert into rows select i, 'a' from generate_series(1, 20) i");
    publish(&mut app).await;
    app.sql("update rows set v = 'b' where id = 1");
    // WHEN the sequence of changes is set back, and the same row changes again
    app.sql("select setval('rowcall.change_seq', 1)");
    app.sql("update rows set v = 'c' where id = 1; delete from rows where id = 1");
    // THEN nothing is read, and it is said what to do
    let refused = refusal(&mut app).await;
    assert!(
        refused.contains("set back") && refused.contains("`rowcall source rebase default`"),
        "{refused}"
    );
    // AND it stays so, though the numbers have caught up
    app.sql("select setval('rowcall.change_seq', 1000)");
    app.sql("insert into rows values (21, 'a')");
    assert!(refusal(&mut app).await.contains("set back"));
    assert_eq!(published(&app).len(), 20);
    let source = default_source(&app).await;
    assert_eq!(source.state, State::Stopped);
    assert_eq!(source.changes_unread, Some(4));
    // WHEN it is rebased
    done(4, 4, &rebased(&app, Unread::Publish).await);
    app.sql("insert into rows values (22, 'a')");
    publish(&mut app).await;
    // THEN each change is published once, in the order in which it was made
    assert_eq!(
        published(&app)[20..],
        [
            "updated 1",
            "updated 1",
            "deleted 1",
            "created 21",
            "created 22"
        ]
    );
    assert_eq!(
        app.texts(
            "select body::json->'data'->'after'->>'v' from rowcall.event \
             where position in (21, 22) order by position"
        ),
        ["b", "c"]
    );
    assert_eq!(default_source(&app).await.state, State::Reading);
    assert_eq!(rebased(&app, Unread::Publish).await, Rebased::NotStopped);
    // AND no number is there twice
    assert_eq!(
        app.count("select count(*) - count(distinct seq) from rowcall.change"),
        0
    );
}

#[tokio::test]
async fn numbers_that_are_given_twice_are_noticed_though_nobody_looked_meanwhile() {
    // GIVEN unread changes, whose numbers are given again by the time somebody looks
    let mut app = app().await;
    app.sql("insert into rows select i, 'a' from generate_series(1, 5) i");
    app.sql("select setval('rowcall.change_seq', 1, false)");
    app.sql("insert into rows select i, 'a' from generate_series(6, 12) i");
    // THEN
    assert!(refusal(&mut app).await.contains("twice"));
    done(12, 12, &rebased(&app, Unread::Publish).await);
    publish(&mut app).await;
    assert_eq!(published(&app).len(), 12);
    assert_eq!(
        app.count("select count(distinct object_key) from rowcall.event"),
        12
    );
}

#[tokio::test]
async fn an_older_copy_that_is_put_back_is_noticed_by_who_saw_the_later_state() {
    // GIVEN an instance that has published
    let mut app = app().await;
    app.sql("insert into rows values (1, 'a')");
    publish(&mut app).await;
    let before = app.texts("select revision from rowcall.source").remove(0);
    app.sql("insert into rows values (2, 'a')");
    publish(&mut app).await;
    // WHEN the state before comes back under it: everything in it fits together
    app.sql("delete from rowcall.event where object_key = '2'");
    app.sql(&format!("update rowcall.source set revision = {before}"));
    // THEN
    assert!(
        refusal(&mut app)
            .await
            .contains("a copy of it was put back")
    );
    assert_eq!(default_source(&app).await.state, State::Stopped);
    // AND after the rebase it is read on, by this instance and by others
    done(0, 0, &rebased(&app, Unread::Publish).await);
    app.sql("insert into rows values (3, 'a')");
    publish(&mut app).await;
    assert_eq!(published(&app), ["created 1", "gap restored", "created 3"]);
}

#[tokio::test]
async fn a_copy_of_the_database_in_the_same_cluster_is_noticed() {
    // GIVEN a database with published and unread changes
    let mut original = app().await;
    original.sql("insert into rows values (1, 'a')");
    publish(&mut original).await;
    original.sql("insert into rows values (2, 'a')");
    let name = original.database.name.clone();
    let url = original.database.url.clone();
    publish(&mut original).await;
    original.sql("insert into rows values (3, 'a')");
    let first_ids = original.texts("select id from rowcall.event");
    // WHEN it is copied (nobody may be connected for that)
    let copy = format!("{name}_copy");
    let admin = cluster(Kind::Standard).url("postgres");
    execute(
        &admin,
        &format!(
            "alter database {name} allow_connections false; \
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        ),
    );
    execute(&admin, &format!("create database {copy} template {name}"));
    execute(
        &admin,
        &format!("alter database {name} allow_connections true"),
    );
    let database = TestDatabase::at(&copy, &url.replace(&name, &copy));
    let mut app = TestApp::on_database(database, Options::default()).await;
    // THEN the copy is not read until it is said that it shall be
    let refused = refusal(&mut app).await;
    assert!(refused.contains("another database"), "{refused}");
    done(1, 0, &rebased(&app, Unread::Publish).await);
    publish(&mut app).await;
    assert_eq!(
        published(&app),
        ["created 1", "created 2", "created 3", "gap restored"]
    );
    // AND the original never stopped
    let now = original.clock.now();
    let _its_sessions_were_ended = original.instance.publish.run_once(now).await;
    publish(&mut original).await;
    assert_eq!(
        published(&original),
        ["created 1", "created 2", "created 3"]
    );
    assert_eq!(
        original.texts("select id from rowcall.event order by position limit 2"),
        first_ids
    );
}

#[tokio::test]
async fn a_backlog_is_read_in_pieces_while_others_write_and_survives_a_second_rebase() {
    // GIVEN more unread changes than a batch takes, a part of which was published
    let mut app = app().await;
    app.sql("insert into rows select i, 'a' from generate_series(1, 350) i");
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap();
    assert_eq!(published(&app).len(), 100);
    stop(&app);
    done(250, 0, &rebased(&app, Unread::Publish).await);
    app.instance.publish.run_once(now).await.unwrap();
    app.sql("insert into rows select i, 'b' from generate_series(351, 360) i");
    // WHEN it is stopped and rebased again, half-way
    stop(&app);
    // The gap of the first rebase is one of them.
    done(161, 0, &rebased(&app, Unread::Publish).await);
    app.sql("insert into rows values (361, 'c')");
    publish(&mut app).await;
    // THEN each change was published once and in order
    let created: Vec<String> = (1..=361).map(|id| format!("created {id}")).collect();
    let mut events = published(&app);
    events.retain(|event| !event.starts_with("gap"));
    assert_eq!(events, created);
    assert_eq!(app.count("select count(*) from rowcall.source_backlog"), 0);
    account_adds_up(&app).await;
}

#[tokio::test]
async fn what_is_skipped_is_told_and_counted() {
    // GIVEN unread changes of a stopped source
    let mut app = app().await;
    app.sql("insert into rows select i, 'a' from generate_series(1, 3) i");
    publish(&mut app).await;
    app.sql("insert into rows select i, 'a' from generate_series(4, 10) i");
    stop(&app);
    // WHEN it is rebased without them
    done(7, 0, &rebased(&app, Unread::Skip).await);
    app.sql("insert into rows values (11, 'a')");
    publish(&mut app).await;
    // THEN
    assert_eq!(
        published(&app)[3..],
        ["gap restored", "gap skipped", "created 11"]
    );
    let source = default_source(&app).await;
    assert_eq!(source.changes_unread, Some(0));
    assert_eq!(source.gaps[0].reason, "skipped");
    assert_eq!(source.gaps[0].changes, Some(7));
    assert!(source.gaps[0].ended_at.is_some());
    account_adds_up(&app).await;
}

#[tokio::test]
async fn a_leaf_stays_while_its_source_is_stopped_or_has_a_backlog() {
    // GIVEN a restored database: what is captured in it has ids that the old cursor has passed
    let mut app = app().await;
    app.sql("insert into rows select i, 'a' from generate_series(1, 3) i");
    publish(&mut app).await;
    app.sql("update rowcall.source set snapshot = '9000000:9000000:'");
    app.sql("insert into rows values (4, 'a')");
    assert!(refusal(&mut app).await.contains("went backwards"));
    // WHEN retention passes before somebody rebases it, and before the backlog is read
    app.clock.advance(TimeDelta::hours(25));
    upkeep(&mut app).await;
    app.clock.advance(TimeDelta::days(9));
    upkeep(&mut app).await;
    done(1, 0, &rebased(&app, Unread::Publish).await);
    upkeep(&mut app).await;
    // THEN nothing is lost, and then the leaf goes
    publish(&mut app).await;
    assert_eq!(published(&app)[3..], ["created 4", "gap restored"]);
    upkeep(&mut app).await;
    assert_eq!(app.count("select min(number) from rowcall.rotation"), 2);
}

async fn upkeep(app: &mut TestApp) {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
}

#[tokio::test]
async fn a_writer_in_the_change_table_is_waited_for_and_not_lost() {
    // GIVEN a writer that has captured something when the rebase begins
    let mut app = app().await;
    let mut writer = app.connect();
    crate::reading::run(&mut writer, "begin; insert into rows values (1, 'open')");
    stop(&app);
    // WHEN it commits while the rebase tries
    let url = app.database.url.clone();
    let rebasing = tokio::spawn(async move {
        let database = Database::new(&url, 1);
        rebase(&database, "default", Unread::Publish).await
    });
    let waits = "select count(*) from pg_locks where mode = 'ShareLock' and not granted";
    while !rebasing.is_finished() && app.count(waits) == 0 {
        tokio::task::yield_now().await;
    }
    crate::reading::run(&mut writer, "commit");
    done(1, 0, &rebasing.await.unwrap().unwrap());
    publish(&mut app).await;
    // THEN
    assert_eq!(published(&app), ["created 1", "gap restored"]);
}

/// Makes the source another cluster's than it was.
fn stop(app: &TestApp) {
    app.sql(
        "update rowcall.source set database_oid = coalesce(database_oid, 1), \
             timeline = coalesce(timeline, 1), \
             system_identifier = coalesce(system_identifier, 1) + 1",
    );
}

async fn account_adds_up(app: &TestApp) {
    let account = Database::new(&app.database.url, 1)
        .transaction(|connection| {
            rowcall::account::account_read(connection, "default")
                .map_err(rowcall::db::DbError::from)
        })
        .await
        .unwrap();
    assert!(account.adds_up(), "{account:?}");
}

/// The table is here for epoch_copies.rs, too.
pub(crate) const TABLE: &str = ROWS;
