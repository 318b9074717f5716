use proptest::prelude::*;

use super::*;

/// Far enough to see a weekly window again of which two came in vain.
const MODEL_MINUTES_MAX: i64 = 16 * 24 * 60;

fn spec(days: &str, from: &str, to: &str, zone: &str) -> WindowSpec {
    WindowSpec {
        days: Some(days.to_owned()).filter(|days| !days.is_empty()),
        from: from.to_owned(),
        to: to.to_owned(),
        time_zone: Some(zone.to_owned()).filter(|zone| !zone.is_empty()),
    }
}

fn window(days: &str, from: &str, to: &str, zone: &str) -> Window {
    Window::compile(&spec(days, from, to, zone)).unwrap()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// What the zone's wall shows, by chrono's own formatting, compared as text.
fn model_contains(days: &[&str], from: &str, to: &str, zone: Tz, at: DateTime<Utc>) -> bool {
    let wall = at.with_timezone(&zone);
    let (hour, day) = (wall.format("%H:%M").to_string(), wall.date_naive());
    let listed = |day: chrono::NaiveDate| {
        let name = day.format("%a").to_string().to_lowercase();
        days.contains(&name.as_str())
    };
    if from < to {
        listed(day) && from <= hour.as_str() && hour.as_str() < to
    } else {
        listed(day) && from <= hour.as_str()
            || listed(day.pred_opt().unwrap()) && hour.as_str() < to
    }
}

#[test]
fn next_open_over_changes_of_the_clocks() {
    for (days, from, to, zone, at, opens) in [
        // Plain: a Friday evening, the Monday after.
        (
            "mon-fri",
            "08:00",
            "18:00",
            "Europe/Berlin",
            "2026-01-30T17:00:00Z",
            "2026-02-02T07:00:00Z",
        ),
        // Inside, to the second.
        (
            "",
            "08:00",
            "18:00",
            "",
            "2026-01-30T17:59:59.5Z",
            "2026-01-30T17:59:59.5Z",
        ),
        // Clocks skip 02:00 to 03:00: what is left of the window begins at 03:00.
        (
            "",
            "02:30",
            "04:00",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        // All of it is skipped: the day after.
        (
            "",
            "02:10",
            "02:50",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-30T00:10:00Z",
        ),
        // It would begin at the very moment from which clocks show an hour more.
        (
            "",
            "02:00",
            "02:30",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-30T00:00:00Z",
        ),
        // A week later, if there is one day only.
        (
            "sun",
            "02:10",
            "02:50",
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            "2026-04-05T00:10:00Z",
        ),
        // Clocks show 02:00 to 03:00 twice: closed at the first 02:45, open again at the second
        // 02:00, which is no beginning that the window has.
        (
            "",
            "01:30",
            "02:30",
            "Europe/Berlin",
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:00:00Z",
        ),
        // Half an hour is shown twice.
        (
            "",
            "01:45",
            "01:50",
            "Australia/Lord_Howe",
            "2026-04-04T14:55:00Z",
            "2026-04-04T15:15:00Z",
        ),
        // Midnight is skipped, and with it the beginning of the day.
        (
            "sun",
            "00:00",
            "02:00",
            "America/Sao_Paulo",
            "2018-11-04T02:00:00Z",
            "2018-11-04T03:00:00Z",
        ),
        // The last hour of Saturday comes twice.
        (
            "sat",
            "23:00",
            "24:00",
            "America/Sao_Paulo",
            "2018-02-18T02:00:00Z",
            "2018-02-18T02:00:00Z",
        ),
        // There was no 30 December 2011, a Friday.
        (
            "fri",
            "09:00",
            "10:00",
            "Pacific/Apia",
            "2011-12-29T12:00:00Z",
            "2012-01-05T19:00:00Z",
        ),
        // A night belongs to the day on which it begins.
        (
            "fri",
            "22:00",
            "06:00",
            "",
            "2026-01-31T05:59:00Z",
            "2026-01-31T05:59:00Z",
        ),
        (
            "fri",
            "22:00",
            "06:00",
            "",
            "2026-01-30T05:59:00Z",
            "2026-01-30T22:00:00Z",
        ),
        (
            "sat-sun",
            "00:00",
            "24:00",
            "",
            "2026-01-30T05:59:00Z",
            "2026-01-31T00:00:00Z",
        ),
    ] {
        let window = window(days, from, to, zone);
        let found = window.next_open(time(at));
        assert_eq!(found, time(opens), "{window} at {at}");
        assert!(window.contains(found), "{window} at {at}");
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let window = window("mon", "08:00", "09:00", "Asia/Tokyo");
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let _ = (window.contains(at), window.next_open(at));
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (days, from, to, zone, pointer, says) in [
        (
            "mon-fry",
            "08:00",
            "18:00",
            "",
            "/days",
            "did you mean `fri`?",
        ),
        ("", "8:00", "18:00", "", "/from", "two digits"),
        ("", "24:00", "18:00", "", "/from", "00:00 to 23:59"),
        ("", "08:00", "24:01", "", "/to", "00:00 to 24:00"),
        ("", "08:00", "18:60", "", "/to", "is no time of day"),
        ("", "08:00", "+8:00", "", "/to", "is no time of day"),
        ("", "08:00", "08:00", "", "/to", "the window is empty"),
        (
            "",
            "08:00",
            "18:00",
            "Europe/Berln",
            "/time_zone",
            "did you mean `Europe/Berlin`?",
        ),
        ("mon,,tue", "08:00", "18:00", "", "/days", "`` is no day"),
    ] {
        let problems = Window::compile(&spec(days, from, to, zone)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, pointer);
        assert!(problems[0].1.contains(says), "{problems:?}");
    }
    let all = Window::compile(&spec("x", "x", "x", "x")).unwrap_err();
    assert_eq!(all.len(), 4);
}

#[test]
fn a_window_is_shown_as_it_is_written() {
    for (days, shown) in [
        ("", "mon-sun"),
        ("mon-fri", "mon-fri"),
        ("fri-mon", "mon,fri-sun"),
        ("sun, WED,mon", "mon,wed,sun"),
        ("mon-tue,sat-sun", "mon,tue,sat,sun"),
    ] {
        let window = window(days, "08:00", "24:00", "Europe/Berlin");
        assert_eq!(
            window.to_string(),
            format!("{shown} 08:00-24:00 Europe/Berlin")
        );
    }
}

/// Moments around which the zone's clocks were or will be set.
const CHANGES: [(Tz, &[&str]); 5] = [
    (
        Tz::Europe__Berlin,
        &["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"],
    ),
    (
        Tz::America__New_York,
        &["2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"],
    ),
    (
        Tz::Australia__Lord_Howe,
        &["2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"],
    ),
    (
        Tz::America__Sao_Paulo,
        &["2018-02-18T02:00:00Z", "2018-11-04T03:00:00Z"],
    ),
    (
        Tz::Pacific__Apia,
        &["2011-12-30T10:00:00Z", "2012-03-31T14:00:00Z"],
    ),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Against a model that reads the wall minute by minute.
    #[test]
    fn next_open_is_the_models(
        (zone, change) in (0..5_usize, 0..2_usize),
        before_m in -9 * 24 * 60..2 * 24 * 60_i64,
        seconds in 0..60_i64,
        chosen in 1..128_u8,
        (from, to) in (0..96_u32, 1..=96_u32),
    ) {
        let (zone, changes) = CHANGES[zone];
        let days: Vec<&str> = (0..7)
            .filter(|day| chosen & (1 << day) != 0)
            .map(|day| DAYS[day])
            .collect();
        let quarter = |quarters: u32| format!("{:02}:{:02}", quarters / 4, quarters % 4 * 15);
        let (from, to) = (quarter(from), quarter(to));
        prop_assume!(from != to);
        let at = time(changes[change]) + TimeDelta::minutes(before_m) + TimeDelta::seconds(seconds);

        let window = window(&days.join(","), &from, &to, zone.name());
        let contains = |at| model_contains(&days, &from, &to, zone, at);
        prop_assert_eq!(window.contains(at), contains(at));

        // Windows open at whole minutes only.
        let minute = at - TimeDelta::seconds(seconds);
        let expected = if contains(at) {
            at
        } else {
            (1..MODEL_MINUTES_MAX)
                .map(|minutes| minute + TimeDelta::minutes(minutes))
                .find(|at| contains(*at))
                .expect("some minute within 16 days")
        };
        prop_assert_eq!(window.next_open(at), expected);
    }
}
