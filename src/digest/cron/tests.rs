//! Each expression over a change of the clock, by hand; then any expression in any zone against a
//! wall clock that is watched minute by minute.

use chrono::{NaiveDateTime, TimeDelta};
use proptest::prelude::*;

use super::*;

fn zoned(cron: &str, zone: Tz) -> ZonedCron {
    ZonedCron::parse(cron, zone).unwrap_or_else(|problem| panic!("{problem}"))
}

fn at(text: &str) -> DateTime<Utc> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
    time.and_utc()
}

/// The fires in `from..to`, which are UTC, as `day hour:minute` of UTC.
fn fires(cron: &str, zone: Tz, from: &str, to: &str) -> Vec<String> {
    let cron = zoned(cron, zone);
    let mut now = at(from) - TimeDelta::seconds(1);
    let mut found = Vec::new();
    while let Some(next) = cron.next_after(now).filter(|next| *next < at(to)) {
        assert!(next > now);
        found.push(next.format("%d %H:%M").to_string());
        now = next;
    }
    found
}

#[test]
fn a_daily_time_over_gap_and_overlap_fires_once_a_day() {
    use chrono_tz::{
        America::{New_York, Sao_Paulo},
        Australia::Lord_Howe,
        Europe::Berlin,
        Pacific::Apia,
    };
    type Case = (
        &'static str,
        Tz,
        &'static str,
        &'static str,
        &'static [&'static str],
    );
    let cases: &[Case] = &[
        // 02:00 becomes 03:00 on 29 March 2026: 02:30 fires at 03:00, which is 01:00 UTC.
        (
            "30 2 * * *",
            Berlin,
            "2026-03-28 00:00",
            "2026-03-31 00:00",
            &["28 01:30", "29 01:00", "30 00:30"],
        ),
        // 03:00 becomes 02:00 on 25 October 2026: the first 02:30 is 00:30 UTC.
        (
            "30 2 * * *",
            Berlin,
            "2026-10-24 00:00",
            "2026-10-27 00:00",
            &["24 00:30", "25 00:30", "26 01:30"],
        ),
        // The hour after the overlap is shown once.
        (
            "0 3 * * *",
            Berlin,
            "2026-10-25 00:00",
            "2026-10-26 00:00",
            &["25 02:00"],
        ),
        (
            "0 3 * * *",
            Berlin,
            "2026-03-29 00:00",
            "2026-03-30 00:00",
            &["29 01:00"],
        ),
        // Several that are skipped together fire once together.
        (
            "15,45 2,3 * * *",
            Berlin,
            "2026-03-29 00:00",
            "2026-03-30 00:00",
            &["29 01:00", "29 01:15", "29 01:45"],
        ),
        (
            "30 2 * * *",
            New_York,
            "2026-03-07 00:00",
            "2026-03-10 00:00",
            &["07 07:30", "08 07:00", "09 06:30"],
        ),
        (
            "30 1 * * *",
            New_York,
            "2026-10-31 00:00",
            "2026-11-03 00:00",
            &["31 05:30", "01 05:30", "02 06:30"],
        ),
        // Half an hour only: 02:00 becomes 02:30 on 4 October 2026, back on 5 April.
        (
            "15 2 * * *",
            Lord_Howe,
            "2026-10-02 00:00",
            "2026-10-05 00:00",
            &["02 15:45", "03 15:30", "04 15:15"],
        ),
        (
            "45 1 * * *",
            Lord_Howe,
            "2026-04-03 00:00",
            "2026-04-06 00:00",
            &["03 14:45", "04 14:45", "05 15:15"],
        ),
        // Midnight was skipped on 4 November 2018: the day began at 01:00, which was 03:00 UTC.
        (
            "0 0 * * *",
            Sao_Paulo,
            "2018-11-03 00:00",
            "2018-11-06 00:00",
            &["03 03:00", "04 03:00", "05 02:00"],
        ),
        // Midnight of 18 February 2018 went back to 23:00: that evening's 23:30 came twice.
        (
            "30 23 * * *",
            Sao_Paulo,
            "2018-02-17 00:00",
            "2018-02-19 12:00",
            &["17 01:30", "18 01:30", "19 02:30"],
        ),
        (
            "0 0 * * *",
            Sao_Paulo,
            "2018-02-17 00:00",
            "2018-02-19 00:00",
            &["17 02:00", "18 03:00"],
        ),
        // No change any more.
        (
            "0 0 * * *",
            Sao_Paulo,
            "2026-11-01 00:00",
            "2026-11-03 00:00",
            &["01 03:00", "02 03:00"],
        ),
        // 30 December 2011 never was: its 08:00 fires as the 31st begins, at 10:00 UTC of the 30th.
        (
            "0 8 * * *",
            Apia,
            "2011-12-29 00:00",
            "2011-12-31 20:00",
            &["29 18:00", "30 10:00", "30 18:00", "31 18:00"],
        ),
        (
            "0 8 * * fri",
            Apia,
            "2011-12-27 00:00",
            "2012-01-07 00:00",
            &["30 10:00", "05 18:00"],
        ),
        (
            "30 3 * * *",
            Apia,
            "2011-09-23 00:00",
            "2011-09-26 00:00",
            &["23 14:30", "24 14:00", "25 13:30"],
        ),
    ];
    for (cron, zone, from, to, expected) in cases {
        assert_eq!(
            fires(cron, *zone, from, to),
            *expected,
            "{cron} {zone} {from}"
        );
    }
}

