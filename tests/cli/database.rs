//! A database that can't be reached, or that does not let the user do what is needed.

use std::net::TcpListener;

use crate::{
    Place, directory,
    support::program::{rowcall, run},
};

const REACH_HELP: &str = "check DATABASE_URL or --database-url \
     (postgres://user:password@host:port/database), that the server runs, and that it lets this \
     user in";

#[test]
fn an_unreachable_database_is_told_with_its_address() {
    let directory = directory();
    // GIVEN a port that nobody listens on any more
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgres://clerk:hush@127.0.0.1:{port}/shop");
    // WHEN a command needs the database
    let ended = run(&mut rowcall(
        directory.path(),
        &["migrate", "--database-url", &url],
    ));
    // THEN it says where it looked, and not with which password
    ended.assert_refused(&[
        "the database can't be reached",
        &format!("connection to server at \"127.0.0.1\", port {port} failed: Connection refused"),
        REACH_HELP,
    ]);
    assert!(!ended.stderr.contains("hush"), "{ended:?}");
}

#[test]
fn a_url_that_is_none_is_refused_without_showing_its_password() {
    let directory = directory();
    for url in [
        "garbage",
        "mysql://clerk:hush@db/shop",
        "postgres://clerk:hush%zz@db/shop",
        "postgres://clerk:hush@db:port/shop",
        "postgres://clerk:hu sh@db/shop?nothing=hush",
    ] {
        let ended = run(&mut rowcall(
            directory.path(),
            &["migrate", "--database-url", url],
        ));
        ended.assert_refused(&["the database can't be reached", REACH_HELP]);
        assert!(!ended.stderr.contains("hu sh"), "{ended:?}");
        assert!(!ended.stderr.contains("hush"), "{ended:?}");
    }
}

#[test]
fn no_database_at_all_is_told_with_how_to_name_one() {
    let directory = directory();
    let commands: [&[&str]; 4] = [
        &["serve"],
        &["migrate"],
        &["metadata", "plan", "."],
        &["key", "list"],
    ];
    for arguments in commands {
        let ended = run(&mut rowcall(directory.path(), arguments));
        ended.assert_refused(&[
            "no database was named",
            "set DATABASE_URL or --database-url to",
        ]);
    }
}

#[test]
fn a_user_who_may_not_create_is_told_what_to_grant_and_that_helps() {
    // GIVEN a database without Rowcall's schema, and a user who may only connect
    let place = Place::new();
    place.execute("drop schema rowcall cascade");
    let clerk = place.user("clerk");
    // WHEN the user migrates
    let ended = place.run_as(&clerk, &["migrate"]);
    // THEN the statement to run is told
    let name = &place.database.name;
    let grants = [
        format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{clerk}\";"),
        format!("GRANT rowcall_capture TO \"{clerk}\";"),
    ];
    ended.assert_refused(&[
        &format!("the database user lacks a privilege: permission denied for database {name}"),
        "as an administrator:",
        &grants[0],
        "CREATE ROLE rowcall_capture NOLOGIN;",
        &grants[1],
    ]);
    // AND run by an administrator it is enough; the role is there, from another test's database
    place.execute(&grants.concat());
    let ended = place.run_as(&clerk, &["migrate"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("applied 0"), "{ended:?}");
}

#[test]
fn another_users_repository_is_told_as_such() {
    let place = Place::new();
    let mate = place.user("mate");
    place.run_as(&mate, &["migrate"]).assert_refused(&[
        "the schema rowcall is another user's",
        &format!("GRANT that user TO \"{mate}\""),
    ]);
    place.run_as(&mate, &["key", "list"]).assert_refused(&[
        "permission denied for schema rowcall",
        "use the user that ran `rowcall migrate`",
    ]);
}

#[test]
fn a_database_that_was_not_migrated_is_told_with_the_command() {
    let place = Place::new();
    place.execute("drop schema rowcall cascade");
    place.run(&["key", "list"]).assert_refused(&[
        "the database has no repository of this version: relation \"rowcall.api_key\" does not exist",
        "run `rowcall migrate` first",
    ]);
}
