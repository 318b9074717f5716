//! What mail servers may do to a mail, and what a mail server that nobody here wrote makes of ours.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod aiosmtpd;
mod certificates;
mod files;
mod flow;
mod injection;
mod misbehaving;
mod script;
mod settings;

use std::time::Duration;

use chrono::{DateTime, Utc};
use rowcall::{
    sink::{Bytes, EmailSink, MailSettings, Mailer, Message, Outcome, Sink},
    subscription::model::EmailSpec,
};
use secrecy::SecretString;
use uuid::Uuid;

/// Longer than any answer that is meant to come.
const PATIENT: Duration = Duration::from_secs(15);
/// Shorter than a test may take, for answers that never come.
const IMPATIENT: Duration = Duration::from_millis(400);
/// No attempt that ends by itself, or at the impatient deadline, takes this long, even on a
/// machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(8);

const EVENT: &str = r#"{"specversion":"1.0","id":"0199-e","source":"/rowcall/default",
    "type":"sales.order.updated","subject":"42","time":"2026-11-21T07:58:12.5Z","data":
    {"object_type":"sales.order","key":{"id":42},"op":"update","before":{"id":42,"note":"old"},
    "after":{"id":42,"note":"Grüße & <b>世界</b>\n.\nQUIT"},"changed":["note"],"actor":"desk"}}"#;

const DIGEST: &str = r#"{"specversion":"1.0","id":"0199-d.2","type":"rowcall.digest",
    "time":"2026-11-21T08:00:00Z","data":{"subscription":"morning","window":
    {"from":"2026-11-20T08:00:00Z","to":"2026-11-21T08:00:00Z"},"part":2,"parts":3,"count":5,
    "events":[{"type":"sales.order.updated","object_type":"sales.order","count":5,"keys":[
    {"key":"Zürich/7","count":4,"first_at":"2026-11-20T10:41:00Z","last_at":"2026-11-21T07:58:12Z"},
    {"key":"8","count":1,"first_at":"2026-11-20T15:02:44Z","last_at":"2026-11-20T15:02:44Z"}]}]}}"#;

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T12:00:00Z")
        .unwrap()
        .to_utc()
}

fn settings(url: &str) -> MailSettings {
    let url = SecretString::from(url);
    MailSettings::parse(&url, Some("Rowcall <rowcall@example.com>")).unwrap()
}

fn mailer(url: &str) -> Mailer {
    Mailer::new(settings(url)).unwrap()
}

fn spec() -> EmailSpec {
    EmailSpec {
        to: vec![
            "ada@example.org".to_owned(),
            "Bob B. <bob@example.net>".to_owned(),
        ],
        ..EmailSpec::default()
    }
}

fn sink_by(mailer: Mailer) -> EmailSink {
    EmailSink::new(mailer, &spec(), Uuid::from_u128(7), "morning").unwrap()
}

fn message(id: &str, body: &str) -> Message {
    Message {
        id: id.to_owned(),
        content_type: "application/cloudevents+json; charset=utf-8",
        body: Bytes::from(body.to_owned()),
        extra_headers: Vec::new(),
    }
}

async fn send(sink: &EmailSink) -> Outcome {
    sink.send(&message("0199-e", EVENT), now(), PATIENT).await
}

/// The status and the detail of an outcome that may be tried again.
fn retried(outcome: Outcome) -> (Option<u16>, String) {
    match outcome {
        Outcome::Retry {
            status,
            detail,
            retry_after: None,
        } => (status, detail),
        other => panic!("expected a retry, got {other:?}"),
    }
}

/// The status and the detail of an outcome that is for good.
fn given_up(outcome: Outcome) -> (Option<u16>, String) {
    match outcome {
        Outcome::Final { status, detail } => (status, detail),
        other => panic!("expected the end, got {other:?}"),
    }
}
