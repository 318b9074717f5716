//! `/v1/subscriptions/{id}/since/{sequence}`: what became of the numbers behind one, for a receiver
//! that misses some.
//!
//! Of each number there is an item: with its event as it was or will be sent, with a tombstone if
//! there will never be one, or with neither while a constraint may still keep it. The SQL says in
//! one snapshot what is there; a number without a row is one whose row was removed.

mod store;

use std::fmt::Write as _;

use axum::{
    extract::{Path, RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use self::store::NumberRow;
use super::{
    ApiState,
    caller::Caller,
    input::Parameters,
    page::limit_read,
    problem::{Kind, Problem},
};
use crate::{auth::Action, publish::event::with_sequence};

/// The bytes of bodies after which a page ends; one body may go beyond them.
const PAGE_BYTES_MAX: i64 = 1024 * 1024;
/// The digits of a number on the wire.
const SEQUENCE_DIGITS: usize = 20;

pub(super) async fn show(
    caller: Caller,
    path: Path<(String, String)>,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    caller.may(Action::ReadSubscriptions)?;
    let owner = caller.owner_for(Action::ReadEvents)?;
    let Path((id, sequence)) = path;
    let after = sequence_read(&sequence)?;
    let id = Uuid::try_parse(&id).map_err(|_| Problem::not_found("subscription", id))?;
    let limit = limit_read(&Parameters::read(query.as_deref(), &["limit"])?)?;
    let until = after.saturating_add(limit);
    let rows = state
        .database
        .run(move |connection| {
            let owner = owner.as_deref();
            let rows = store::number_list(connection, id, after, until, PAGE_BYTES_MAX, owner);
            Ok::<_, Problem>(rows?)
        })
        .await?;
    let text = page(&rows, after, until).ok_or_else(|| Problem::not_found("subscription", id))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// A number as it is on the wire, or shorter.
fn sequence_read(text: &str) -> Result<i64, Problem> {
    let is_number = (1..=SEQUENCE_DIGITS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        // A larger one than we count to was never given: nothing is behind it.
        return Ok(text.parse().unwrap_or(i64::MAX));
    }
    let text = format!(
        "the last part of the path is the `sequence` of the last event that you know, of 1 to \
         {SEQUENCE_DIGITS} digits, or 0"
    );
    Err(Problem::new(Kind::NotFound, text))
}

/// The page behind `after` up to `until` at most, as JSON; `None` if there are no rows. The stored
/// bodies are put in as they are, with their numbers, as they are sent.
fn page(rows: &[NumberRow], after: i64, until: i64) -> Option<String> {
    let (first, end) = (rows.first()?, rows.last()?);
    let last = match (end.sequence, end.last) {
        // The page is full of bytes.
        (Some(sequence), Some(last)) if sequence < last => sequence,
        _ => until.min(first.assigned),
    };
    let mut out = String::from("{\"items\":[");
    let mut number = after;
    for row in rows.iter().filter(|row| row.sequence.is_some()) {
        let sequence = row.sequence.unwrap_or_default();
        removed(&mut out, number, sequence - 1);
        item(&mut out, sequence, row);
        number = sequence;
    }
    removed(&mut out, number, last);
    out.truncate(out.trim_end_matches(',').len());
    let _ = write!(out, r#"],"next":"#);
    let _ = match last < first.assigned && last > after {
        true => write!(out, r#""{last:020}""#),
        false => write!(out, "null"),
    };
    let _ = write!(
        out,
        r#","assigned":"{:020}","settled_through":"{:020}"}}"#,
        first.assigned, first.settled_through
    );
    Some(out)
}

/// The numbers behind `after` up to `last`, of which there is nothing.
fn removed(out: &mut String, after: i64, last: i64) {
    for sequence in after.saturating_add(1)..=last {
        let _ = write!(
            out,
            r#"{{"sequence":"{sequence:020}","tombstone":"removed"}},"#
        );
    }
}

fn item(out: &mut String, sequence: i64, row: &NumberRow) {
    let state = row.state.as_deref().unwrap_or_default();
    let _ = write!(out, r#"{{"sequence":"{sequence:020}","#);
    let _ = match (state, row.is_told, &row.body) {
        (_, Some(true), Some(body)) => {
            let event = with_sequence(body, sequence);
            write!(out, r#""state":"{state}","event":{event}}},"#)
        }
        (_, Some(true), None) => write!(out, r#""tombstone":"removed"}},"#),
        ("suppressed" | "withdrawn" | "cancelled", ..) => {
            write!(out, r#""tombstone":"{state}"}},"#)
        }
        _ => write!(out, r#""state":"{state}"}},"#),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(sequence: i64, state: &str, body: Option<&str>, last: i64) -> NumberRow {
        NumberRow {
            assigned: 9,
            settled_through: 4,
            sequence: Some(sequence),
            state: Some(state.to_owned()),
            is_told: Some(matches!(state, "delivered" | "dead" | "pending")),
            body: body.map(str::to_owned),
            last: Some(last),
        }
    }

    fn items(rows: &[NumberRow], after: i64, until: i64) -> (Vec<String>, Value) {
        let page: Value = serde_json::from_str(&page(rows, after, until).unwrap()).unwrap();
        let text = |item: &Value| {
            let sequence: i64 = item["sequence"].as_str().unwrap().parse().unwrap();
            let (state, tombstone) = (&item["state"], &item["tombstone"]);
            format!("{sequence} {state} {tombstone} {}", item["event"]["id"])
        };
        let items = page["items"].as_array().unwrap().iter().map(text).collect();
        (items, page["next"].clone())
    }

    #[test]
    fn each_number_has_one_item_and_the_next_page_begins_behind_the_last() {
        let rows = [
            row(3, "delivered", Some(r#"{"id":"c"}"#), 7),
            row(4, "withdrawn", None, 7),
            row(6, "held", None, 7),
            row(7, "dead", None, 7),
        ];
        let (all, next) = items(&rows, 1, 8);
        assert_eq!(
            all,
            [
                r#"2 null "removed" null"#,
                r#"3 "delivered" null "c""#,
                r#"4 null "withdrawn" null"#,
                r#"5 null "removed" null"#,
                r#"6 "held" null null"#,
                r#"7 null "removed" null"#,
                r#"8 null "removed" null"#,
            ]
        );
        assert_eq!(next, json!("00000000000000000008"));
        // The bytes were passed behind 4.
        let (all, next) = items(&rows[..2], 1, 8);
        assert_eq!(all.len(), 3);
        assert_eq!(next, json!("00000000000000000004"));
        // Nothing is behind the last that was given, nor behind one that never was.
        for after in [9, 12, i64::MAX] {
            let nothing = NumberRow {
                sequence: None,
                last: None,
                ..row(0, "", None, 0)
            };
            let (all, next) = items(&[nothing], after, after.saturating_add(5));
            assert_eq!((all.len(), next), (0, Value::Null));
        }
        assert!(page(&[], 0, 5).is_none());
    }

    #[test]
    fn a_sequence_is_digits() {
        for (text, number) in [
            ("0", 0),
            ("17", 17),
            ("00000000000000000017", 17),
            ("99999999999999999999", i64::MAX),
        ] {
            assert_eq!(sequence_read(text).ok(), Some(number), "{text}");
        }
        for text in ["", "-1", "+1", "1.5", "abc", "000000000000000000017"] {
            assert!(sequence_read(text).is_err(), "{text}");
        }
    }
}
