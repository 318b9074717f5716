//! What every receiver may do to a webhook, and what the sink makes of it (faults F9, F10, F19).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

#[path = "webhook/addresses.rs"]
mod addresses;
#[path = "webhook/connections.rs"]
mod connections;
#[path = "webhook/handshake.rs"]
mod handshake;
#[path = "webhook/keys.rs"]
mod keys;
#[path = "webhook/misbehaving.rs"]
mod misbehaving;
#[path = "webhook/name_server.rs"]
mod name_server;
#[path = "webhook/tls.rs"]
mod tls;
#[path = "webhook/verifier.rs"]
mod verifier;

use std::time::Duration;

use chrono::{DateTime, Utc};
use rowcall::sink::{
    AddressGuard, Bytes, Message, Outcome, RETRY_AFTER_MAX, SigningSecret, Sink, WebhookClient,
    WebhookSink,
};
use support::receiver::{Answer, Receiver};
use url::Url;

/// Longer than any answer that is meant to come.
const PATIENT: Duration = Duration::from_secs(15);
/// Shorter than a test may take, for answers that never come.
const IMPATIENT: Duration = Duration::from_millis(300);
/// No attempt that ends by itself, or at the impatient deadline, takes this long, even on a
/// machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(8);

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T12:00:00.9Z")
        .unwrap()
        .to_utc()
}

fn guard(allow: &[&str]) -> AddressGuard {
    AddressGuard::new(allow.iter().map(|net| net.parse().unwrap()).collect())
}

fn client() -> WebhookClient {
    WebhookClient::new(guard(&["127.0.0.0/8"])).unwrap()
}

fn secret() -> SigningSecret {
    SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
}

fn sink_to(url: &str) -> WebhookSink {
    WebhookSink::new(client(), &Url::parse(url).unwrap(), secret()).unwrap()
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        content_type: "application/cloudevents+json",
        body: Bytes::from_static(br#"{"id":"1"}"#),
        extra_headers: Vec::new(),
    }
}

async fn send(sink: &WebhookSink, id: &str) -> Outcome {
    sink.send(&message(id), now(), PATIENT).await
}

/// The detail of an outcome that may be tried again, without a status.
fn no_answer(outcome: Outcome) -> String {
    match outcome {
        Outcome::Retry {
            status: None,
            detail,
            retry_after: None,
        } => detail,
        other => panic!("expected a retry without an answer, got {other:?}"),
    }
}

