//! What rows, keys, names and addresses could smuggle in, held against a careless server.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rowcall::{
    sink::{EmailSink, MailSettings, Outcome, Sink, check_email},
    subscription::model::EmailSpec,
};
use serde_json::json;
use uuid::Uuid;

use crate::{PATIENT, mailer, message, now, script::Script, settings, spec};

/// An event all of whose texts are `evil`.
fn event(evil: &str) -> String {
    json!({
        "specversion": "1.0", "id": evil, "source": evil, "type": evil, "subject": evil,
        "time": "2026-11-21T07:58:12Z",
        "data": {"object_type": evil, "op": "update", "actor": evil,
                 "before": {evil: "x"}, "after": {evil: evil}},
    })
    .to_string()
}

/// A digest all of whose texts are `evil`.
fn digest(evil: &str) -> String {
    json!({
        "id": evil, "type": "rowcall.digest", "time": evil,
        "data": {"subscription": evil, "window": {"from": evil, "to": evil}, "count": 1,
                 "events": [{"type": evil, "object_type": evil, "count": 1,
                             "keys": [{"key": evil, "count": 1, "last_at": evil}]}]},
    })
    .to_string()
}

fn own_templates() -> EmailSpec {
    EmailSpec {
        subject: Some("{{ event.subject }} {{ digest.subscription }} {{ event.type }}".to_owned()),
        text: Some("{{ event }}{{ digest }}\n{{ event.subject }}\n.".to_owned()),
        html: Some("<p>{{ event.subject }}{{ digest }}</p>".to_owned()),
        ..spec()
    }
}

/// Sends it to a server that takes bare line ends, and looks that it got this one mail.
async fn arrives_alone(body: &str, id: &str) {
    let script = Script::start().await;
    for spec in [spec(), own_templates()] {
        let mailer = mailer(&script.url());
        let sink = EmailSink::new(mailer, &spec, Uuid::from_u128(7), "morning").unwrap();
        let before = script.mails().len();
        let outcome = sink.send(&message(id, body), now(), PATIENT).await;
        assert_eq!(outcome, Outcome::Delivered { status: 250 }, "{body}");

        let mails = script.mails();
        assert_eq!(mails.len(), before + 1, "{body} became several mails");
        let mail = &mails[before];
        assert_eq!(mail.from, "<rowcall@example.com>");
        assert_eq!(mail.to, ["<ada@example.org>", "<bob@example.net>"]);
        let text = std::str::from_utf8(&mail.data).unwrap();
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(names.len(), 11, "{body} gave {names:?}");
        assert!(
            !names.contains(&"Bcc") && !names.contains(&"X-Evil"),
            "{names:?}"
        );
    }
    let verbs = ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"];
    for (_, command) in script.commands() {
        assert!(
            verbs.iter().any(|verb| command.starts_with(verb)),
            "{body} became the command {command:?}"
        );
        assert!(!command.contains("eve@"), "{command}");
    }
}

#[tokio::test]
async fn no_value_ends_the_mail_or_adds_to_it() {
    for end in [
        "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\u{2028}", "\u{85}", "\u{b}",
    ] {
        let evil = [
            "x",
            ".",
            "MAIL FROM:<eve@example.com>",
            "RCPT TO:<all@example.com>",
            "DATA",
            "Bcc: eve@example.com",
            "X-Evil: 1",
            "",
            "body",
            ".",
            "QUIT",
            "",
        ]
        .join(end);
        for body in [event(&evil), digest(&evil)] {
            arrives_alone(&body, &evil).await;
        }
    }
    for evil in [
        "=?utf-8?B?DQpCY2M6IGV2ZUBleGFtcGxlLmNvbQ==?=",
        "\0",
        ".",
        "..",
        "\u{202e}x",
    ] {
        arrives_alone(&event(evil), evil).await;
    }
}

#[test]
fn no_text_at_all_ends_the_mail_or_adds_to_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // A failure prints the value that it was reduced to.
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let any_text = prop_oneof![
        any::<String>(),
        "[\\r\\n.: a-c\\u{85}\\u{2028}=?<>@]{0,60}",
        proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter),
    ];
    runner
        .run(&any_text, |evil| {
            runtime.block_on(arrives_alone(&event(&evil), &evil));
            Ok(())
        })
        .unwrap();
}

#[test]
fn addresses_and_subjects_with_line_breaks_are_refused_with_place_and_remedy() {
    let settings: MailSettings = settings("smtps://mail.example.com");
    for end in ["\r\n", "\n", "\r"] {
        let evil = format!("ada@example.com{end}Bcc: eve@example.com");
        let problems = check_email(
            &EmailSpec {
                to: vec!["ada@example.org".to_owned(), evil.clone()],
                from: Some(evil.clone()),
                reply_to: Some(evil.clone()),
                subject: Some(evil.clone()),
                ..EmailSpec::default()
            },
            "synchronous",
            Some(&settings),
        );
        let places: Vec<&str> = problems.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(
            places,
            [
                "/sink/to/1",
                "/sink/from",
                "/sink/reply_to",
                "/sink/subject"
            ]
        );
        for (_, message) in &problems {
            assert!(message.contains("line break"), "{message}");
            assert!(!message.contains(['\r', '\n']), "{message:?}");
        }
    }
}