#[test]
fn an_interval_goes_on_through_gap_and_overlap() {
    use chrono_tz::{Australia::Lord_Howe, Europe::Berlin, Pacific::Apia};
    let quarter = |zone, from, to| fires("*/15 * * * *", zone, from, to).len();
    // GIVEN any hour WHEN clocks change in it or not THEN it has four quarters
    assert_eq!(quarter(Berlin, "2026-03-29 00:00", "2026-03-29 04:00"), 16);
    assert_eq!(quarter(Berlin, "2026-10-25 00:00", "2026-10-25 04:00"), 16);
    assert_eq!(
        quarter(Lord_Howe, "2026-10-03 14:00", "2026-10-03 18:00"),
        16
    );
    assert_eq!(
        quarter(Lord_Howe, "2026-04-04 13:00", "2026-04-04 17:00"),
        16
    );
    assert_eq!(quarter(Apia, "2011-12-30 08:00", "2011-12-30 12:00"), 16);
    // GIVEN an interval inside the hour that is skipped, or shown twice
    let in_two = |from, to| fires("*/20 2 * * *", Berlin, from, to);
    assert!(in_two("2026-03-29 00:00", "2026-03-29 20:00").is_empty());
    assert_eq!(in_two("2026-10-25 00:00", "2026-10-25 20:00").len(), 6);
    // WHEN the clock jumps over a full hour's half THEN the hour is not shown, so nothing fires
    assert_eq!(
        fires(
            "0 * * * *",
            Lord_Howe,
            "2026-10-03 14:00",
            "2026-10-03 18:00"
        ),
        ["03 14:30", "03 16:00", "03 17:00"]
    );
}

#[test]
fn who_begins_in_the_second_half_of_an_overlap_has_missed_the_first() {
    // GIVEN clocks that went back WHEN the next fire is asked for at each minute of the second half
    for (cron, zone, from, minutes, next) in [
        (
            "30 2 * * *",
            chrono_tz::Europe::Berlin,
            "2026-10-25 01:00",
            90,
            "2026-10-26 01:30",
        ),
        (
            "45 1 * * *",
            chrono_tz::Australia::Lord_Howe,
            "2026-04-04 15:00",
            30,
            "2026-04-05 15:15",
        ),
    ] {
        let cron = zoned(cron, zone);
        for minute in 0..minutes {
            // THEN it is the next day's
            let now = at(from) + TimeDelta::minutes(minute);
            assert_eq!(cron.next_after(now), Some(at(next)), "{zone} {now}");
        }
    }
}

#[test]
fn six_fields_begin_with_the_seconds() {
    let cron = zoned("30 0 8 * * mon", Tz::UTC);
    let monday = at("2026-03-02 08:00") + TimeDelta::seconds(30);
    assert_eq!(cron.next_after(at("2026-03-01 00:00")), Some(monday));
    // Fractions of a second neither hide a fire nor repeat it.
    let near = |millis| cron.next_after(monday + TimeDelta::milliseconds(millis));
    assert_eq!(near(-1), Some(monday));
    assert_eq!(near(0), Some(monday + TimeDelta::days(7)));
    assert_eq!(near(1), Some(monday + TimeDelta::days(7)));
}

