//! Whole clusters that are restored: from a dump, to a point in time, and as a standby that was
//! promoted too early. What the copy holds is published once; what the lost history published after
//! the copy's moment has other ids there.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt as _, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use diesel::RunQueryDsl as _;
use rowcall::{
    private_postgres::{Cluster, ClusterOptions},
    source::{
        list::State,
        rebase::{Rebased, Unread},
    },
    stage::Stage as _,
};
use tempfile::TempDir;

use crate::{
    epoch::{SUBSCRIBED, TABLE, default_source, publish, published, rebased, refusal},
    reading::rows_metadata,
    support::{
        app::{Options, TestApp},
        postgres::{TestDatabase, execute},
    },
};

/// A recovery of these small clusters takes a second.
const PROMOTION_MAX: Duration = Duration::from_secs(60);

/// Runs a program of Postgres; fails the test, with what it said, if it fails.
fn postgres(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn start(options: ClusterOptions) -> Cluster {
    let mut options = options;
    options.pg_bin = std::env::var_os("PG_BIN").map(Into::into);
    Cluster::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// An instance on a database `shop` of the cluster.
async fn app_on(cluster: &Cluster) -> TestApp {
    let database = TestDatabase::at("shop", &cluster.url("shop"));
    TestApp::on_database(database, Options::default()).await
}

/// A new cluster whose database `shop` has the table, captured.
async fn shop(options: ClusterOptions) -> (Cluster, TestApp) {
    let cluster = start(options);
    execute(&cluster.url("postgres"), "create database shop");
    execute(&cluster.url("shop"), TABLE);
    rowcall::db::migrate(&cluster.url("shop")).unwrap();
    let app = app_on(&cluster).await;
    app.apply(&format!("{}{SUBSCRIBED}", rows_metadata("")))
        .await;
    (cluster, app)
}

/// Event ids with their bodies.
fn events(app: &TestApp) -> BTreeMap<String, String> {
    let ids = app.texts("select id from rowcall.event order by id");
    let bodies = app.texts("select body from rowcall.event order by id");
    ids.into_iter().zip(bodies).collect()
}

/// No id stands for two bodies.
fn assert_ids_are_told_apart(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) {
    for (id, body) in one {
        assert!(other.get(id).is_none_or(|known| known == body), "{id}");
    }
}

async fn assert_stopped(app: &mut TestApp, why: &str) {
    let refused = refusal(app).await;
    assert!(refused.contains(why), "{refused}");
    let source = default_source(app).await;
    assert_eq!(source.state, State::Stopped);
    assert!(source.reason.unwrap().contains(why));
}

async fn assert_rebased(app: &TestApp, wanted: i64) {
    let done = rebased(app, Unread::Publish).await;
    let Rebased::Done { unread, .. } = done else {
        panic!("{done:?}");
    };
    assert_eq!(unread, wanted);
}

#[tokio::test]
async fn a_dump_restored_into_a_new_cluster_is_read_on_without_loss_or_repetition() {
    // GIVEN a cluster whose transaction ids are far ahead of a new one's, with published and unread
    // changes, also of a transaction that began before the cursor's snapshot and ended after it
    let (old, mut lost) = shop(ClusterOptions::temporary()).await;
    lost.sql(
        "do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$",
    );
    let mut open = lost.connect();
    crate::reading::run(&mut open, "begin; insert into rows values (4, 'open')");
    lost.sql("insert into rows select i, 'a' from generate_series(1, 3) i");
    publish(&mut lost).await;
    crate::reading::run(&mut open, "commit");
    lost.sql("insert into rows values (5, 'a')");
    // WHEN it is dumped, goes on for a while, and is lost
    let dump = old.directory().join("shop.sql");
    postgres(
        Command::new(old.bin("pg_dump"))
            .arg(old.url("shop"))
            .arg("--file")
            .arg(&dump),
    );
    lost.sql("insert into rows values (99, 'lost')");
    publish(&mut lost).await;
    let lost_events = events(&lost);
    assert_eq!(lost_events.len(), 6);
    // AND the dump is restored into a new cluster, where somebody writes before Rowcall is there
    let new = start(ClusterOptions::temporary());
    execute(&new.url("postgres"), "create role rowcall_capture");
    execute(&new.url("postgres"), "create database shop");
    postgres(
        Command::new(new.bin("psql"))
            .arg(new.url("shop"))
            .args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file"])
            .arg(&dump),
    );
    execute(
        &new.url("shop"),
        "insert into public.rows values (6, 'early')",
    );
    let mut app = app_on(&new).await;
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    // THEN it is noticed
    assert_stopped(&mut app, "another cluster").await;
    app.sql("insert into rows values (7, 'stopped')");
    // AND what was unread, and what came since, is published once, in order
    assert_rebased(&app, 4).await;
    app.sql("insert into rows values (8, 'after')");
    publish(&mut app).await;
    let wanted = [
        "created 1",
        "created 2",
        "created 3",
        "created 4",
        "created 5",
        "created 6",
        "created 7",
        "gap restored",
        "created 8",
    ];
    assert_eq!(published(&app), wanted);
    // AND not again when the new cluster comes to the old one's transaction ids
    let last = app.count("select max(xid::text::bigint) from rowcall.change");
    app.sql(&format!(
        "do $$ begin while pg_current_xact_id()::text::bigint < {last} + 10 loop commit; end loop; end $$"
    ));
    app.sql("insert into rows values (9, 'late')");
    publish(&mut app).await;
    assert_eq!(published(&app)[9..], ["created 9"]);
    assert_eq!(published(&app)[..9], wanted);
    assert_ids_are_told_apart(&lost_events, &events(&app));
    // The lost cluster's work is nobody's any more.
    drop((lost, open));
}

/// A primary whose files can be copied, and whose write-ahead log is kept.
struct Primary {
    cluster: Cluster,
    place: TempDir,
}

impl Primary {
    async fn start() -> (Self, TestApp) {
        let place = tempfile::tempdir().unwrap();
        // The server's account writes there.
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let archive = format!("cp %p {}/%f", place.path().display());
        let options = ClusterOptions::temporary()
            .with_setting("archive_mode", "on")
            .with_setting("archive_command", &archive);
        let (cluster, app) = shop(options).await;
        (Self { cluster, place }, app)
    }

    /// Copies the files while it runs, as a base for what starts as `signal` says.
    fn copy(&self, name: &str, signal: &str) -> PathBuf {
        let directory = self.place.path().join(name);
        let data = directory.join("data");
        postgres(
            Command::new(self.cluster.bin("pg_basebackup"))
                .arg(format!("--dbname={}", self.cluster.url("postgres")))
                .arg("--pgdata")
                .arg(&data)
                .args(["--checkpoint=fast", "--wal-method=stream"]),
        );
        std::fs::write(data.join(signal), "").unwrap();
        let owner = std::fs::metadata(self.cluster.directory().join("data")).unwrap();
        hand_over(&directory, owner.uid(), owner.gid());
        directory
    }
}

/// Gives a folder with everything in it to an account.
fn hand_over(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            hand_over(&entry.unwrap().path(), uid, gid);
        }
    }
}

