//! Finding the installed programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rowcall::private_postgres::{Binaries, Candidate};

use crate::scratch;

/// A directory with programs that only know their version.
fn fake_installation(parent: &Path, name: &str, version: &str) -> Candidate {
    let directory = parent.join(name);
    fs::create_dir(&directory).unwrap();
    for program in ["initdb", "pg_ctl", "postgres"] {
        let path = directory.join(program);
        fs::write(
            &path,
            format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n"),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Candidate {
        directory,
        origin: "PATH",
    }
}

#[test]
fn the_installed_programs_are_found() {
    let pg_bin = std::env::var_os("PG_BIN").map(PathBuf::from);
    let found = Binaries::find(pg_bin.as_deref()).unwrap();
    assert!(found.version().major >= 15, "{found:?}");
    assert!(found.bin("initdb").is_file(), "{found:?}");
}

#[test]
fn the_newest_of_the_usable_candidates_is_chosen() {
    let parent = scratch();
    let candidates = ["15.8", "18.1", "16.2", "14.11"]
        .map(|version| fake_installation(parent.path(), version, version));
    let chosen = Binaries::choose(&candidates).unwrap();
    assert_eq!(chosen.version().to_string(), "18.1");
    assert_eq!(chosen.bin("psql"), parent.path().join("18.1/psql"));
}

#[test]
fn when_nothing_usable_is_found_every_refusal_and_the_install_line_are_told() {
    // GIVEN a version that is too old, a directory with a client only, and one that does not exist
    let parent = scratch();
    let old = fake_installation(parent.path(), "old", "14.11");
    let client = parent.path().join("client");
    fs::create_dir(&client).unwrap();
    fs::write(client.join("pg_ctl"), "").unwrap();
    let candidates = [
        old,
        Candidate {
            directory: client,
            origin: "pg_config --bindir",
        },
        Candidate {
            directory: parent.path().join("gone"),
            origin: "PG_BIN",
        },
    ];

    // WHEN a choice is asked for
    let error = Binaries::choose(&candidates).unwrap_err();

    // THEN the error tells all there is to know
    let parent = parent.path().display();
    assert_eq!(
        error.to_string(),
        format!(
            "no PostgreSQL server of version 15 or later was found\n  \
             - {parent}/old (from PATH): version 14.11 is too old, 15 or later is needed\n  \
             - {parent}/client (from pg_config --bindir): has no initdb, postgres\n  \
             - {parent}/gone (from PG_BIN): no such directory"
        )
    );
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("install"), "{help}");
}
