//! What Rowcall signs, judged by the verifier that Standard Webhooks publishes for Python.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rowcall::clock::Clock;
use rowcall::sink::{Bytes, Message, Outcome, SigningSecret, Sink, WebhookSink};
use url::Url;

use crate::support::receiver::Receiver;
use crate::{PATIENT, client, message};

#[tokio::test]
async fn the_published_verifier_accepts_what_is_sent_and_nothing_else() {
    // GIVEN a webhook as received, signed at the real time: the verifier reads the real clock
    let receiver = Receiver::start().await;
    let secret = SigningSecret::generate().unwrap();
    let url = Url::parse(receiver.url()).unwrap();
    let sink = WebhookSink::new(client(), &url, secret.clone()).unwrap();
    let body = r#"{"type":"sales.order.released","data":{"note":"Grüße, 世界"}}"#;
    let sent = Message {
        body: Bytes::from(body),
        ..message("0199c2f0-7d1e-7000-8000-0.2")
    };
    let outcome = sink.send(&sent, Clock::System.now(), PATIENT).await;
    assert_eq!(outcome, Outcome::Delivered { status: 200 });
    let got = receiver.received().remove(0);
    let body = String::from_utf8(got.body).unwrap();

    // WHEN the verifier of another language and author is asked
    prepare_verifier();
    let ask = |id: &str, body: &str, secret: &SigningSecret| {
        verify(&serde_json::json!({
            "id": id,
            "timestamp": got.timestamp,
            "signature": got.signature,
            "body": body,
            "secret": secret.expose(),
        }))
    };

    // THEN it accepts exactly this id, body and secret
    assert_eq!(ask(&got.id, &body, &secret), "verified");
    let other = SigningSecret::generate().unwrap();
    for answer in [
        ask(&got.id, &body.replace("released", "Released"), &secret),
        ask("another-id", &body, &secret),
        ask(&got.id, &body, &other),
    ] {
        assert_eq!(answer, "refused: No matching signature found");
    }
}

fn prepare_verifier() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/verifier.sh");
    let made = Command::new("sh").arg(&script).output().expect("run sh");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{} failed: {said}", script.display());
}

fn verify(webhook: &serde_json::Value) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("target/verifier/bin/python"))
        .arg(root.join("tests/support/verify_webhook.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run the verifier's python");
    let mut stdin = python.stdin.take().expect("its standard input");
    stdin
        .write_all(webhook.to_string().as_bytes())
        .expect("write to the verifier");
    drop(stdin);
    let output = python.wait_with_output().expect("the verifier's answer");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the verifier failed: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
