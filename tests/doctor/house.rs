//! A shop with one captured table, and what the doctor says of it.

use std::time::Duration;

use rowcall::{
    config::Limits,
    doctor::{
        Question, examine,
        finding::{Finding, Severity},
    },
    stage::Stage as _,
};

use crate::support::app::TestApp;

pub(crate) const ORDERS: &str = "create table public.orders (id integer primary key, \
    status text not null default 'new', amount numeric(10,2) not null default 0, card text)";

pub(crate) const SALES: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
"#;

/// An instance with the shop, and triggers on its table.
pub(crate) async fn shop() -> TestApp {
    let app = TestApp::start(ORDERS).await;
    app.apply(SALES).await;
    app
}

/// What the doctor finds now.
pub(crate) async fn findings(app: &TestApp) -> Vec<Finding> {
    findings_with(app, question(app)).await
}

pub(crate) fn question(app: &TestApp) -> Question {
    Question {
        limits: Limits::for_testing(),
        long_transaction: Duration::from_secs(600),
        now: app.clock.now(),
    }
}

pub(crate) async fn findings_with(app: &TestApp, question: Question) -> Vec<Finding> {
    let url = app.database.url.clone();
    let look = move || examine(&url, &question).unwrap();
    let look = tokio::task::spawn_blocking(look);
    look.await.unwrap().findings
}

/// The findings with this code.
pub(crate) async fn found(app: &TestApp, code: &str) -> Vec<Finding> {
    let mut findings = findings(app).await;
    findings.retain(|finding| finding.code == code);
    findings
}

/// Asserts that `code` is found, once and of that severity, about `subject`, and returns it.
#[track_caller]
pub(crate) fn only(found: &[Finding], severity: Severity, subject: &str) -> Finding {
    let [finding] = found else {
        panic!("one was expected: {found:#?}");
    };
    assert_eq!(
        (finding.severity, finding.subject.as_str()),
        (severity, subject)
    );
    finding.clone()
}

/// Runs upkeep once and returns the warnings of /readyz.
pub(crate) async fn warnings(app: &mut TestApp) -> Vec<String> {
    let now = app.clock.now();
    app.instance.upkeep.run_once(now).await.unwrap();
    app.instance.readiness.report().warnings
}

/// The warnings that say all of `parts`.
pub(crate) fn saying(warnings: &[String], parts: &[&str]) -> usize {
    let says = |warning: &&String| parts.iter().all(|part| warning.contains(part));
    warnings.iter().filter(says).count()
}
