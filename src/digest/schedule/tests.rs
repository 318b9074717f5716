use super::*;

fn asked(json: &str) -> Result<Schedule, Vec<(&'static str, String)>> {
    let schedule: DigestSchedule = serde_json::from_str(json).unwrap();
    Schedule::compile(&schedule)
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

#[test]
fn the_sooner_of_cron_and_max_wait_closes() {
    let schedule =
        asked(r#"{"cron": "0 8 * * *", "time_zone": "Europe/Berlin", "max_wait": "12h"}"#).unwrap();
    let close = |now, first: Option<&str>| schedule.close(at(now), first.map(at)).unwrap();
    // GIVEN an event shortly before the hour WHEN the hour comes first THEN that closes
    let morning = close("2026-03-02T05:00:00Z", Some("2026-03-02T05:00:00Z"));
    assert_eq!(morning.at, at("2026-03-02T07:00:00Z"));
    assert_eq!(morning.by, CloseBy::Schedule);
    // GIVEN one after it WHEN twelve hours are sooner THEN those close
    let noon = close("2026-03-02T11:00:00Z", Some("2026-03-02T11:00:00Z"));
    assert_eq!(noon.at, at("2026-03-02T23:00:00Z"));
    assert_eq!(noon.by, CloseBy::MaxWait);
    // GIVEN no event THEN only the hour counts
    let empty = close("2026-03-02T11:00:00Z", None);
    assert_eq!(empty.at, at("2026-03-03T07:00:00Z"));
}

#[test]
fn a_number_of_events_alone_closes_at_no_time() {
    let schedule = asked(r#"{"max_items": 500}"#).unwrap();
    let now = at("2026-03-02T05:00:00Z");
    assert_eq!(schedule.close(now, Some(now)), None);
    assert_eq!(schedule.max_items(), Some(500));
    assert!(!schedule.sends_empty());
}

#[test]
fn bad_input_says_where_and_what_to_do() {
    for (json, pointer, part) in [
        ("{}", "", "at least one of `cron`"),
        (
            r#"{"max_items": 5, "late": "each"}"#,
            "/late",
            "give `cron`, too",
        ),
        (r#"{"cron": "0 8 * *"}"#, "/cron", "five fields"),
        (r#"{"cron": "0 0 30 2 *"}"#, "/cron", "never fires"),
        (
            r#"{"cron": "0 8 * * *", "time_zone": "Europe/Berln"}"#,
            "/time_zone",
            "did you mean `Europe/Berlin`?",
        ),
        (
            r#"{"cron": "0 8 * * *", "time_zone": "berlin"}"#,
            "/time_zone",
            "did you mean `Europe/Berlin`?",
        ),
        (
            r#"{"cron": "0 8 * * *", "time_zone": "+01:00"}"#,
            "/time_zone",
            "no time zone",
        ),
        (
            r#"{"max_items": 5, "time_zone": "Europe/Berlin"}"#,
            "/time_zone",
            "leave `time_zone` out",
        ),
        (r#"{"max_items": 0}"#, "/max_items", "from 1 to 1000000"),
        (r#"{"max_items": 1000001}"#, "/max_items", "from 1 to"),
        (r#"{"max_wait": "0s"}"#, "/max_wait", "from 1s"),
        (r#"{"max_wait": "10years"}"#, "/max_wait", "from 1s"),
        (
            r#"{"max_items": 5, "send_empty": true}"#,
            "/send_empty",
            "give `cron`",
        ),
    ] {
        let problems = asked(json).unwrap_err();
        assert_eq!(problems.len(), 1, "{json}: {problems:?}");
        assert_eq!(problems[0].0, pointer, "{json}");
        assert!(problems[0].1.contains(part), "{json}: {problems:?}");
    }
    // All of it at once.
    let all = r#"{"cron": "x", "time_zone": "y", "max_items": 0, "max_wait": "0s"}"#;
    assert_eq!(asked(all).unwrap_err().len(), 4);
}

#[test]
fn late_windows_are_merged_unless_each_is_asked_for() {
    let daily = r#"{"cron": "0 8 * * *""#;
    let (begun, now) = (at("2026-03-02T08:00:00Z"), at("2026-03-05T09:00:00Z"));
    let merged = asked(&format!("{daily}}}")).unwrap();
    assert!(merged.missed(begun, now).is_empty() && !merged.ends_on_time());
    let each = asked(&format!(r#"{daily}, "late": "each"}}"#)).unwrap();
    assert_eq!(each.missed(begun, now).len(), 3);
    // What is not said is not shown, and what is said is.
    let shown = |json: &str| {
        let schedule: DigestSchedule = serde_json::from_str(json).unwrap();
        serde_json::to_string(&schedule).unwrap()
    };
    assert_eq!(
        shown(&format!(r#"{daily}, "late": "merge"}}"#)),
        r#"{"cron":"0 8 * * *"}"#
    );
    assert!(shown(&format!(r#"{daily}, "late": "each"}}"#)).contains(r#""late":"each""#));
}
