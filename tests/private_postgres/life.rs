//! A cluster from start to stop, with owners who behave.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rowcall::private_postgres::{Cluster, ClusterOptions, PrivatePostgresError, StopMode};

use crate::support::postgres::{Kind, TestDatabase, execute};
use crate::{is_running, names, number, options, scratch, start};

#[test]
fn a_start_and_a_stop_leave_nothing_but_data() {
    let parent = scratch();
    let directory = parent.path().join("new").join("cluster");

    // GIVEN a cluster in a directory that did not exist
    let cluster = start(&directory);
    assert_eq!(number(&cluster.url("postgres"), "6 * 7"), 42);
    assert_eq!(
        number(&cluster.url("postgres"), "current_setting('port')::int"),
        5432
    );
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let pid = cluster.server_pid().unwrap();

    // WHEN it is stopped
    cluster.stop(StopMode::Fast).unwrap();

    // THEN neither a process nor a socket nor a lock is left, and the rows are there the next time
    assert!(!is_running(pid));
    assert_eq!(names(&directory), ["data", "server.log", "server.log.1"]);
    assert!(!directory.join("data/postmaster.pid").exists());
}

#[test]
fn rows_outlive_a_stop_and_a_drop() {
    let parent = scratch();
    let cluster = start(parent.path());
    execute(
        &cluster.url("postgres"),
        "create table kept as select 7 as n",
    );
    cluster.stop(StopMode::Immediate).unwrap();
    drop(start(parent.path()));
    let cluster = start(parent.path());
    assert_eq!(number(&cluster.url("postgres"), "(select n from kept)"), 7);
}

#[test]
fn what_people_create_lands_beside_rowcalls_schema_not_in_it() {
    // GIVEN a cluster with Rowcall's schema, which is called as the cluster's role is
    let database = TestDatabase::create();
    assert_eq!(number(&database.url, "(current_user = 'rowcall')::int"), 1);
    // WHEN a table is created without naming a schema
    execute(&database.url, "create table orders (id integer)");
    // THEN it is the application's
    let found = "(to_regclass('public.orders') is not null)::int";
    assert_eq!(number(&database.url, found), 1);
}

#[test]
fn a_temporary_cluster_removes_its_directory() {
    let cluster = Cluster::start(ClusterOptions::temporary()).unwrap();
    let directory = cluster.directory().to_owned();
    assert!(directory.join("data").is_dir());
    drop(cluster);
    assert!(!directory.exists());
}

#[test]
fn a_second_owner_is_refused_with_the_pid_of_the_first() {
    let parent = scratch();
    let first = start(parent.path());
    let error = Cluster::start(options(parent.path().to_owned())).unwrap_err();
    let path = parent.path().canonicalize().unwrap();
    let expected = format!(
        "--embedded {} is in use by process {}",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(
        number(&first.url("postgres"), "1"),
        1,
        "the first owner is undisturbed"
    );
}

#[test]
fn a_server_that_runs_already_is_joined_and_not_stopped() {
    // GIVEN a server that someone else started on a cluster's data
    let parent = scratch();
    let cluster = start(parent.path());
    let program = cluster.bin("postgres");
    drop(cluster);
    let mut other = start_by_hand(&program, parent.path());
    // WHEN a cluster is started there
    let mut cluster = start(parent.path());
    // THEN it is that server, and it stays
    assert!(cluster.reused());
    assert_eq!(cluster.server_pid(), Some(other.id()));
    assert_eq!(number(&cluster.url("postgres"), "1"), 1);
    assert!(matches!(
        cluster.restart(),
        Err(PrivatePostgresError::NotStartedHere { .. })
    ));
    cluster.stop(StopMode::Fast).unwrap();
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Runs postgres as the owner of the data and returns when it has said that it is ready.
fn start_by_hand(program: &Path, directory: &Path) -> Child {
    let data = directory.join("data");
    let mut command = Command::new(program);
    let owner = fs::metadata(&data).unwrap();
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let socket_setting = format!("unix_socket_directories={}", directory.display());
    command.current_dir(directory).arg("-D").arg(&data);
    command.args([
        "-c",
        "listen_addresses=",
        "-c",
        "port=5433",
        "-c",
        &socket_setting,
    ]);
    let mut postgres = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(postgres.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready to accept connections") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "postgres ended");
    }
    // The log's end stays open as long as the server may write to it.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    postgres
}

#[test]
fn no_setting_opens_the_server_to_the_network() {
    let parent = scratch();
    let open = options(parent.path().to_owned())
        .with_setting("listen_addresses", "*")
        .with_setting("unix_socket_permissions", "0777");
    let cluster = Cluster::start(open).unwrap();
    let url = cluster.url("postgres");
    assert_eq!(
        number(&url, "length(current_setting('listen_addresses'))"),
        0
    );
    assert_eq!(
        number(&url, "current_setting('unix_socket_permissions')::int"),
        700
    );
}

#[test]
fn test_databases_are_separate_and_go_away() {
    let (one, two) = (TestDatabase::create(), TestDatabase::create());
    execute(&one.url, "create table mine ()");
    assert_eq!(
        number(
            &two.url,
            "count(*)::int from pg_class where relname = 'mine'"
        ),
        0
    );
    let name = one.name.clone();
    drop(one);
    let count = format!("count(*)::int from pg_database where datname = '{name}'");
    assert_eq!(number(&two.url, &count), 0);
}

#[test]
fn a_two_phase_database_can_prepare() {
    let database = TestDatabase::create_in(Kind::TwoPhase);
    execute(
        &database.url,
        "begin; create table t (); prepare transaction 'p'",
    );
    execute(&database.url, "commit prepared 'p'");
    assert_eq!(number(&database.url, "count(*)::int from t"), 0);
}
