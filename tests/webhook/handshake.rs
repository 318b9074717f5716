//! Asking a receiver for its consent (CloudEvents Web Hooks, section 4).

use std::num::NonZeroU32;

use hyper::{HeaderMap, header::HeaderValue};
use rowcall::sink::{Consent, WebhookSink};
use url::Url;

use crate::support::receiver::{Answer, Receiver};
use crate::{IMPATIENT, PATIENT, SOON, client, guard, secret, send};

const ORIGIN: &str = "rowcall.example.com";

fn sink_to(url: &str) -> WebhookSink {
    WebhookSink::new(client(), &Url::parse(url).unwrap(), secret()).unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Answer::StatusWith {
        status,
        headers: headers.iter().map(header).collect(),
        body: Vec::new(),
    }
}

fn rate(rate: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(rate)
}

const ALLOWED: &str = "WebHook-Allowed-Origin";
const RATE: &str = "WebHook-Allowed-Rate";

#[tokio::test]
async fn the_question_is_one_options_request_with_who_asks() {
    let receiver = Receiver::start().await;
    receiver.script([answer(200, &[(ALLOWED, ORIGIN), (RATE, "120")])]);
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static("k1"));
    let sink = sink_to(receiver.url())
        .with_headers(headers)
        .with_origin(ORIGIN);

    let consent = sink.handshake(ORIGIN, rate(500), PATIENT).await;
    assert_eq!(
        consent,
        Consent::Granted {
            rate_per_minute: rate(120)
        }
    );
    let asked = receiver.received().remove(0);
    assert_eq!(asked.method, "OPTIONS");
    assert_eq!(asked.header("webhook-request-origin"), Some(ORIGIN));
    assert_eq!(asked.header("webhook-request-rate"), Some("500"));
    assert_eq!(asked.header("x-api-key"), Some("k1"));
    assert!(asked.body.is_empty() && asked.header("webhook-signature").is_none());

    // Each delivery names the origin that was consented to.
    send(&sink, "1").await;
    let sent = receiver.received().remove(1);
    assert_eq!(sent.header("webhook-request-origin"), Some(ORIGIN));
    assert_eq!(sent.header("x-api-key"), Some("k1"));
}

#[tokio::test]
async fn consent_is_the_header_and_nothing_else() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    let open = Consent::Granted {
        rate_per_minute: None,
    };
    for (status, headers, asked, is_granted, says) in [
        (200, vec![(ALLOWED, ORIGIN)], None, true, ""),
        (204, vec![(ALLOWED, "*")], None, true, ""),
        (200, vec![(ALLOWED, "ROWCALL.example.com")], None, true, ""),
        (200, vec![(ALLOWED, ORIGIN), (RATE, "*")], rate(9), true, ""),
        (200, vec![], None, false, "no WebHook-Allowed-Origin"),
        (
            200,
            vec![("Allow", "POST")],
            None,
            false,
            "no WebHook-Allowed-Origin",
        ),
        (
            200,
            vec![(ALLOWED, "other.example")],
            None,
            false,
            "another",
        ),
        (
            200,
            vec![(ALLOWED, "*.example.com")],
            None,
            false,
            "another",
        ),
        (200, vec![(ALLOWED, "")], None, false, "another"),
        (
            200,
            vec![(ALLOWED, "*"), (ALLOWED, "*")],
            None,
            false,
            "twice",
        ),
        (405, vec![], None, false, "does not handle OPTIONS"),
        (403, vec![(ALLOWED, ORIGIN)], None, false, "no success"),
        (500, vec![], None, false, "500"),
        (
            200,
            vec![(ALLOWED, ORIGIN)],
            rate(9),
            false,
            "no WebHook-Allowed-Rate",
        ),
        (
            200,
            vec![(ALLOWED, ORIGIN), (RATE, "0")],
            None,
            false,
            "above 0",
        ),
        (
            200,
            vec![(ALLOWED, ORIGIN), (RATE, "-3")],
            None,
            false,
            "above 0",
        ),
        (
            200,
            vec![(ALLOWED, ORIGIN), (RATE, "+3")],
            None,
            false,
            "above 0",
        ),
        (
            200,
            vec![(ALLOWED, ORIGIN), (RATE, "fast")],
            None,
            false,
            "above 0",
        ),
    ] {
        receiver.script([answer(status, &headers)]);
        let consent = sink.handshake(ORIGIN, asked, PATIENT).await;
        match consent {
            Consent::Withheld { detail, is_final } => {
                assert!(!is_granted && !is_final, "{status} {headers:?}: {detail}");
                assert!(detail.contains(says), "{status} {headers:?}: {detail}");
            }
            granted => {
                assert!(is_granted, "{status} {headers:?}");
                assert_eq!(granted, open);
            }
        }
    }
}

#[tokio::test]
async fn a_rate_beyond_counting_is_the_largest() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    for number in ["4294967296", "99999999999999999999999"] {
        receiver.script([answer(200, &[(ALLOWED, "*"), (RATE, number)])]);
        let granted = Consent::Granted {
            rate_per_minute: rate(u32::MAX),
        };
        assert_eq!(sink.handshake(ORIGIN, None, PATIENT).await, granted);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_silence_ends() {
    let receiver = Receiver::start().await;
    let elsewhere = Receiver::start().await;
    elsewhere.answer_with(|_| answer(200, &[(ALLOWED, "*")]));
    receiver.script([
        Answer::Redirect(elsewhere.url().to_owned()),
        Answer::HangAfterAccept,
    ]);
    let sink = sink_to(receiver.url());
    let consent = sink.handshake(ORIGIN, None, PATIENT).await;
    assert!(matches!(&consent, Consent::Withheld { detail, .. } if detail.contains("redirect")));
    let asking = sink.handshake(ORIGIN, None, IMPATIENT);
    let consent = tokio::time::timeout(SOON, asking).await.unwrap();
    assert!(matches!(&consent, Consent::Withheld { detail, .. } if detail.contains("0.3 s")));
    assert_eq!(
        (receiver.received().len(), elsewhere.received().len()),
        (2, 0)
    );
}

#[tokio::test]
async fn the_guard_stands_before_the_question() {
    let receiver = Receiver::start().await;
    let client = rowcall::sink::WebhookClient::new(guard(&[])).unwrap();
    let url = format!("http://localhost:{}/hook", receiver.port());
    let sink = WebhookSink::new(client, &Url::parse(&url).unwrap(), secret()).unwrap();
    let consent = sink.handshake(ORIGIN, None, PATIENT).await;
    assert!(
        matches!(consent, Consent::Withheld { is_final: true, .. }),
        "{consent:?}"
    );
    assert_eq!(receiver.connections(), 0);
}