#[test]
fn what_never_fires_or_is_no_cron_is_refused() {
    for (text, part) in [
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 8 * *", "4 fields"),
        ("0 0 8 * * mon 2026", "7 fields"),
        ("@daily", "1 fields"),
        ("", "0 fields"),
        ("60 8 * * *", "out of bounds"),
        ("0 25 * * *", "out of bounds"),
        ("0 , * * *", "missing"),
        ("0 8, * * *", "missing"),
        ("0 8 * * moon", "no cron expression"),
        ("\u{0} 8 * * *", "no cron expression"),
    ] {
        let problem = ZonedCron::parse(text, Tz::UTC).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let long = format!("{} * * * *", "1,".repeat(CRON_CHARS_MAX));
    assert!(ZonedCron::parse(&long, Tz::UTC).is_err());
    assert!(ZonedCron::parse("0 0 29 2 *", Tz::UTC).is_ok());
}

/// Fires in the minutes after `from`, found by watching the wall clock. What it has shown is known
/// from `watched` minutes before.
fn watched(cron: &ZonedCron, from: i64, minutes: i64, before: i64) -> Vec<i64> {
    let civil = |second: i64| second + cron.offset(second);
    let is_meant = |civil: i64| cron.civil_next(civil) == Some(civil);
    let begin = from - before * 60;
    let mut shown = civil(begin);
    let mut fires = Vec::new();
    for minute in 1..=before + minutes {
        let now = begin + minute * 60;
        let is_fire = if cron.is_interval {
            is_meant(civil(now))
        } else {
            cron.civil_next(shown + 1)
                .is_some_and(|next| next <= civil(now))
        };
        shown = shown.max(civil(now));
        if is_fire && now > from {
            fires.push(now);
        }
    }
    fires
}

/// Instants near which the clock of a zone changes, and what else may come.
fn instants() -> impl Strategy<Value = (Tz, i64)> {
    use chrono_tz::{America, Australia, Europe, Pacific};
    let near = |zone: Tz, text: &'static str| {
        let center = at(text).timestamp() / 60;
        (center - 2_000..center + 2_000).prop_map(move |minute| (zone, minute * 60))
    };
    let anywhere = (0..chrono_tz::TZ_VARIANTS.len(), 0_i64..30_000_000)
        .prop_map(|(zone, minute)| (chrono_tz::TZ_VARIANTS[zone], minute * 60));
    prop_oneof![
        near(Europe::Berlin, "2026-03-29 01:00"),
        near(Europe::Berlin, "2026-10-25 01:00"),
        near(America::New_York, "2026-03-08 07:00"),
        near(America::New_York, "2026-11-01 06:00"),
        near(Australia::Lord_Howe, "2026-04-04 15:00"),
        near(Australia::Lord_Howe, "2026-10-03 15:30"),
        near(America::Sao_Paulo, "2018-11-04 03:00"),
        near(America::Sao_Paulo, "2018-02-18 02:00"),
        near(Pacific::Apia, "2011-12-30 10:00"),
        anywhere,
    ]
}

fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        Just("*/15".to_owned()),
        Just("0".to_owned()),
        (0_u8..60).prop_map(|minute| minute.to_string()),
        (0_u8..30, 30_u8..60).prop_map(|(a, b)| format!("{a},{b}")),
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        Just("*/3".to_owned()),
        (0_u8..24).prop_map(|hour| hour.to_string()),
        (0_u8..4).prop_map(|hour| hour.to_string()),
        (0_u8..12, 12_u8..24).prop_map(|(a, b)| format!("{a}-{b}")),
    ];
    let day = prop_oneof![Just("* * *"), Just("* * fri,sat"), Just("30,31 * *")];
    (minute, hour, day).prop_map(|(minute, hour, day)| format!("{minute} {hour} {day}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn fires_are_those_of_a_watched_clock((zone, from) in instants(), text in expressions()) {
        let cron = zoned(&text, zone);
        // Offsets of long ago have seconds, and a watch that looks each minute can't see those.
        prop_assume!((-40..40).all(|hour| cron.offset(from + hour * 3_600) % 60 == 0));
        let minutes = 36 * 60;
        let expected = watched(&cron, from, minutes, 30 * 60);
        let mut found = Vec::new();
        let mut now = DateTime::from_timestamp(from, 0).unwrap();
        while let Some(next) = cron.next_after(now) {
            prop_assert!(next > now);
            if next.timestamp() > from + minutes * 60 {
                break;
            }
            found.push(next.timestamp());
            now = next;
        }
        prop_assert_eq!(&found, &expected, "{} {} from {}", text, zone, now);
        // Begun anywhere, the enumeration is the same.
        for step in (0..minutes).step_by(7) {
            let begin = from + step * 60 + 13;
            let next = cron.next_after(DateTime::from_timestamp(begin, 0).unwrap());
            let wanted = expected.iter().find(|fire| **fire > begin);
            if let Some(wanted) = wanted {
                prop_assert_eq!(next.map(|next| next.timestamp()), Some(*wanted));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-0-9a-zA-Z*/,#?@+ ]{0,30}") {
        let _ = ZonedCron::parse(&text, Tz::UTC);
    }
}
