use proptest::prelude::*;

use super::*;
use crate::sink::email::{address::mailbox, content::Content, template::Templates};

fn addressing(to: &[&str]) -> Addressing {
    Addressing {
        from: mailbox("Rowcall <rowcall@example.com>").unwrap(),
        operator: mailbox("rowcall@example.com").unwrap().email,
        to: to.iter().map(|to| mailbox(to).unwrap()).collect(),
        reply_to: Some(mailbox("Jürgen <desk@example.com>").unwrap()),
        subscription_id: Uuid::from_u128(7),
        subscription_name: "morning-digest".to_owned(),
    }
}

fn rendered(subject: &str, text: &str, html: Option<&str>) -> Rendered {
    Rendered {
        subject: subject.to_owned(),
        text: text.to_owned(),
        html: html.map(str::to_owned),
    }
}

fn mail(text: &str, html: Option<&str>) -> String {
    let made = compose(
        &addressing(&["ada@example.org", "Bob <bob@example.net>"]),
        "0199.1",
        DateTime::from_timestamp(1_795_248_000, 0).unwrap(),
        rendered("Grüße", text, html),
    );
    String::from_utf8(made.unwrap().bytes).unwrap()
}

#[test]
fn a_mail_is_the_same_to_the_byte_every_time() {
    assert_eq!(mail("a", Some("<p>b</p>")), mail("a", Some("<p>b</p>")));
    assert_ne!(mail("a", Some("<p>b</p>")), mail("a", Some("<p>c</p>")));
}

#[test]
fn its_headers_say_what_it_is() {
    let mail = mail("text", Some("<p>html</p>"));
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    for line in [
        "From: Rowcall <rowcall@example.com>",
        "To: ada@example.org, Bob <bob@example.net>",
        "Date: Sat, 21 Nov 2026 08:00:00 +0000",
        "Auto-Submitted: auto-generated",
        "List-Unsubscribe: <mailto:rowcall@example.com?subject=unsubscribe%20morning%2Ddigest>",
        "Rowcall-Subscription: morning-digest",
        "Rowcall-Event-Id: 0199.1",
        "MIME-Version: 1.0",
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=",
    ] {
        assert!(head.contains(line), "{line} is not in\n{head}");
    }
    assert!(head.contains("Message-ID: <0199.1.00000000000000000000000000000007."));
    assert!(!head.contains("Precedence") && !head.contains("List-Unsubscribe-Post"));
    assert_eq!(body.matches("quoted-printable").count(), 2, "{body}");
}

#[test]
fn a_message_id_is_that_of_message_subscription_and_recipients() {
    let id = |to: &[&str], id: &str| message_id(&addressing(to), id);
    let one = id(&["a@example.com", "b@example.com"], "e");
    assert_eq!(one, id(&["a@example.com", "b@example.com"], "e"));
    assert_ne!(one, id(&["a@example.com"], "e"));
    assert_ne!(one, id(&["a@example.com", "b@example.com"], "f"));
    assert_ne!(one, id(&["b@example.com", "a@example.com"], "e"));
}

#[test]
fn an_id_that_could_do_harm_is_replaced_by_its_hash() {
    assert_eq!(plain_id("0199-a_b.12"), "0199-a_b.12");
    for id in [
        "",
        "a..b",
        ".a",
        "../../etc",
        "a\r\nBcc: x",
        "a b",
        "<a>",
        "ä",
    ] {
        let plain = plain_id(id);
        assert_eq!(plain.len(), 32, "{id} gave {plain}");
        assert_ne!(plain, plain_id("another"));
    }
    assert_eq!(plain_id(&"a".repeat(129)).len(), 32);
}

#[test]
fn what_a_server_could_take_for_the_end_is_encoded_or_refused() {
    for text in [
        "a\n.\nMAIL FROM:<eve@example.com>",
        "a\r.\rb",
        "a\r\n.\r\nb",
        "a\n\r.\n\rb",
        "\n.\n",
        ".",
        "\r\n.\r\n",
        "a\0b",
        "\u{2028}.\u{2028}",
    ] {
        let mail = mail(text, Some(text));
        assert_eq!(wire_fault(mail.as_bytes()), None);
    }
    for (mail, says) in [
        ("a\nb", "CR LF"),
        ("a\r\n.\nb\r\n", "CR LF"),
        ("a\rb\r\n", "a CR inside"),
        ("a\0b\r\n", "not ASCII"),
        ("ä\r\n", "not ASCII"),
        ("no end", "CR LF"),
    ] {
        assert!(
            wire_fault(mail.as_bytes()).unwrap().contains(says),
            "{mail:?}"
        );
    }
    let long = "x".repeat(LINE_BYTES_MAX + 1) + "\r\n";
    assert!(wire_fault(long.as_bytes()).unwrap().contains("too long"));
    assert_eq!(wire_fault(b"a\r\n\r\n.\r\n"), None);
}

#[test]
fn no_body_can_hold_the_boundary() {
    let made = rendered("s", "x", Some("y"));
    let boundary = boundary("<a@b>", &made);
    let mail = mail(&format!("--{boundary}--\n--{boundary}"), Some("y"));
    assert!(!mail.contains(&format!("--{boundary}")), "{mail}");
}

#[test]
fn any_time_can_be_a_date() {
    for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let made = compose(
            &addressing(&["a@example.com"]),
            "e",
            time,
            rendered("s", "t", None),
        );
        assert!(made.is_ok());
    }
}

/// The header lines, each with what it continues on.
fn headers(mail: &str) -> Vec<String> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let mut headers: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match headers.last_mut() {
            Some(header) if line.starts_with([' ', '\t']) => header.push_str(line),
            _ => headers.push(line.to_owned()),
        }
    }
    headers
}

proptest! {
    /// Whatever a row says, the mail has the same headers and is one mail.
    #[test]
    fn no_value_adds_a_header_or_a_mail(
        value in any::<String>(),
        spiced in "[\\r\\n.:=? \\u{85}\\u{2028}<>a-c]{0,40}",
        name in "[\\r\\n:=? a-c]{0,20}",
    ) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let body = format!(
            r#"{{"id":{0},"type":{1},"subject":{0},"time":"2026-11-21T08:00:00Z","data":
               {{"op":"update","actor":{0},"before":{{{2}:{1}}},"after":{{{2}:{0}}}}}}}"#,
            quoted(&value), quoted(&spiced), quoted(&name)
        );
        let subscription = minijinja::Value::from("s");
        let content = Content::read(body.as_bytes(), &subscription).unwrap();
        let subject = Some("x {{ event.data.actor }} {{ event.type }}");
        let templates = Templates::compile(subject, None, None).unwrap();
        let rendered = templates.render(&content).unwrap();
        let time = content.time.unwrap();
        let made = compose(&addressing(&["a@example.com"]), &value, time, rendered).unwrap();

        prop_assert_eq!(wire_fault(&made.bytes), None);
        let mail = String::from_utf8(made.bytes).unwrap();
        let names: Vec<String> = headers(&mail)
            .iter()
            .map(|header| header.split(':').next().unwrap().to_owned())
            .collect();
        prop_assert_eq!(names, [
            "From", "Subject", "Date", "Message-ID", "To", "Reply-To", "Auto-Submitted",
            "List-Unsubscribe", "Rowcall-Subscription", "Rowcall-Event-Id", "MIME-Version",
            "Content-Type",
        ]);
        prop_assert!(!made.file_name.contains(['/', '\0', '\n']));
    }
}
