use secrecy::SecretString;

use super::*;

fn settings() -> MailSettings {
    let url = SecretString::from("smtps://mail.example.com");
    MailSettings::parse(&url, Some("Rowcall <rowcall@example.com>")).unwrap()
}

fn spec() -> EmailSpec {
    EmailSpec {
        to: vec!["ada@example.org".to_owned()],
        ..EmailSpec::default()
    }
}

fn problems(spec: &EmailSpec) -> Vec<(String, String)> {
    check_email(spec, "synchronous", Some(&settings()))
}

#[test]
fn what_is_right_is_accepted() {
    let full = EmailSpec {
        to: vec!["a@example.org".to_owned(), "B <b@example.org>".to_owned()],
        from: Some("Desk <desk@example.com>".to_owned()),
        reply_to: Some("desk@example.org".to_owned()),
        subject: Some("{{ event.type }}".to_owned()),
        template: None,
        text: Some("{{ event.subject }}".to_owned()),
        html: Some("<p>{{ event.subject }}</p>".to_owned()),
    };
    let built_in = EmailSpec {
        template: Some("event".to_owned()),
        ..spec()
    };
    for spec in [full, built_in, spec()] {
        assert_eq!(problems(&spec), []);
    }
    let digest = EmailSpec {
        template: Some("digest".to_owned()),
        ..spec()
    };
    assert_eq!(check_email(&digest, "batch", Some(&settings())), []);
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let with = |change: fn(&mut EmailSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    for (spec, pointer, says) in [
        (with(|s| s.to.clear()), "/sink/to", "write 1 to 50"),
        (
            with(|s| s.to = vec!["a@b.example".to_owned(); 51]),
            "/sink/to",
            "51 recipients",
        ),
        (
            with(|s| s.to.push("a@b.example\r\nBcc: c@d.example".to_owned())),
            "/sink/to/1",
            "line break",
        ),
        (
            with(|s| s.to.push("Ada <ADA@example.org>".replace("ADA", "ada"))),
            "/sink/to/1",
            "is there twice",
        ),
        (
            with(|s| s.from = Some("ceo@bank.example".to_owned())),
            "/sink/from",
            "ROWCALL_SMTP_FROM",
        ),
        (
            with(|s| s.from = Some("a\n@example.com".to_owned())),
            "/sink/from",
            "line break",
        ),
        (
            with(|s| s.reply_to = Some("nobody".to_owned())),
            "/sink/reply_to",
            "is no address",
        ),
        (
            with(|s| s.subject = Some("a\r\nBcc: c@d.example".to_owned())),
            "/sink/subject",
            "one line",
        ),
        (
            with(|s| s.subject = Some("{# nothing #}".to_owned())),
            "/sink/subject",
            "says nothing",
        ),
        (
            with(|s| s.subject = Some("{{ a ~ a }}".to_owned())),
            "/sink/subject",
            "line 1: `+`",
        ),
        (
            with(|s| s.text = Some("x\n{{ event.id - 1 }}".to_owned())),
            "/sink/text",
            "line 2: ",
        ),
        (
            with(|s| s.html = Some("x\n{% if %}".to_owned())),
            "/sink/html",
            "line 2: syntax error",
        ),
        (
            with(|s| s.template = Some("digest".to_owned())),
            "/sink/template",
            "write `event`",
        ),
        (
            with(|s| s.template = Some("../../x".to_owned())),
            "/sink/template",
            "there is no template",
        ),
        (
            with(|s| {
                s.template = Some("event".to_owned());
                s.html = Some("x".to_owned());
            }),
            "/sink/template",
            "leave `template` out",
        ),
    ] {
        let found = problems(&spec);
        let is_it = |(at, message): &(String, String)| at == pointer && message.contains(says);
        assert!(
            found.iter().any(is_it),
            "{pointer}: {says} is not in {found:?}"
        );
    }
}

#[test]
fn a_template_that_loops_is_found_before_it_is_used() {
    // The sample has 200 entries nowhere; characters of a text are entries too.
    let open = "{% for a in event.id %}".repeat(4);
    let spec = EmailSpec {
        text: Some(format!("{open}x{}", "{% endfor %}".repeat(4))),
        ..spec()
    };
    let found = problems(&spec);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn without_a_mail_server_there_are_no_mails() {
    let found = check_email(&spec(), "synchronous", None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "/sink");
    assert!(
        found[0].1.contains("set ROWCALL_SMTP_URL"),
        "{}",
        found[0].1
    );
}
