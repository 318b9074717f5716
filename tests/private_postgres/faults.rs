//! Killed servers, killed owners, and starts that fail.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rowcall::private_postgres::{Cluster, StopMode};

use crate::support::postgres::execute;
use crate::{names, number, options, scratch, start};

/// Set in the child process that owns a cluster until it is killed: the cluster's directory.
const OWNER_DIRECTORY: &str = "ROWCALL_TEST_OWNER_DIRECTORY";
const OWNER_IS_READY: &str = "the owner's cluster is ready";

#[test]
fn a_killed_server_is_restarted_under_the_same_url() {
    let parent = scratch();
    let mut cluster = start(parent.path());
    let url = cluster.url("postgres");
    execute(&url, "create table kept as select 7 as n");
    cluster.crash().unwrap();
    assert_eq!(cluster.server_pid(), None);
    cluster.restart().unwrap();
    assert_eq!(number(&url, "(select n from kept)"), 7);
}

#[test]
fn a_stop_after_a_crash_leaves_no_socket() {
    let parent = scratch();
    let mut cluster = start(parent.path());
    cluster.crash().unwrap();
    cluster.stop(StopMode::Fast).unwrap();
    assert_eq!(names(parent.path()), ["data", "server.log", "server.log.1"]);
    // The killed server's pid file is still there, and does not hinder the next start.
    assert!(parent.path().join("data/postmaster.pid").exists());
    assert!(!start(parent.path()).reused());
}

#[test]
fn a_stale_pid_file_that_names_another_program_does_not_hinder_a_start() {
    // GIVEN a killed server whose process id was given to this very program
    let parent = scratch();
    let mut cluster = start(parent.path());
    cluster.crash().unwrap();
    drop(cluster);
    let pid_file = parent.path().join("data/postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();
    // WHEN, THEN
    assert!(!start(parent.path()).reused());
}

#[test]
fn an_initdb_that_was_cut_short_is_done_again() {
    let parent = scratch();
    fs::create_dir_all(parent.path().join("data.new/base")).unwrap();
    let cluster = start(parent.path());
    assert_eq!(number(&cluster.url("postgres"), "1"), 1);
    assert!(!parent.path().join("data.new").exists());
}

#[test]
fn a_bad_setting_shows_what_the_server_says_about_it() {
    let parent = scratch();
    let bad = options(parent.path().to_owned()).with_setting("shared_buffers", "plenty");
    let error = Cluster::start(bad).unwrap_err().to_string();
    assert!(
        error.contains("invalid value for parameter \"shared_buffers\": \"plenty\""),
        "{error}"
    );
    // The lock is free and the data is good.
    assert_eq!(number(&start(parent.path()).url("postgres"), "1"), 1);
}

#[test]
fn the_guardian_stops_the_server_of_a_killed_owner() {
    // GIVEN a cluster that another process owns
    let parent = scratch();
    let directory = parent.path().join("cluster");
    let mut owner = spawn_owner(&directory);
    let socket = directory.join(".s.PGSQL.5432");
    UnixStream::connect(&socket).unwrap();

    // WHEN that process is killed
    owner.kill().unwrap();
    owner.wait().unwrap();

    // THEN its server is stopped before the lock is free, and a successor finds all in order
    fs::File::open(directory.join("rowcall.lock"))
        .unwrap()
        .lock()
        .unwrap();
    assert!(!socket.exists());
    assert!(!directory.join("data/postmaster.pid").exists());
    let cluster = start(&directory);
    assert!(!cluster.reused());
    assert_eq!(number(&cluster.url("postgres"), "(select n from kept)"), 7);
}

#[test]
fn a_successor_waits_for_the_guardian_of_a_killed_owner() {
    let parent = scratch();
    let mut owner = spawn_owner(parent.path());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let cluster = start(parent.path());
    assert!(!cluster.reused());
    assert_eq!(number(&cluster.url("postgres"), "(select n from kept)"), 7);
}

/// Runs this test program again, as the owner of a cluster; returns when the cluster is ready.
fn spawn_owner(directory: &Path) -> Child {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::owner_of_a_cluster", "--nocapture"])
        .env(OWNER_DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(OWNER_IS_READY)),
        "the owner failed"
    );
    owner
}

/// Does nothing as a test; it is the body of the process that [`spawn_owner`] runs.
#[test]
fn owner_of_a_cluster() {
    let Some(directory) = std::env::var_os(OWNER_DIRECTORY) else {
        return;
    };
    let cluster = start(Path::new(&directory));
    execute(
        &cluster.url("postgres"),
        "create table kept as select 7 as n",
    );
    println!("{OWNER_IS_READY}");
    std::io::stdout().flush().unwrap();
    // Ends with its parent at the latest.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
