//! Receivers that hang, drip, flood, hang up or speak something else (F9, F19).

use std::time::Duration;

use rowcall::sink::{Outcome, RESPONSE_HEAD_BYTES_MAX, Sink, WebhookSink};
use tokio::time::Instant;
use url::Url;

use crate::support::receiver::{Answer, Receiver};
use crate::{IMPATIENT, SOON, client, message, no_answer, now, secret, send, sink_to};

#[tokio::test]
async fn the_deadline_holds_whatever_the_receiver_withholds() {
    for answer in [Answer::HangAfterAccept, Answer::Drip] {
        let receiver = Receiver::start().await;
        receiver.script([answer.clone()]);
        let sink = sink_to(receiver.url());

        let began = Instant::now();
        let outcome = sink.send(&message("slow"), now(), IMPATIENT).await;
        let took = began.elapsed();

        assert!(
            took >= IMPATIENT && took < SOON,
            "{answer:?}: took {took:?}"
        );
        let detail = no_answer(outcome);
        assert!(
            detail.contains("did not answer within 0.3 s"),
            "{answer:?}: {detail}"
        );
        // The connection that failed is not used again.
        assert_eq!(
            send(&sink, "next").await,
            Outcome::Delivered { status: 200 }
        );
        assert_eq!(receiver.connections(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_is_read_to_its_limit_and_no_further() {
    for answer in [
        Answer::DripBody,
        Answer::EndlessBody,
        Answer::HugeBody(32 * 1024 * 1024),
    ] {
        let receiver = Receiver::start().await;
        receiver.script([answer.clone()]);
        let sink = sink_to(receiver.url());

        // WHEN a body comes that is too long or too slow
        let began = Instant::now();
        let outcome = send(&sink, "talkative").await;
        let took = began.elapsed();

        // THEN the status counts, and the connection is given up
        assert_eq!(outcome, Outcome::Delivered { status: 200 }, "{answer:?}");
        assert!(took < SOON, "{answer:?}: took {took:?}");
        assert_eq!(
            send(&sink, "next").await,
            Outcome::Delivered { status: 200 }
        );
        assert_eq!(receiver.connections(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let receiver = Receiver::start().await;
    let headers = vec![("content-encoding".to_owned(), "gzip".to_owned())];
    let body = b"\x1f\x8b\x08 and no gzip after all".to_vec();
    receiver.script([Answer::StatusWith {
        status: 200,
        headers,
        body,
    }]);
    assert_eq!(
        send(&sink_to(receiver.url()), "zip").await,
        Outcome::Delivered { status: 200 }
    );
}

#[tokio::test]
async fn what_is_no_proper_head_is_told_apart() {
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for (answer, says) in [
        (
            Answer::HugeHead(2 * RESPONSE_HEAD_BYTES_MAX),
            "head larger than",
        ),
        (Answer::Raw(many_headers.into_bytes()), "head larger than"),
        (
            Answer::Raw(b"220 mail.example ESMTP\r\n".to_vec()),
            "not HTTP/1.1",
        ),
        (
            Answer::Raw(b"HTTP/1.1 200".to_vec()),
            "closed the connection before it answered",
        ),
        (Answer::Reset, "closed the connection before it answered"),
    ] {
        let receiver = Receiver::start().await;
        receiver.script([answer.clone()]);
        let detail = no_answer(send(&sink_to(receiver.url()), "odd").await);
        assert!(detail.contains(says), "{says}: {detail}");
        assert_eq!(
            receiver.received().len(),
            1,
            "{says}: tried twice on a new connection"
        );
    }
}

#[tokio::test]
async fn a_lost_answer_leads_to_a_duplicate_with_the_same_id_and_body() {
    // GIVEN a receiver that takes the message and drops, or outlasts, the answer (F19)
    let receiver = Receiver::start().await;
    receiver.verify_with(secret());
    receiver.script([Answer::Reset, Answer::HangAfterAccept]);
    let sink = sink_to(receiver.url());

    // WHEN it is attempted until it is acknowledged, each time at a later time
    for (step, acknowledged) in [false, false, true].into_iter().enumerate() {
        let later = now() + Duration::from_secs(5 * step as u64);
        let outcome = sink.send(&message("once"), later, IMPATIENT).await;
        let delivered = matches!(outcome, Outcome::Delivered { .. });
        assert_eq!(delivered, acknowledged, "attempt {step}: {outcome:?}");
    }

    // THEN the attempts differ in nothing but time and signature
    let got = receiver.wait_for(3, SOON).await;
    assert!(
        got.iter()
            .all(|one| one.id == "once" && one.body == got[0].body),
        "{got:?}"
    );
    assert!(got.iter().all(|one| one.verified == Some(true)), "{got:?}");
    assert_ne!(got[0].timestamp, got[2].timestamp);
}

#[tokio::test]
async fn hanging_receivers_do_not_slow_a_good_one() {
    // GIVEN 64 attempts that hang, over the same client
    let (bad, good) = (Receiver::start().await, Receiver::start().await);
    bad.answer_with(|_| Answer::HangAfterAccept);
    let client = client();
    let sink_at = |receiver: &Receiver| {
        let url = Url::parse(receiver.url()).unwrap();
        WebhookSink::new(client.clone(), &url, secret()).unwrap()
    };
    let hanging: Vec<_> = (0..64)
        .map(|count| {
            let sink = sink_at(&bad);
            tokio::spawn(async move { send(&sink, &count.to_string()).await })
        })
        .collect();
    bad.wait_for(64, SOON).await;

    // WHEN another receiver is sent to
    let sink = sink_at(&good);
    for count in 0..50 {
        assert_eq!(
            send(&sink, &count.to_string()).await,
            Outcome::Delivered { status: 200 }
        );
    }

    // THEN all of it is through while the others still hang
    assert!(hanging.iter().all(|attempt| !attempt.is_finished()));
    hanging.into_iter().for_each(|attempt| attempt.abort());
}
