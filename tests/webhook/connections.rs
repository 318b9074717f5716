//! Which addresses are connected to, and which connections are used again.

use rowcall::sink::{Outcome, UrlRefusal, WebhookClient, WebhookSink};
use url::Url;

use crate::support::receiver::{Answer, Receiver};
use crate::{guard, no_answer, secret, send, sink_to};

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let receiver = Receiver::start().await;
    let sink = sink_to(receiver.url());
    for count in 0..20 {
        assert_eq!(
            send(&sink, &count.to_string()).await,
            Outcome::Delivered { status: 200 }
        );
    }
    // One, if the connection is always back before the next request looks for it.
    let connections = receiver.connections();
    assert!(
        connections <= 3,
        "20 requests took {connections} connections"
    );
}

#[tokio::test]
async fn a_stale_kept_connection_does_not_lose_the_request() {
    // GIVEN a kept-alive connection that the receiver closes: after its answer, or at the moment
    // the next request has been written to it
    for closing in [
        vec![Answer::StatusThenClose(200)],
        vec![Answer::Status(200), Answer::Reset],
    ] {
        let receiver = Receiver::start().await;
        receiver.script(closing.clone());
        let sink = sink_to(receiver.url());
        assert_eq!(
            send(&sink, "first").await,
            Outcome::Delivered { status: 200 }
        );

        // WHEN the next message is sent
        let outcome = send(&sink, "second").await;

        // THEN it goes out again on a new connection, within the same attempt
        assert_eq!(outcome, Outcome::Delivered { status: 200 }, "{closing:?}");
        let got = receiver.received();
        assert_eq!(
            got.last().map(|last| (last.id.as_str(), last.connection)),
            Some(("second", 1))
        );
    }
}

#[tokio::test]
async fn a_kept_connection_is_repeated_once_and_not_for_ever() {
    let receiver = Receiver::start().await;
    receiver.script([
        Answer::Status(200),
        Answer::Reset,
        Answer::Reset,
        Answer::Reset,
    ]);
    let sink = sink_to(receiver.url());
    assert_eq!(
        send(&sink, "first").await,
        Outcome::Delivered { status: 200 }
    );
    no_answer(send(&sink, "second").await);
    assert_eq!(
        receiver.received().len(),
        3,
        "one, and one repeat of the second"
    );
}

#[tokio::test]
async fn private_addresses_are_refused_for_good() {
    for url in [
        "http://10.0.0.5/",
        "http://0x7f.1:8080/",
        "https://[::ffff:127.0.0.1]/",
    ] {
        let client = WebhookClient::new(guard(&[])).unwrap();
        let refusal = WebhookSink::new(client, &Url::parse(url).unwrap(), secret()).unwrap_err();
        assert!(
            matches!(refusal, UrlRefusal::Address(_)),
            "{url}: {refusal}"
        );
        match Outcome::from(refusal) {
            Outcome::Final {
                status: None,
                detail,
            } => {
                assert!(
                    detail.contains("allow it with --allow-nets"),
                    "{url}: {detail}"
                );
            }
            other => panic!("{url} gave {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_is_judged_by_the_addresses_it_has() {
    let receiver = Receiver::start().await;
    let url = Url::parse(&format!("http://localhost:{}/hook", receiver.port())).unwrap();
    let sink = |allow: &[&str]| {
        WebhookSink::new(WebhookClient::new(guard(allow)).unwrap(), &url, secret()).unwrap()
    };

    match send(&sink(&[]), "inside").await {
        Outcome::Final {
            status: None,
            detail,
        } => {
            assert!(detail.contains("is loopback; allow it with"), "{detail}");
        }
        other => panic!("localhost gave {other:?}"),
    }
    assert_eq!(receiver.connections(), 0, "a refused address was dialled");

    let outcome = send(&sink(&["127.0.0.0/8"]), "inside").await;
    assert_eq!(outcome, Outcome::Delivered { status: 200 });
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_is_tried_again() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let detail = no_answer(send(&sink_to(&format!("http://127.0.0.1:{port}/")), "x").await);
    assert!(detail.contains("refused the connection"), "{detail}");

    // RFC 6761: resolvers answer this name themselves, and never with an address.
    let detail = no_answer(send(&sink_to("http://nowhere.invalid/"), "x").await);
    assert!(detail.contains("the name nowhere.invalid"), "{detail}");
}
