//! The mail settings as the program reads them.

use rowcall::config::{Config, Flags};
use secrecy::SecretString;

fn load(url: Option<&str>, from: Option<&str>) -> Result<Config, String> {
    Config::load(Flags {
        embedded: Some("data".into()),
        smtp_url: url.map(SecretString::from),
        smtp_from: from.map(str::to_owned),
        ..Flags::default()
    })
    .map_err(|error| error.to_string())
}

#[test]
fn a_mail_server_is_optional_and_checked_at_start() {
    assert!(load(None, None).unwrap().mail.is_none());
    assert!(
        load(None, Some("rowcall@example.com"))
            .unwrap()
            .mail
            .is_none()
    );
    let good = load(
        Some("smtps://a:hunter2@mail.example.com"),
        Some("a@example.com"),
    );
    let good = good.unwrap();
    assert!(good.mail.is_some());
    assert!(!format!("{good:?}").contains("hunter2"));
    for (url, from, says) in [
        (
            "smtps://a:hunter2@mail.example.com",
            None,
            "ROWCALL_SMTP_FROM is not set",
        ),
        (
            "smtps://a:hunter2@mail.example.com",
            Some("a"),
            "ROWCALL_SMTP_FROM: `a` is no address",
        ),
        (
            "http://a:hunter2@mail.example.com",
            Some("a@example.com"),
            "begins with `http:`",
        ),
    ] {
        let error = load(Some(url), from).unwrap_err();
        assert!(
            error.contains(says) && !error.contains("hunter2"),
            "{error}"
        );
    }
}
