//! Settings that can't be, each told with its name.

use std::net::TcpListener;

use crate::{
    Place, directory,
    support::program::{rowcall, run},
};

#[test]
fn a_setting_that_is_not_known_is_told_with_its_place_and_the_known_ones() {
    let directory = directory();
    // GIVEN a rowcall.toml in the working directory, with a slip in it
    let text = "listen = \"127.0.0.1:0\"\n[limits]\nsender_max = 3\n";
    std::fs::write(directory.path().join("rowcall.toml"), text).unwrap();
    // WHEN any command runs
    let ended = run(&mut rowcall(directory.path(), &["migrate"]));
    // THEN
    ended.assert_refused(&[
        "the configuration file rowcall.toml is not valid",
        "line 3, column 1: unknown field `sender_max`",
        "`senders_max`",
        "docs/CONFIGURATION.md lists every setting",
    ]);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let place = Place::new();
    let text = "[limits]\nlease_ms = 1000\nrequest_timeout_ms = 600\n";
    std::fs::write(place.directory.path().join("rowcall.toml"), text).unwrap();
    place
        .run(&["serve"])
        .assert_refused(&["limits.lease_ms must be at least twice limits.request_timeout_ms"]);
}

#[test]
fn a_configuration_file_that_is_not_there_is_told() {
    let place = Place::new();
    place
        .run(&["migrate", "--config", "none.toml"])
        .assert_refused(&[
            "the configuration file none.toml can't be read",
            "No such file or directory",
            "name an existing file with --config, or leave the option out",
        ]);
}

#[test]
fn serving_needs_the_secret_key() {
    // GIVEN a database without Rowcall's schema
    let place = Place::new();
    place.execute("drop schema rowcall cascade");
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let ended = run(command.env_remove("ROWCALL_SECRET_KEY"));
    ended.assert_refused(&[
        "ROWCALL_SECRET_KEY is not set",
        "set it to 64 hexadecimal digits and keep it",
        "openssl rand -hex 32",
    ]);
    // AND one that is none is refused, without being shown
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let ended = run(command.env("ROWCALL_SECRET_KEY", "hush"));
    ended.assert_refused(&[
        "ROWCALL_SECRET_KEY: the secret key is not 64 hexadecimal digits",
        "openssl rand -hex 32",
    ]);
    assert!(!ended.stderr.contains("hush"), "{ended:?}");
    // AND nothing was done: the schema can be made
    place.execute("create schema rowcall");
}

#[test]
fn a_port_in_use_is_told_with_the_option() {
    // GIVEN a port that somebody listens on
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place::new();
    // WHEN Rowcall is to serve there
    let ended = place.run(&["serve", "--listen", &address]);
    // THEN it ends, as a supervisor expects
    ended.assert_refused(&[
        &format!("the API can't listen on {address}: Address already in use"),
        "a free port: --listen",
        "ROWCALL_LISTEN",
    ]);
}

#[test]
fn arguments_that_are_not_understood_end_with_code_2() {
    let place = Place::new();
    for (arguments, part) in [
        (&["serv"][..], "'serve'"),
        (
            &["migrate", "--allow-nets", "10.0.0.0/40"],
            "`10.0.0.0/40` is no network: its prefix length must be a number from 0 to 32",
        ),
        (
            &["key", "create", "--name", "ci", "--role", "boss"],
            "[possible values: admin, publisher, subscriber, viewer]",
        ),
        (
            &["serve", "--roles", "api,sing"],
            "[possible values: api, publish, deliver]",
        ),
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.assert_says(&[part]);
    }
}
