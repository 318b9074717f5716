//! Findings about roles, settings, sessions and the server.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use rowcall::doctor::finding::{Finding, Severity};

use crate::{
    house::{ORDERS, findings_with, found, only, question, saying, shop, warnings},
    support::{
        app::{Options, TestApp},
        postgres::{Kind, connect},
    },
};

#[tokio::test]
async fn a_role_whose_writes_fire_no_trigger_or_do_not_ring() {
    // GIVEN a role of this database
    let mut app = shop().await;
    let (database, role) = (
        &app.database.name.clone(),
        format!("{}_loader", app.database.name),
    );
    assert!(found(&app, "replica-role-set").await.is_empty());
    assert!(found(&app, "doorbell-off-for-role").await.is_empty());
    // WHEN
    app.sql(&format!(
        "create role {role}; \
         alter role {role} in database {database} set session_replication_role = replica; \
         alter role {role} in database {database} set rowcall.doorbell = off"
    ));
    // THEN
    let subject = format!("role {role}");
    let replica = only(
        &found(&app, "replica-role-set").await,
        Severity::Error,
        &subject,
    );
    let bell = only(
        &found(&app, "doorbell-off-for-role").await,
        Severity::Note,
        &subject,
    );
    let shown = warnings(&mut app).await;
    assert_eq!(saying(&shown, &[&replica.message, &replica.remedy]), 1);
    assert_eq!(
        saying(&shown, &["rowcall.doorbell"]),
        0,
        "a note is no hole"
    );
    app.sql(&format!("{}{}", replica.remedy, bell.remedy));
    assert!(found(&app, "replica-role-set").await.is_empty());
    assert!(found(&app, "doorbell-off-for-role").await.is_empty());
    assert_eq!(warnings(&mut app).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_whole_database_may_be_silenced() {
    let app = shop().await;
    let database = &app.database.name;
    app.sql(&format!(
        "alter database {database} set session_replication_role = replica"
    ));
    let subject = format!("database {database}");
    let set = only(
        &found(&app, "replica-role-set").await,
        Severity::Error,
        &subject,
    );
    // A new session has it, the doctor's too
    assert_eq!(found(&app, "replica-everywhere").await.len(), 1);
    app.sql(&set.remedy);
    assert!(found(&app, "replica-everywhere").await.is_empty());
}

#[tokio::test]
async fn who_may_silence_its_own_writes() {
    let app = shop().await;
    let role = format!("{}_loader", app.database.name);
    app.sql(&format!(
        "create role {role}; grant set on parameter session_replication_role to {role}"
    ));
    let of_it = |findings: Vec<Finding>| {
        let mut of_it = findings;
        of_it.retain(|finding| finding.subject == format!("role {role}"));
        of_it
    };
    let granted = of_it(found(&app, "replica-role-granted").await);
    let granted = only(&granted, Severity::Note, &format!("role {role}"));
    let (_, statement) = granted.remedy.split_once(": ").unwrap();
    app.sql(statement);
    assert!(of_it(found(&app, "replica-role-granted").await).is_empty());
}

#[tokio::test]
async fn the_capture_role_has_no_more_rights_than_it_needs() {
    // GIVEN
    let app = shop().await;
    let codes = [
        "capture-role-attributes",
        "capture-role-login",
        "capture-role-member",
        "capture-role-privileges",
        "capture-role-superuser",
    ];
    for code in codes {
        assert!(found(&app, code).await.is_empty(), "{code}");
    }
    // WHEN it gets them
    let group = format!("{}_group", app.database.name);
    app.sql(&format!(
        "create role {group}; grant {group} to rowcall_capture; \
         grant select on orders to rowcall_capture; \
         alter role rowcall_capture login createdb superuser"
    ));
    // THEN each is told, and each remedy mends it
    for code in codes {
        let finding = found(&app, code).await;
        let [finding] = finding.as_slice() else {
            panic!("{code}: {finding:?}");
        };
        app.sql(&finding.remedy);
        assert!(found(&app, code).await.is_empty(), "{code}");
    }
}

#[tokio::test]
async fn a_user_with_too_many_rights_and_one_with_too_few() {
    // GIVEN the superuser that tests use
    let app = shop().await;
    let superuser = found(&app, "service-superuser").await;
    assert_eq!(superuser.len(), 1);
    // WHEN another looks, who may read and may not create triggers
    let role = format!("{}_service", app.database.name);
    app.sql(&format!(
        "create role {role} login; grant usage on schema rowcall to {role}; \
         grant select on all tables in schema rowcall to {role}"
    ));
    let url = app
        .database
        .url
        .replace("user=rowcall", &format!("user={role}"));
    assert_ne!(url, app.database.url);
    let question = question(&app);
    let look = move || rowcall::doctor::examine(&url, &question).unwrap();
    let report = tokio::task::spawn_blocking(look).await.unwrap();
    // THEN
    let of = |code: &str| {
        let of_code = report
            .findings
            .iter()
            .filter(|finding| finding.code == code);
        of_code.cloned().collect::<Vec<_>>()
    };
    assert!(of("service-superuser").is_empty());
    assert!(of("not-examined").is_empty(), "{:#?}", of("not-examined"));
    let missing = only(
        &of("trigger-privilege-missing"),
        Severity::Warning,
        "public.orders",
    );
    assert_eq!(
        missing.remedy,
        format!("GRANT TRIGGER ON public.orders TO \"{role}\";")
    );
}

#[tokio::test]
async fn a_transaction_that_was_open_for_long_and_one_that_was_left_prepared() {
    // GIVEN a session in a transaction, and a transaction without a session
    let options = Options {
        kind: Kind::TwoPhase,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    let mut session = app.connect();
    session
        .batch_execute(
            "begin; select 1; prepare transaction 'it''s left'; begin; select pg_backend_pid()",
        )
        .unwrap();
    for code in ["long-transaction", "prepared-transaction"] {
        assert!(
            found(&app, code).await.is_empty(),
            "young ones are no finding"
        );
    }
    // WHEN every age is too old
    let mut question = question(&app);
    question.long_transaction = Duration::ZERO;
    let all = findings_with(&app, question.clone()).await;
    // THEN
    let of = |code: &str| -> Vec<Finding> {
        let of_code = all.iter().filter(|finding| finding.code == code);
        of_code.cloned().collect()
    };
    let long = of("long-transaction");
    assert_eq!(long.len(), 1, "{long:?}");
    let subject = "prepared transaction it's left";
    let left = only(&of("prepared-transaction"), Severity::Warning, subject);
    // and the remedies end them
    let (_, terminate) = long[0].remedy.split_once("or ").unwrap();
    app.sql(terminate);
    let (_, roll_back) = left.remedy.split_once("or ").unwrap();
    app.sql(roll_back);
    let after = findings_with(&app, question).await;
    let is_left = |finding: &&Finding| finding.code == "prepared-transaction";
    assert_eq!(after.iter().find(is_left), None);
}

#[tokio::test]
async fn a_slot_that_nobody_reads() {
    let app = shop().await;
    assert!(found(&app, "slot-unread").await.is_empty());
    // A physical slot that reserves its WAL at once.
    let slot = format!("{}_slot", app.database.name);
    app.sql(&format!(
        "select pg_create_physical_replication_slot('{slot}', true)"
    ));
    let unread = found(&app, "slot-unread").await;
    let unread = only(&unread, Severity::Warning, &format!("slot {slot}"));
    let (_, statement) = unread.remedy.split_once("or ").unwrap();
    app.sql(statement);
    assert!(found(&app, "slot-unread").await.is_empty());
}

#[tokio::test]
async fn what_is_unread_and_what_the_change_table_weighs() {
    // GIVEN changes that nobody has published
    let mut app = shop().await;
    assert!(found(&app, "reader-behind").await.is_empty());
    app.sql("insert into orders (id) select generate_series(1, 3)");
    app.sql("update rowcall.change set at = '2026-03-02T08:55:00Z'");
    // THEN
    let behind = only(
        &found(&app, "reader-behind").await,
        Severity::Warning,
        "the reader",
    );
    assert!(behind.message.starts_with("3 changes"), "{behind:?}");
    assert!(behind.message.ends_with("5 min ago"), "{behind:?}");
    let weight = only(
        &found(&app, "change-table").await,
        Severity::Note,
        "the change table",
    );
    assert!(weight.message.contains("in 1 leaf,"), "{weight:?}");
    // WHEN they are published THEN the reader is not behind
    app.run_until_idle().await;
    assert!(found(&app, "reader-behind").await.is_empty());
    // WHEN a leaf stays for longer than it should
    assert!(found(&app, "leaf-kept").await.is_empty());
    app.sql(
        "update rowcall.rotation set opened_at = '2026-03-01T00:00:00Z', \
             closed_at = '2026-03-02T00:00:00Z'; \
         insert into rowcall.rotation (number, opened_at) values (2, '2026-03-02T00:00:00Z')",
    );
    let mut question = question(&app);
    question.limits.change_retention_hours = 7;
    let kept = findings_with(&app, question).await;
    assert_eq!(kept.iter().filter(|one| one.code == "leaf-kept").count(), 1);
}

#[tokio::test]
async fn a_server_whose_transactions_may_be_prepared() {
    let options = Options {
        kind: Kind::TwoPhase,
        ..Options::default()
    };
    let app = TestApp::start_with(ORDERS, options).await;
    only(
        &found(&app, "doorbell-off").await,
        Severity::Note,
        "the doorbell",
    );
    assert!(found(&app, "prepared-transaction").await.is_empty());
    let plain = shop().await;
    assert!(found(&plain, "doorbell-off").await.is_empty());
}

#[tokio::test]
async fn no_session_of_rowcall_is_a_note() {
    let app = shop().await;
    // The pool of the test's own instance is such a session.
    let session = &mut connect(&app.database.url);
    session
        .batch_execute("set application_name = 'rowcall'")
        .unwrap();
    assert!(found(&app, "not-serving").await.is_empty());
}
