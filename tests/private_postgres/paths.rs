//! Directories that are refused, and those that need care.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rowcall::private_postgres::{Cluster, PrivatePostgresError};

use crate::{names, number, options, scratch, start};

#[test]
fn a_directory_with_other_content_is_refused_untouched() {
    let parent = scratch();
    fs::write(parent.path().join("thesis.txt"), "years of work").unwrap();
    let error = Cluster::start(options(parent.path().to_owned())).unwrap_err();
    assert!(
        matches!(error, PrivatePostgresError::NotOurs { .. }),
        "{error}"
    );
    assert_eq!(names(parent.path()), ["thesis.txt"]);
    assert_eq!(
        fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777,
        0o711
    );
}

#[test]
fn data_of_another_version_is_refused() {
    let parent = scratch();
    fs::create_dir(parent.path().join("data")).unwrap();
    fs::write(parent.path().join("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(options(parent.path().to_owned()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("was written by PostgreSQL 9, but the versions found are: "),
        "{error}"
    );
}

#[test]
fn a_long_path_gets_a_short_socket_directory_that_goes_with_the_server() {
    let parent = scratch();
    let directory = parent
        .path()
        .join("a-rather-long-name".repeat(8))
        .join("cluster's & \"more\"");
    let cluster = start(&directory);
    let socket_directory = cluster.socket_dir().to_owned();
    assert!(!socket_directory.starts_with(&directory));
    assert_eq!(number(&cluster.url("postgres"), "1"), 1);
    drop(cluster);
    assert!(!socket_directory.exists());
}

#[test]
fn an_awkward_path_works_for_the_server_and_in_the_url() {
    let parent = scratch();
    let cluster = start(&parent.path().join("a, \"b\" & c's %20"));
    assert_eq!(number(&cluster.url("postgres"), "1"), 1);
    let said = Command::new("sh")
        .args([
            "-c",
            &format!("{} -Atc 'select 6 * 7'", cluster.psql_command("postgres")),
        ])
        .output();
    let said = said.unwrap();
    // A relocatable server without psql is possible; then the line is for a psql on PATH.
    if said.status.code() != Some(127) {
        assert_eq!(String::from_utf8_lossy(&said.stdout), "42\n", "{said:?}");
    }
}
