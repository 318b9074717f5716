//! The command, as an operator runs it.

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    shop::shop,
    support::{
        app::{Options, SECRET_KEY, TestApp},
        program::{Ended, rowcall, run},
        receiver::Receiver,
    },
};

fn account(app: &TestApp, arguments: &[&str]) -> Ended {
    let directory = TempDir::new().unwrap();
    let arguments = [&["account"], arguments].concat();
    let mut command = rowcall(directory.path(), &arguments);
    command
        .env("DATABASE_URL", &app.database.url)
        .env("ROWCALL_SECRET_KEY", SECRET_KEY);
    run(&mut command)
}

#[tokio::test]
async fn the_command_tells_the_account_and_fails_if_it_does_not_add_up() {
    // GIVEN a shop with one order
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, Options::default()).await;
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    // WHEN the account is asked for THEN it is a table that adds up
    let ended = account(&app, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "    captured             1  changes");
    let mirror = lines.iter().find(|line| line.ends_with("  mirror"));
    let words: Vec<&str> = mirror.unwrap().split_whitespace().collect();
    assert_eq!(
        words,
        ["1", "1", "0", "0", "0", "0", "0", "0", "0", "mirror"]
    );
    // AND the same as JSON
    let ended = account(&app, &["--json"]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["adds_up"], true);
    assert_eq!(json["changes"]["captured"], 1);
    assert_eq!(json["pairs"]["matched"], 5);
    assert_eq!(json["subscriptions"].as_array().unwrap().len(), 5);
    // WHEN a delivery is gone
    app.sql(
        "delete from rowcall.delivery where subscription_id = \
             (select id from rowcall.subscription where name = 'mirror')",
    );
    // THEN the command ends with 1, says what is missing, and names it
    let ended = account(&app, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.assert_says(&["the account does not add up: 1 changes or pairs"]);
    let event = &app.texts("select id from rowcall.event")[0];
    assert!(ended.stdout.contains("1  MISSING"), "{ended:?}");
    assert!(ended.stdout.contains(event), "{ended:?}");
    let json: Value = serde_json::from_str(&account(&app, &["--json"]).stdout).unwrap();
    assert_eq!(json["adds_up"], false);
    assert_eq!(json["suspects"][0]["kind"], "pair_missing");
    assert_eq!(json["suspects"][0]["event"], **event);
}
