//! The private Postgres, with real servers: each test has a cluster of its own.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod binaries;
mod faults;
mod life;
mod paths;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diesel::prelude::*;
use diesel::sql_types::Integer;
use rowcall::private_postgres::{Cluster, ClusterOptions};
use support::postgres::connect;
use tempfile::TempDir;

/// A directory that the account of the server can enter, also when the tests run as root.
pub(crate) fn scratch() -> TempDir {
    let open = fs::Permissions::from_mode(0o711);
    tempfile::Builder::new()
        .permissions(open)
        .tempdir()
        .unwrap()
}

pub(crate) fn options(directory: PathBuf) -> ClusterOptions {
    let pg_bin = std::env::var_os("PG_BIN").map(Into::into);
    ClusterOptions {
        durable: false,
        pg_bin,
        ..ClusterOptions::persistent(directory)
    }
}

pub(crate) fn start(directory: &Path) -> Cluster {
    Cluster::start(options(directory.to_owned())).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn number(url: &str, query: &str) -> i32 {
    let query = diesel::select(diesel::dsl::sql::<Integer>(query));
    query.get_result(&mut connect(url)).unwrap()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn is_running(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}
