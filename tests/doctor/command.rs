//! `rowcall doctor`.

use serde_json::Value;

use crate::{
    house::{ORDERS, SALES},
    support::{
        app::{SECRET_KEY, TestApp},
        postgres::{TestDatabase, execute},
        program::{Ended, rowcall, run},
    },
};

fn doctor(database: &TestDatabase, arguments: &[&str]) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [&["doctor"], arguments].concat();
    let mut command = rowcall(directory.path(), &arguments);
    run(command
        .env("DATABASE_URL", &database.url)
        .env("ROWCALL_SECRET_KEY", SECRET_KEY))
}

#[tokio::test]
async fn notes_are_code_0_and_warnings_and_errors_are_code_1() {
    // GIVEN
    let app = TestApp::start(ORDERS).await;
    app.apply(SALES).await;
    // WHEN there are notes only
    let ended = doctor(&app.database, &[]);
    // THEN
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("note [change-table]"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("0 errors, 0 warnings,"),
        "{}",
        ended.stdout
    );
    // WHEN there is an error
    app.sql("alter table orders disable trigger \" rowcall\"");
    let ended = doctor(&app.database, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let remedy = "remedy: ALTER TABLE public.orders ENABLE TRIGGER \" rowcall\";";
    assert!(ended.stdout.contains(remedy), "{}", ended.stdout);
    assert!(
        ended
            .stdout
            .starts_with("public.orders\n  error [trigger-disabled]")
    );
    assert!(
        ended.stderr.contains("1 error, 0 warnings"),
        "{}",
        ended.stderr
    );
    // THEN the same as JSON
    let ended = doctor(&app.database, &["--json"]);
    assert_eq!(ended.code, Some(1));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["errors"], 1);
    let first = &report["findings"][0];
    assert_eq!(
        (&first["severity"], &first["code"], &first["subject"]),
        (
            &"error".into(),
            &"trigger-disabled".into(),
            &"public.orders".into()
        )
    );
    assert_eq!(first["remedy"], remedy.trim_start_matches("remedy: "));
}

#[test]
fn a_database_without_a_repository_or_with_another_version_is_told() {
    // GIVEN one that Rowcall was never in
    let database = TestDatabase::create();
    execute(&database.url, "drop schema rowcall cascade");
    let ended = doctor(&database, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("error [no-repository]"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("remedy: rowcall migrate"),
        "{}",
        ended.stdout
    );

    // GIVEN one of an older program
    let database = TestDatabase::create();
    execute(
        &database.url,
        "delete from rowcall.__diesel_schema_migrations where version = \
             (select max(version) from rowcall.__diesel_schema_migrations); \
         alter table rowcall.capture_target drop column shape",
    );
    let ended = doctor(&database, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("error [repository-not-migrated]"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("not-examined"), "{}", ended.stdout);

    // GIVEN one of a newer program
    let database = TestDatabase::create();
    execute(
        &database.url,
        "insert into rowcall.__diesel_schema_migrations values ('99999999999999')",
    );
    let ended = doctor(&database, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("warning [repository-newer]"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_database_that_is_not_there_is_an_error_that_says_so() {
    let mut database = TestDatabase::create();
    let url = database.url.clone();
    database.url = database.url.replace(&database.name, "nowhere");
    let ended = doctor(&database, &[]);
    database.url = url;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("can't be reached"),
        "{}",
        ended.stderr
    );
}
