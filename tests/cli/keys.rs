//! The keys of the API from the command line: made, listed, revoked.

use crate::Place;

#[test]
fn a_key_is_shown_once_listed_without_its_secret_and_revoked_once() {
    let place = Place::new();
    // GIVEN a key
    let ended = place.run(&[
        "key",
        "create",
        "--name",
        "nightly build",
        "--role",
        "viewer",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let key = ended.stdout.trim();
    let id = key
        .strip_prefix("rck_")
        .and_then(|rest| rest.split('_').next());
    let id = id.unwrap_or_else(|| panic!("no key: {ended:?}"));
    // WHEN the keys are listed
    let listed = place.run(&["key", "list"]).stdout;
    // THEN it is among them, without its secret
    let line = listed.lines().nth(1).unwrap();
    assert!(
        line.starts_with(id) && line.ends_with("nightly build"),
        "{listed}"
    );
    assert!(
        line.contains("viewer") && line.contains("  -  "),
        "{listed}"
    );
    let secret = &key[key.rfind('_').unwrap() + 1..];
    assert!(!listed.contains(secret), "{listed}");
    // AND it is revoked by the whole key as by its id, and only once
    let ended = place.run(&["key", "revoke", key]);
    assert_eq!(ended.stdout, format!("revoked {id}\n"));
    assert!(!place.run(&["key", "list"]).stdout.contains("  -  "));
    let ended = place.run(&["key", "revoke", id]);
    ended.assert_refused(&[
        &format!("there is no key {id} that works"),
        "`rowcall key list` shows the keys and which of them are revoked",
    ]);
}

#[test]
fn a_key_needs_a_name() {
    let place = Place::new();
    for name in ["", "  ", "two\nlines", &"x".repeat(101)] {
        let ended = place.run(&["key", "create", "--name", name, "--role", "admin"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.assert_says(&["a name has 1 to 100 characters, on one line"]);
    }
}
