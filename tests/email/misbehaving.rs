//! Mail servers that refuse, drop, hang, drip and flood.

use rowcall::sink::{EmailSink, Outcome, REPLY_BYTES_MAX, Sink};
use tokio::{sync::watch, time::Instant};

use crate::{
    EVENT, IMPATIENT, SOON, given_up, mailer, message, now, retried,
    script::{BANNER, END, Script, Turn},
    send, sink_by,
};

const DELIVERED: Outcome = Outcome::Delivered { status: 250 };

async fn script() -> (Script, EmailSink) {
    let script = Script::start().await;
    let sink = sink_by(mailer(&script.url()));
    (script, sink)
}

async fn send_impatiently(sink: &EmailSink) -> Outcome {
    let begun = Instant::now();
    let outcome = sink.send(&message("0199-e", EVENT), now(), IMPATIENT).await;
    assert!(begun.elapsed() < SOON, "the deadline was not kept");
    outcome
}

#[tokio::test]
async fn a_lost_acknowledgement_costs_a_repeat_that_can_be_told() {
    // GIVEN a server that has the mail and drops the connection
    let (script, sink) = script().await;
    script.on(END, [Turn::Drop]);

    // WHEN it is sent, and sent again
    let (status, detail) = retried(send(&sink).await);
    assert_eq!(send(&sink).await, DELIVERED);

    // THEN
    assert_eq!(status, None);
    assert!(detail.contains("the same Message-ID"), "{detail}");
    let mails = script.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].data, mails[1].data);
    assert!(String::from_utf8_lossy(&mails[0].data).contains("Message-ID: <0199-e."));
}