#[tokio::test]
async fn a_message_arrives_signed_and_unchanged() {
    // GIVEN a receiver that verifies, and a body that is no text
    let receiver = Receiver::start().await;
    receiver.verify_with(secret());
    let body = Bytes::from_static(b"{\"a\" :\t1}\r\n\xff\x00.");
    let sent = Message {
        body: body.clone(),
        extra_headers: vec![
            ("rowcall-replay", "1".to_owned()),
            ("webhook-id", "no".to_owned()),
        ],
        ..message("0199-a")
    };

    // WHEN it is sent
    let url = format!("{}/7?token=abc#part", receiver.url());
    let outcome = sink_to(&url).send(&sent, now(), PATIENT).await;

    // THEN it is received as one signed POST
    assert_eq!(outcome, Outcome::Delivered { status: 200 });
    let [got] = &receiver.received()[..] else {
        panic!("{:?}", receiver.received())
    };
    assert_eq!(
        (got.method.as_str(), got.path.as_str()),
        ("POST", "/hook/7?token=abc")
    );
    assert_eq!(got.body, body);
    assert_eq!(
        (got.id.as_str(), got.timestamp.as_str()),
        ("0199-a", "1795262400")
    );
    assert_eq!(got.verified, Some(true), "{}", got.signature);
    assert_eq!(
        got.header("content-type"),
        Some("application/cloudevents+json")
    );
    assert_eq!(
        got.header("user-agent"),
        Some(concat!("rowcall/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(got.header("rowcall-replay"), Some("1"));
    assert_eq!(
        got.header("host"),
        Some(format!("127.0.0.1:{}", receiver.port()).as_str())
    );
}

#[tokio::test]
async fn during_a_rotation_both_secrets_sign() {
    let receiver = Receiver::start().await;
    let next = SigningSecret::generate().unwrap();
    let url = Url::parse(receiver.url()).unwrap();
    let sink = WebhookSink::new(client(), &url, next.clone())
        .unwrap()
        .also_signed_by(secret(), now() + chrono::TimeDelta::hours(1));

    for known in [secret(), next] {
        receiver.verify_with(known);
        assert_eq!(send(&sink, "r").await, Outcome::Delivered { status: 200 });
    }
    let verified: Vec<_> = receiver.received().iter().map(|got| got.verified).collect();
    assert_eq!(verified, [Some(true), Some(true)]);
    let signatures = &receiver.received()[0].signature;
    assert_eq!(
        signatures
            .split(' ')
            .filter(|one| one.starts_with("v1,"))
            .count(),
        2
    );
}

#[tokio::test]
async fn every_status_has_its_outcome() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    for status in [200, 201, 202, 204, 226, 299] {
        receiver.script([Answer::Status(status)]);
        assert_eq!(send(&sink, "ok").await, Outcome::Delivered { status });
    }
    for (asked, says) in [
        (304, "redirects are not followed"),
        (400, "answered 400"),
        (401, "signature"),
        (404, "check the path"),
        (405, "POST"),
        (429, "fewer requests"),
        (500, "answered 500"),
        (503, "answered 503"),
        (599, "answered 599"),
    ] {
        receiver.script([Answer::Status(asked)]);
        match send(&sink, "bad").await {
            Outcome::Retry {
                status: Some(status),
                detail,
                retry_after: None,
            } => {
                assert_eq!(status, asked);
                assert!(detail.contains(says), "{asked}: {detail}");
            }
            other => panic!("{asked} gave {other:?}"),
        }
    }
    receiver.script([Answer::Status(410)]);
    let gone = send(&sink, "gone").await;
    assert!(
        matches!(gone, Outcome::Gone { status: 410, .. }),
        "{gone:?}"
    );
}

#[tokio::test]
async fn retry_after_is_passed_on_within_bounds() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    for (status, asked, seconds) in [
        (429, "30", Some(30)),
        (503, "0", Some(0)),
        (503, "Sat, 21 Nov 2026 12:00:31 GMT", Some(30)),
        (503, "99999999999999999999", Some(RETRY_AFTER_MAX.as_secs())),
        (
            503,
            "Fri, 31 Dec 9999 23:59:59 GMT",
            Some(RETRY_AFTER_MAX.as_secs()),
        ),
        (429, "-5", None),
        (429, "tomorrow", None),
        (503, "Sat, 21 Nov 2020 12:00:00 GMT", None),
    ] {
        receiver.script([Answer::with_header(status, "retry-after", asked)]);
        match send(&sink, "later").await {
            Outcome::Retry { retry_after, .. } => {
                assert_eq!(retry_after.map(|wait| wait.as_secs()), seconds, "{asked}");
            }
            other => panic!("{asked} gave {other:?}"),
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    for (to, says) in [
        (receiver.url().to_owned(), "to 127.0.0.1;"),
        ("/hook".to_owned(), "to 127.0.0.1;"),
        (
            "http://169.254.169.254/latest/?token=abc".to_owned(),
            "to 169.254.169.254;",
        ),
        ("http://[".to_owned(), "a redirect;"),
    ] {
        let before = receiver.received().len();
        receiver.script([Answer::Redirect(to.clone())]);
        match send(&sink, "elsewhere").await {
            Outcome::Retry {
                status: Some(302),
                detail,
                ..
            } => {
                assert!(detail.contains(says), "{to}: {detail}");
                assert!(detail.contains("register the final URL"), "{to}: {detail}");
                assert!(!detail.contains("token"), "{to}: {detail}");
            }
            other => panic!("{to} gave {other:?}"),
        }
        assert_eq!(receiver.received().len(), before + 1, "{to} was followed");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_written_is_final() {
    let receiver = Receiver::start().await;
    let outcome = send(&sink_to(receiver.url()), "a\r\nb: c").await;
    assert!(matches!(outcome, Outcome::Final { .. }), "{outcome:?}");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn no_detail_shows_the_url_or_the_secret() {
    let receiver = Receiver::start().await;
    let url = format!("{}?token=hush", receiver.url());
    let shown = format!("{:?}", sink_to(&url));
    assert!(
        !shown.contains("hush") && !shown.contains("MfKQ"),
        "{shown}"
    );
    for answer in [
        Answer::Status(500),
        Answer::Status(410),
        Answer::Reset,
        Answer::Drip,
    ] {
        receiver.script([answer]);
        let outcome = sink_to(&url)
            .send(&message("quiet"), now(), IMPATIENT)
            .await;
        let shown = format!("{outcome:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("MfKQ"),
            "{shown}"
        );
    }
}