/// Waits until the server has left recovery. It tells nobody when it has, so it is asked again and
/// again.
fn wait_for_promotion(cluster: &Cluster) {
    let mut connection = crate::support::postgres::connect(&cluster.url("postgres"));
    let begun = Instant::now();
    let mut is_in_recovery = || {
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "pg_is_in_recovery()",
        ))
        .get_result::<bool>(&mut connection)
        .unwrap()
    };
    while is_in_recovery() {
        assert!(
            begun.elapsed() < PROMOTION_MAX,
            "the server stays in recovery"
        );
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_recovery_to_a_point_in_time_and_a_stale_standby_are_read_on() {
    // GIVEN a primary with published and unread changes when its files are copied
    let (primary, mut lost) = Primary::start().await;
    lost.sql("insert into rows select i, 'a' from generate_series(1, 3) i");
    publish(&mut lost).await;
    lost.sql("insert into rows values (4, 'a')");
    let standby = primary.copy("standby", "standby.signal");
    let base = primary.copy("base", "recovery.signal");
    // AND which goes on: some is published before the point in time, some after it
    lost.sql("insert into rows values (5, 'a')");
    publish(&mut lost).await;
    lost.sql("insert into rows values (6, 'a')");
    lost.sql("select pg_create_restore_point('here')");
    lost.sql("insert into rows values (7, 'lost')");
    publish(&mut lost).await;
    let lost_events = events(&lost);
    // Stopping archives what there is.
    let Primary { cluster, place } = primary;
    cluster
        .stop(rowcall::private_postgres::StopMode::Fast)
        .unwrap();
    let restore = format!("cp {}/%f %p", place.path().display());

    // WHEN a standby that has heard nothing since is promoted
    let promoted = start(
        ClusterOptions::persistent(&standby)
            .with_setting("restore_command", "false")
            .with_setting("recovery_target", "immediate")
            .with_setting("recovery_target_action", "promote"),
    );
    wait_for_promotion(&promoted);
    let mut app = app_on(&promoted).await;
    // THEN it is noticed before the first checkpoint, and what it holds is published once
    assert_stopped(&mut app, "its timeline is 2, before 1").await;
    assert_rebased(&app, 1).await;
    app.sql("insert into rows values (8, 'after')");
    publish(&mut app).await;
    assert_eq!(
        published(&app),
        [
            "created 1",
            "created 2",
            "created 3",
            "created 4",
            "gap failover",
            "created 8"
        ]
    );
    assert_ids_are_told_apart(&lost_events, &events(&app));
    drop((app, promoted));

    // WHEN the database is recovered to the point in time
    let recovered = start(
        ClusterOptions::persistent(&base)
            .with_setting("restore_command", &restore)
            .with_setting("recovery_target_name", "here")
            .with_setting("recovery_target_action", "promote"),
    );
    wait_for_promotion(&recovered);
    let mut app = app_on(&recovered).await;
    // THEN
    assert_stopped(&mut app, "its timeline is 2, before 1").await;
    assert_rebased(&app, 1).await;
    app.sql("insert into rows values (8, 'after')");
    publish(&mut app).await;
    assert_eq!(
        published(&app),
        [
            "created 1",
            "created 2",
            "created 3",
            "created 4",
            "created 5",
            "created 6",
            "gap failover",
            "created 8"
        ]
    );
    // What was published before the point keeps its ids; what is published again has others.
    let now = events(&app);
    assert_ids_are_told_apart(&lost_events, &now);
    assert_eq!(
        now.keys()
            .filter(|id| lost_events.contains_key(*id))
            .count(),
        5
    );
    std::mem::forget(lost);
}
