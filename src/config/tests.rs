use super::*;

#[test]
fn defaults_and_test_limits_hold_their_relations() {
    Limits::default().validate().unwrap();
    Limits::for_testing().validate().unwrap();
}

#[test]
fn a_lease_shorter_than_two_requests_is_refused() {
    let limits = Limits {
        lease_ms: 20_000,
        ..Limits::default()
    };
    let text = limits.validate().unwrap_err().to_string();
    assert!(text.contains("limits.lease_ms"), "{text}");
}

#[test]
fn limits_of_failing_subscriptions_are_neither_nothing_nor_for_ever() {
    let cases = [
        (0, 1, 1, 1, "limits.disable_after_hours is 0"),
        (8_785, 1, 1, 1, "must not be larger than 8784"),
        (1, 0, 1, 1, "limits.disable_failures_min is 0"),
        (1, 1, 0, 1, "limits.backlog_age_max_hours is 0"),
        (1, 1, u64::MAX, 1, "must not be larger than 8784"),
        (1, 1, 1, 0, "limits.backlog_deliveries_max is 0"),
    ];
    for (disable_after_hours, disable_failures_min, age, count, says) in cases {
        let limits = Limits {
            disable_after_hours,
            disable_failures_min,
            backlog_age_max_hours: age,
            backlog_deliveries_max: count,
            ..Limits::default()
        };
        let text = limits.validate().unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn an_unknown_setting_is_an_error_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rowcall.toml");
    std::fs::write(
        &path,
        "listen = \"127.0.0.1:1\"\n[limits]\nsender_max = 3\n",
    )
    .unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    let text = Config::load(flags).unwrap_err().to_string();
    assert!(
        text.contains("line 3") && text.contains("sender_max"),
        "{text}"
    );
}

#[test]
fn a_line_with_a_secret_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rowcall.toml");
    std::fs::write(&path, "secret_kye = \"hush\"\n").unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    let text = Config::load(flags).unwrap_err().to_string();
    assert!(
        text.contains("line 1, column 1") && text.contains("secret_kye"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn without_a_database_the_error_says_how_to_name_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rowcall.toml");
    std::fs::write(&path, "").unwrap();
    let error = Config::load(Flags {
        config: Some(path),
        ..Flags::default()
    })
    .unwrap_err();
    assert!(matches!(error, ConfigError::NoDatabase));
}

#[test]
fn a_public_address_that_is_none_is_told_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rowcall.toml");
    let load = |text: &str| {
        std::fs::write(&path, format!("embedded = \"db\"\n{text}")).unwrap();
        Config::load(Flags {
            config: Some(path.clone()),
            ..Flags::default()
        })
    };
    let error = load("public_url = \"rowcall.example.com\"").unwrap_err();
    assert!(error.to_string().starts_with("public_url: it is no URL"));
    let config = load("public_url = \"https://rowcall.example.com/\"").unwrap();
    let url = config.public_url.unwrap();
    assert_eq!(url.to_string(), "https://rowcall.example.com");
    assert_eq!(load("").unwrap().public_url, None);
}