#[tokio::test]
async fn what_is_refused_for_now_goes_through_later() {
    for (place, answer, code) in [
        (BANNER, "421 4.3.2 come later\r\n", 421),
        ("EHLO", "451 4.3.0 not now\r\n", 451),
        ("MAIL", "450 4.7.1 greylisted\r\n", 450),
        (
            "RCPT",
            "450-4.2.1 first line\r\n450 4.2.1 mailbox busy\r\n",
            450,
        ),
        ("RCPT", "552 5.5.3 too many recipients\r\n", 552),
        ("DATA", "421 4.3.2 closing\r\n", 421),
        (END, "451 4.3.0 try again\r\n", 451),
        // These are for the operator, who may give other access.
        (BANNER, "554 5.3.2 no service here\r\n", 554),
        ("MAIL", "530 5.7.0 authentication required\r\n", 530),
    ] {
        let (script, sink) = script().await;
        script.on(place, [Turn::Say(answer)]);

        let (status, detail) = retried(send(&sink).await);
        assert_eq!(status, Some(code), "{place}: {detail}");
        assert!(
            !detail.contains("greylisted") && !detail.contains("busy"),
            "{detail}"
        );
        assert_eq!(send(&sink).await, DELIVERED, "{place}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_given_up_with_its_place() {
    for (place, answer, code, says) in [
        ("MAIL", "550 5.7.1 no\r\n", 550, "550 5.7.1 to the sender"),
        (
            "RCPT",
            "550 5.1.1 nobody\r\n",
            550,
            "550 5.1.1 to the recipient /sink/to/0",
        ),
        ("DATA", "554 no valid recipients\r\n", 554, "554 to DATA"),
        (END, "552 5.3.4 too big\r\n", 552, "552 5.3.4 to the mail"),
    ] {
        let (script, sink) = script().await;
        script.on(place, [Turn::Say(answer)]);
        let (status, detail) = given_up(send(&sink).await);
        assert_eq!(status, Some(code));
        assert!(detail.contains(says), "{detail}");
        // A mail that one recipient is refused nobody gets.
        assert!(script.mails().is_empty() || place == END);
    }
    let (script, sink) = script().await;
    script.on(
        "RCPT",
        [Turn::Say("250 fine\r\n"), Turn::Say("550 5.1.1 nobody\r\n")],
    );
    let (_, detail) = given_up(send(&sink).await);
    assert!(detail.contains("/sink/to/1"), "{detail}");
    assert_eq!(script.mails(), []);
}

#[tokio::test]
async fn a_verdict_does_not_wait_for_a_goodbye() {
    let (script, sink) = script().await;
    script.on(END, [Turn::Say("554 5.6.0 no\r\n")]);
    script.on("QUIT", [Turn::Hang]);
    let (status, _) = given_up(send_impatiently(&sink).await);
    assert_eq!(status, Some(554));
}

#[tokio::test]
async fn the_deadline_holds_wherever_the_server_stops() {
    for (place, says) in [
        (BANNER, "when it had to greet"),
        ("EHLO", "when it had to greet"),
        ("MAIL", "to the sender"),
        ("RCPT", "/sink/to/0"),
        ("DATA", "to DATA"),
        (END, "the same Message-ID"),
    ] {
        for turn in [Turn::Hang, Turn::Drip] {
            let (script, sink) = script().await;
            script.on(place, [turn.clone()]);
            let (status, detail) = retried(send_impatiently(&sink).await);
            assert_eq!(status, None);
            assert!(detail.contains(says), "{place}, {turn:?}: {detail}");
            assert!(detail.contains("within 400 ms"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_late_answer_is_not_taken_for_that_to_the_next_mail() {
    // GIVEN a mail whose acknowledgement comes after its deadline
    let (script, sink) = script().await;
    let (gate, held) = watch::channel(false);
    script.on(END, [Turn::Held(held)]);
    retried(send_impatiently(&sink).await);

    // WHEN it comes, and the next mail is refused
    gate.send_replace(true);
    script.on(END, [Turn::Say("451 4.3.0 no\r\n")]);
    let (status, _) = retried(send(&sink).await);

    // THEN the next mail went over a connection of its own
    assert_eq!(status, Some(451));
    assert_eq!(script.connections(), 2);
    let connections: Vec<usize> = script.mails().iter().map(|mail| mail.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn replies_without_end_are_cut_off() {
    for (place, turn) in [
        (BANNER, Turn::Flood),
        ("MAIL", Turn::Flood),
        (END, Turn::Flood),
        (BANNER, Turn::Lines),
        ("MAIL", Turn::Lines),
    ] {
        let (script, sink) = script().await;
        script.on(place, [turn.clone()]);
        let begun = Instant::now();
        let (status, detail) = retried(send(&sink).await);
        assert_eq!(status, None);
        assert!(
            begun.elapsed() < SOON,
            "{place}, {turn:?} was read too long"
        );
        if place != END {
            assert!(
                detail.contains(&format!("more than {REPLY_BYTES_MAX} bytes")),
                "{place}, {turn:?}: {detail}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_smtp_is_told_apart() {
    for (answer, says) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "something that is not SMTP",
        ),
        ("999 what\r\n", "something that is not SMTP"),
        ("\r\n", "something that is not SMTP"),
        (
            "354 go on\r\n",
            "answered 354 to the sender, which does not fit",
        ),
    ] {
        let (script, sink) = script().await;
        let place = if answer.starts_with("354") {
            "MAIL"
        } else {
            BANNER
        };
        script.on(place, [Turn::Say(answer)]);
        let (_, detail) = retried(send(&sink).await);
        assert!(detail.contains(says), "{answer:?}: {detail}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_has_ended_is_replaced_unnoticed() {
    for end in [Turn::Drop, Turn::Say("421 4.4.2 idle too long\r\n")] {
        // GIVEN a connection that is kept
        let (script, sink) = script().await;
        assert_eq!(send(&sink).await, DELIVERED);
        assert_eq!(send(&sink).await, DELIVERED);
        assert_eq!(script.connections(), 1);

        // WHEN the server has had enough of it
        script.on("MAIL", [end]);
        assert_eq!(send(&sink).await, DELIVERED);

        // THEN
        assert_eq!(script.connections(), 2);
        assert_eq!(script.mails().len(), 3);
    }
}

#[tokio::test]
async fn no_more_mails_are_under_way_than_connections_are_set() {
    // GIVEN leave for two, and a server that holds its answers
    let script = Script::start().await;
    let sink = sink_by(mailer(&format!("{}&connections=2", script.url())));
    let (gate, held) = watch::channel(false);
    script.on(END, vec![Turn::Held(held); 6]);

    // WHEN six are sent
    let sending: Vec<_> = (0..6)
        .map(|_| {
            let sink = sink.clone();
            tokio::spawn(async move { send(&sink).await })
        })
        .collect();
    script.wait_for_under_way(2).await;

    // THEN a seventh waits in vain, and all six go over two connections
    let (_, detail) = retried(send_impatiently(&sink).await);
    assert!(detail.contains("no connection to"), "{detail}");
    assert_eq!(script.under_way(), 2);
    gate.send_replace(true);
    for one in sending {
        assert_eq!(one.await.unwrap(), DELIVERED);
    }
    assert_eq!(script.connections(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_retried() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let sink = sink_by(mailer(&format!("smtp://127.0.0.1:{port}?tls=none")));
    let (_, detail) = retried(send(&sink).await);
    assert!(detail.contains("check ROWCALL_SMTP_URL"), "{detail}");
    let sink = sink_by(mailer("smtp://no-such-host.invalid?tls=none"));
    let (_, detail) = retried(send_impatiently(&sink).await);
    assert!(detail.contains("no-such-host.invalid:25"), "{detail}");
}
