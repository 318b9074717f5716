//! Two keys while a rotation goes on, and key pairs, judged by OpenSSL.

use std::io::Write as _;
use std::process::Command;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use chrono::TimeDelta;
use hyper::{HeaderMap, header::HeaderValue};
use rowcall::sink::{Scheme, Signer, SigningKeyPair, SigningSecret, Sink, WebhookSink};
use url::Url;

use crate::support::receiver::{Received, Receiver};
use crate::{PATIENT, client, message, now};

async fn sent_by(sink: &WebhookSink, receiver: &Receiver) -> Received {
    sink.send(&message("msg_1"), now(), PATIENT).await;
    receiver.received().pop().unwrap()
}

#[tokio::test]
async fn the_previous_key_signs_too_until_its_time_is_over() {
    let receiver = Receiver::start().await;
    let url = Url::parse(receiver.url()).unwrap();
    let (old, new) = (
        SigningSecret::generate().unwrap(),
        SigningSecret::generate().unwrap(),
    );
    let sink = |until| {
        WebhookSink::new(client(), &url, new.clone())
            .unwrap()
            .also_signed_by(old.clone(), until)
    };
    let by = |secret: &SigningSecret, got: &Received| {
        secret.sign(&got.id, got.timestamp.parse().unwrap(), &got.body)
    };

    let got = sent_by(&sink(now() + TimeDelta::seconds(1)), &receiver).await;
    let both: Vec<&str> = got.signature.split(' ').collect();
    assert_eq!(both, [by(&new, &got), by(&old, &got)]);
    let got = sent_by(&sink(now()), &receiver).await;
    assert_eq!(got.signature, by(&new, &got));
}

#[tokio::test]
async fn openssl_verifies_what_a_key_pair_signs_and_nothing_else() {
    let receiver = Receiver::start().await;
    let url = Url::parse(receiver.url()).unwrap();
    let pair = SigningKeyPair::generate().unwrap();
    let sink = WebhookSink::new(client(), &url, pair.clone()).unwrap();
    let got = sent_by(&sink, &receiver).await;
    let signature = got.signature.strip_prefix("v1a,").unwrap();
    let content = |id: &str| {
        let body = String::from_utf8(got.body.clone()).unwrap();
        format!("{id}.{}.{body}", got.timestamp)
    };
    assert!(openssl_verifies(
        &pair.public_key(),
        &content("msg_1"),
        signature
    ));
    assert!(!openssl_verifies(
        &pair.public_key(),
        &content("msg_2"),
        signature
    ));
    let other = Signer::generate(Scheme::V1a).unwrap();
    let other = other.public_key().unwrap();
    assert!(!openssl_verifies(&other, &content("msg_1"), signature));
}

/// Whether the command `openssl` takes the signature. The public key is given to it in the form of
/// RFC 8410, section 4.
fn openssl_verifies(public_key: &str, content: &str, signature: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        path
    };
    let raw = BASE64
        .decode(public_key.strip_prefix("whpk_").unwrap())
        .unwrap();
    let head = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let verified = Command::new("openssl")
        .args([
            "pkeyutl", "-verify", "-pubin", "-rawin", "-keyform", "DER", "-inkey",
        ])
        .arg(file("key", &[&head[..], &raw].concat()))
        .arg("-in")
        .arg(file("content", content.as_bytes()))
        .arg("-sigfile")
        .arg(file("signature", &BASE64.decode(signature).unwrap()))
        .output()
        .expect("the command openssl (3.0 or newer) is needed: apt-get install openssl");
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let complained = String::from_utf8_lossy(&verified.stderr);
    // A refusal is an answer; anything else is a fault of the test.
    assert!(
        said.contains("Verif") || complained.contains("Verif"),
        "{said}{complained}"
    );
    verified.status.success()
}

#[tokio::test]
async fn a_subscribers_headers_replace_none_of_the_sinks() {
    let receiver = Receiver::start().await;
    let url = Url::parse(receiver.url()).unwrap();
    let mut headers = HeaderMap::new();
    for name in [
        "x-api-key",
        "authorization",
        "webhook-id",
        "content-type",
        "user-agent",
    ] {
        headers.insert(name, HeaderValue::from_static("mine"));
    }
    let secret = SigningSecret::generate().unwrap();
    let sink = WebhookSink::new(client(), &url, secret)
        .unwrap()
        .with_headers(headers);
    let got = sent_by(&sink, &receiver).await;
    assert_eq!(
        (got.header("x-api-key"), got.header("authorization")),
        (Some("mine"), Some("mine"))
    );
    assert_eq!(got.id, "msg_1");
    assert_eq!(
        got.header("content-type"),
        Some("application/cloudevents+json")
    );
    assert!(got.header("user-agent").unwrap().starts_with("rowcall/"));
}
