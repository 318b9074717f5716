//! What must be told of what was committed, and what was told.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};
use serde_json::Value;

use super::tables::State;
use crate::support::app::TestApp;

/// An event, as far as the model foresees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) object_type: String,
    pub(super) op: String,
    pub(super) key: Option<String>,
    pub(super) previous_key: Option<String>,
    pub(super) before: Value,
    pub(super) after: Value,
    pub(super) xid: String,
}

/// What a statement did, by what stood before it and after it.
pub(super) fn done(before: &State, after: &State, truncates: &[&str]) -> Vec<Told> {
    let told = |object_type: &str, op: &str, key: Option<&String>| Told {
        object_type: object_type.to_owned(),
        op: op.to_owned(),
        key: key.cloned(),
        previous_key: None,
        before: Value::Null,
        after: Value::Null,
        xid: String::new(),
    };
    let mut made: Vec<Told> = truncates
        .iter()
        .map(|object_type| told(object_type, "truncate", None))
        .collect();
    for (uid, old) in before {
        match after.get(uid) {
            None if truncates.contains(&old.object_type) => {}
            None => made.push(Told {
                before: old.row.clone(),
                ..told(old.object_type, "delete", Some(&old.key))
            }),
            Some(new) if new.is_written_since(old) => made.push(Told {
                previous_key: (new.key != old.key).then(|| old.key.clone()),
                before: old.row.clone(),
                after: new.row.clone(),
                ..told(new.object_type, "update", Some(&new.key))
            }),
            Some(_) => {}
        }
    }
    for (uid, new) in after {
        if !before.contains_key(uid) {
            made.push(Told {
                after: new.row.clone(),
                ..told(new.object_type, "create", Some(&new.key))
            });
        }
    }
    keys_given_up_first(made)
}

/// A key can be taken only after it was given up: the one order that is certain in a statement.
fn keys_given_up_first(mut made: Vec<Told>) -> Vec<Told> {
    let given_up = |one: &Told| match one.op.as_str() {
        "delete" => one.key.clone(),
        _ => one.previous_key.clone(),
    };
    let taken = |one: &Told| match one.op.as_str() {
        "create" => one.key.clone(),
        _ => one.previous_key.as_ref().and(one.key.clone()),
    };
    let mut ordered = Vec::with_capacity(made.len());
    while !made.is_empty() {
        let is_free = |one: &Told| {
            taken(one).is_none_or(|key| {
                let is_in_the_way = |other: &Told| {
                    other != one
                        && other.object_type == one.object_type
                        && given_up(other).as_ref() == Some(&key)
                };
                !made.iter().any(is_in_the_way)
            })
        };
        let free = made.iter().position(is_free).unwrap();
        ordered.push(made.remove(free));
    }
    ordered
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    event: String,
}

/// What Rowcall published, in its order. Everything in an event that can be derived from the rest
/// of it is checked here.
pub(super) fn published(app: &TestApp) -> Vec<Told> {
    let rows: Vec<Row> = sql_query(
        "select json_build_array(type, object_type, object_key, previous_key, body::json, \
             xid::text)::text as event from rowcall.event order by position",
    )
    .load(&mut app.connect())
    .unwrap();
    let events = rows.iter().map(|row| {
        let row: Value = serde_json::from_str(&row.event).unwrap();
        let (body, data) = (&row[4], &row[4]["data"]);
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let told = Told {
            object_type: text(&row[1]).unwrap(),
            op: text(&data["op"]).unwrap(),
            key: text(&row[2]),
            previous_key: text(&row[3]),
            before: data["before"].clone(),
            after: data["after"].clone(),
            xid: text(&row[5]).unwrap(),
        };
        assert_eq!(
            row[0],
            format!("{}.{}d", told.object_type, told.op),
            "{row}"
        );
        assert_eq!(body["type"], row[0], "{row}");
        assert_eq!(text(&body["subject"]), told.key, "{row}");
        assert_eq!(data["xid"], told.xid, "{row}");
        let names: BTreeSet<&str> = data["changed"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(names, changed(&told), "{row}");
        assert_eq!(data["key"].is_null(), told.key.is_none(), "{row}");
        assert_eq!(
            data.get("previous_key").is_some(),
            told.previous_key.is_some(),
            "{row}"
        );
        told
    });
    events.collect()
}

/// A set, for their order is that of the leaf's columns.
fn changed(told: &Told) -> BTreeSet<&str> {
    let (Some(before), Some(after)) = (told.before.as_object(), told.after.as_object()) else {
        return BTreeSet::new();
    };
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    after.keys().filter(differs).map(String::as_str).collect()
}

/// The sequence of each object, under each of its keys; and how often what has no key happened.
type Sequences<'a> = (
    BTreeMap<(&'a str, &'a str), Vec<&'a Told>>,
    BTreeMap<(&'a str, &'a str), usize>,
);

fn sequences(told: &[Told]) -> Sequences<'_> {
    let (mut keyed, mut others) = (BTreeMap::new(), BTreeMap::new());
    for one in told {
        if one.key.is_none() {
            *others.entry((&*one.object_type, &*one.xid)).or_insert(0) += 1;
        }
        for key in one.key.iter().chain(&one.previous_key) {
            let of = (&*one.object_type, &**key);
            keyed.entry(of).or_insert_with(Vec::new).push(one);
        }
    }
    (keyed, others)
}

/// Compares what was told with what was committed, object by object.
pub(super) fn assert_told(committed: &[Told], told: &[Told], seed: &str) {
    let (expected, found) = (sequences(committed), sequences(told));
    let keys: BTreeSet<_> = expected.0.keys().chain(found.0.keys()).collect();
    for key in keys {
        let none = Vec::new();
        let expected = expected.0.get(key).unwrap_or(&none);
        let found = found.0.get(key).unwrap_or(&none);
        if expected != found {
            let lines = |told: &[&Told]| told.iter().map(|one| line(one)).collect::<String>();
            panic!(
                "{seed}: of {key:?} was committed\n{}but told\n{}",
                lines(expected),
                lines(found)
            );
        }
    }
    assert_eq!(expected.1, found.1, "{seed}: what has no key");
}

fn line(one: &Told) -> String {
    let previous = one.previous_key.as_deref().unwrap_or("-");
    format!(
        "    {} {} from {previous} in {}: {} -> {}\n",
        one.op,
        one.key.as_deref().unwrap_or("-"),
        one.xid,
        one.before,
        one.after
    )
}
