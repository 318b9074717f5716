//! Folding against a table of rows: the result, applied to the rows before, gives those after.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::effect::effect, *};

/// What a writer does to a row.
#[derive(Clone, Copy, Debug)]
enum Write {
    Create(u8, u8),
    Update(u8, u8),
    Delete(u8),
    Rename(u8, u8, u8),
}

/// A change as events have it.
#[derive(Clone, Debug)]
struct Change {
    verb: &'static str,
    key: String,
    previous: Option<String>,
    body: String,
}

type Rows = BTreeMap<u8, u8>;

fn change(verb: &'static str, before: Option<(u8, u8)>, after: Option<(u8, u8)>) -> Change {
    let row = |(id, note)| json!({"id": id, "note": note});
    let (from, to) = (before.or(after).unwrap().0, after.or(before).unwrap().0);
    let mut data = json!({
        "object_type": "t",
        "key": {"id": to},
        "before": before.map(row),
        "after": after.map(row),
    });
    if from != to {
        data["previous_key"] = json!({"id": from});
    }
    Change {
        verb,
        key: to.to_string(),
        previous: (from != to).then(|| from.to_string()),
        body: json!({"data": data}).to_string(),
    }
}

/// Does what can be done with these rows.
fn apply(rows: &mut Rows, write: Write) -> Option<Change> {
    match write {
        Write::Create(id, note) => {
            if rows.contains_key(&id) {
                return None;
            }
            rows.insert(id, note);
            Some(change("created", None, Some((id, note))))
        }
        Write::Update(id, note) => {
            let before = rows.insert(id, note);
            if before.is_none() {
                rows.remove(&id);
            }
            Some(change("updated", Some((id, before?)), Some((id, note))))
        }
        Write::Delete(id) => {
            let before = rows.remove(&id)?;
            Some(change("deleted", Some((id, before)), None))
        }
        Write::Rename(from, to, note) => {
            if from == to || rows.contains_key(&to) {
                return None;
            }
            let before = rows.remove(&from)?;
            rows.insert(to, note);
            Some(change("updated", Some((from, before)), Some((to, note))))
        }
    }
}

/// The told objects, and how many events they and the vanished ones have.
fn fold(changes: &[Change], is_wanted: impl Fn(&str) -> bool) -> (Vec<Value>, i64, i64) {
    let mut folding = Folding::default();
    let id = |place: usize| Uuid::from_u128(place as u128 + 1);
    for (place, change) in changes.iter().enumerate() {
        folding.add(&Seen {
            event_id: id(place),
            event_type: change.verb,
            object_type: Some("t"),
            key: Some(&change.key),
            previous_key: change.previous.as_deref(),
        });
    }
    let (objects, types) = folding.finish();
    let body = |id: Uuid| Some(changes[id.as_u128() as usize - 1].body.as_str());
    let (mut told, mut counts) = (Vec::new(), (0, 0));
    for object in &objects {
        let (first, last) = (body(object.first), body(object.last));
        match effect(object, &types, first, last, |fold| is_wanted(fold.op)) {
            Some(text) => {
                told.push(serde_json::from_str(&text).unwrap());
                counts.0 += object.count;
            }
            None => counts.1 += object.count,
        }
    }
    (told, counts.0, counts.1)
}

fn row(image: &Value) -> Option<(u8, u8)> {
    let number = |name: &str| image[name].as_u64().unwrap() as u8;
    (!image.is_null()).then(|| (number("id"), number("note")))
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let (id, note) = (0_u8..4, 0_u8..3);
    let write = prop_oneof![
        (id.clone(), note.clone()).prop_map(|(id, note)| Write::Create(id, note)),
        (id.clone(), note.clone()).prop_map(|(id, note)| Write::Update(id, note)),
        id.clone().prop_map(Write::Delete),
        (id.clone(), id, note).prop_map(|(from, to, note)| Write::Rename(from, to, note)),
    ];
    prop::collection::vec(write, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_result_applied_to_the_rows_before_gives_the_rows_after(
        before in prop::collection::btree_map(0_u8..4, 0_u8..3, 0..4),
        writes in writes(),
        twice in prop::collection::vec(any::<bool>(), 30),
    ) {
        let mut rows = before.clone();
        let mut changes = Vec::new();
        for (write, twice) in writes.into_iter().zip(twice) {
            if let Some(change) = apply(&mut rows, write) {
                // One change is two events, if an event type is defined for it.
                changes.extend(twice.then(|| change.clone()));
                changes.push(change);
            }
        }
        let (told, told_events, vanished) = fold(&changes, |_| true);
        prop_assert_eq!(told_events + vanished, changes.len() as i64);
        let sum: i64 = told.iter().map(|one| one["count"].as_i64().unwrap()).sum();
        prop_assert_eq!(sum, told_events);

        let mut copy = before.clone();
        for one in &told {
            if let Some((id, note)) = row(&one["before"]) {
                prop_assert_eq!(before.get(&id), Some(&note), "{}", one);
                prop_assert!(copy.remove(&id).is_some(), "told twice: {}", one);
            }
        }
        for one in &told {
            if let Some((id, note)) = row(&one["after"]) {
                prop_assert!(copy.insert(id, note).is_none(), "told twice: {}", one);
            }
        }
        prop_assert_eq!(&copy, &rows);

        for one in &told {
            let (from, to) = (row(&one["before"]), row(&one["after"]));
            prop_assert_ne!(from, to, "nothing came of it: {}", one);
            let op = match (from, to) {
                (None, _) => "create",
                (_, None) => "delete",
                _ => "update",
            };
            prop_assert_eq!(&one["op"], op);
            if let Some((id, _)) = to {
                prop_assert_eq!(&one["key"]["id"], id);
            }
            if let Some((id, _)) = from {
                let named = one.get("previous_key").unwrap_or(&one["key"]);
                prop_assert_eq!(&named["id"], id);
            }
        }
    }

    #[test]
    fn without_changes_of_keys_it_is_the_difference_of_the_rows(
        before in prop::collection::btree_map(0_u8..4, 0_u8..3, 0..4),
        writes in writes(),
    ) {
        let mut rows = before.clone();
        let changes: Vec<Change> = writes
            .into_iter()
            .filter(|write| !matches!(write, Write::Rename(..)))
            .filter_map(|write| apply(&mut rows, write))
            .collect();
        let (told, ..) = fold(&changes, |_| true);
        let mut found: Vec<u64> = told.iter().map(|one| one["key"]["id"].as_u64().unwrap()).collect();
        found.sort_unstable();
        let expected: Vec<u64> = (0..4)
            .filter(|id| before.get(id) != rows.get(id))
            .map(u64::from)
            .collect();
        prop_assert_eq!(found, expected);
    }
}

/// `op key<previous count` of what is told of these writes.
fn told(before: &[(u8, u8)], writes: &[Write]) -> Vec<String> {
    let mut rows: Rows = before.iter().copied().collect();
    let changes: Vec<Change> = writes
        .iter()
        .map(|write| apply(&mut rows, *write).expect("a write that can be done"))
        .collect();
    let (told, ..) = fold(&changes, |_| true);
    told.iter()
        .map(|one| {
            let previous = one.get("previous_key").map(|key| format!("<{}", key["id"]));
            format!(
                "{} {}{} {}",
                one["op"].as_str().unwrap(),
                one["key"]["id"],
                previous.unwrap_or_default(),
                one["count"]
            )
        })
        .collect()
}

#[test]
fn what_becomes_of_keys() {
    use Write::{Create, Delete, Rename, Update};
    let (a, b, t) = (0, 1, 2);
    let both = [(a, 1), (b, 2)];
    for (name, before, writes, expected) in [
        (
            "a rename is told under the last key",
            &both[..1],
            &[Update(a, 2), Rename(a, b, 2), Rename(b, t, 3)][..],
            &["update 2<0 3"][..],
        ),
        (
            "there and back is nothing",
            &both[..1],
            &[Rename(a, b, 1), Rename(b, a, 1)],
            &[],
        ),
        (
            "the one at the new key is gone, the other has moved there",
            &both,
            &[Delete(b), Rename(a, b, 1)],
            &["delete 1 1", "update 1<0 1"],
        ),
        (
            "a swap",
            &both,
            &[Rename(a, t, 1), Rename(b, a, 2), Rename(t, b, 1)],
            &["update 1<0 2", "update 0<1 1"],
        ),
        (
            "created again after it was deleted is an update",
            &both[..1],
            &[Delete(a), Create(a, 2)],
            &["update 0 2"],
        ),
        (
            "created again as it was is nothing",
            &both[..1],
            &[Delete(a), Create(a, 1)],
            &[],
        ),
        (
            "created and deleted is nothing",
            &[],
            &[Create(a, 1), Update(a, 2), Delete(a)],
            &[],
        ),
        (
            "a key that was left is free for another",
            &both[..1],
            &[Rename(a, b, 1), Create(a, 3)],
            &["update 1<0 1", "create 0 1"],
        ),
        (
            "moved and deleted is told with the key that others know",
            &both[..1],
            &[Rename(a, b, 1), Delete(b)],
            &["delete 1<0 2"],
        ),
        (
            "an update that changes nothing is nothing",
            &both[..1],
            &[Update(a, 1)],
            &[],
        ),
    ] {
        assert_eq!(told(before, writes), expected, "{name}");
    }
}

#[test]
fn the_filter_is_asked_once_and_about_the_fold() {
    // GIVEN a row that was created and updated WHEN only creations are wanted THEN it is one
    let mut rows = Rows::new();
    let changes: Vec<Change> = [
        Write::Create(0, 1),
        Write::Update(0, 2),
        Write::Create(1, 1),
    ]
    .iter()
    .filter_map(|write| apply(&mut rows, *write))
    .collect();
    let asked = std::cell::Cell::new(0);
    let (told, told_events, vanished) = fold(&changes, |op| {
        asked.set(asked.get() + 1);
        op == "update"
    });
    assert_eq!((told.len(), told_events, vanished), (0, 0, 3));
    assert_eq!(asked.get(), 2);
}

#[test]
fn gaps_and_events_of_no_object_are_told_for_what_they_are() {
    // GIVEN an object with a gap, changes of unknown objects, and events of no object
    let seen = |id: u128, event_type, object_type, key| Seen {
        event_id: Uuid::from_u128(id),
        event_type,
        object_type,
        key,
        previous_key: None,
    };
    let gap = GAP_EVENT_TYPE;
    let mut folding = Folding::default();
    folding.add(&seen(1, "t.updated", Some("t"), Some("7")));
    folding.add(&seen(2, gap, Some("t"), Some("7")));
    folding.add(&seen(3, gap, Some("t"), None));
    folding.add(&seen(4, gap, Some("t"), None));
    folding.add(&seen(5, "audit.done", None, Some("x")));
    folding.add(&seen(6, gap, Some("t"), Some("8")));
    folding.add(&seen(7, "t.updated", Some("t"), Some("8")));
    let (objects, types) = folding.finish();
    // WHEN they are told, by a filter that wants nothing
    let body = r#"{"data":{"key":{"id":7},"before":{"id":7},"after":{"id":7}}}"#;
    let lost = r#"{"data":{"key":null,"op":"gap"}}"#;
    let text = |place: usize, first, last| {
        let text = effect(&objects[place], &types, Some(first), Some(last), |_| false);
        serde_json::from_str::<Value>(&text.unwrap()).unwrap()
    };
    // THEN none is hidden, and none pretends to know more than was captured
    let expected = json!({"object_type": "t", "key": {"id": 7}, "op": "gap", "before": {"id": 7},
        "after": null, "count": 2});
    assert_eq!(text(0, body, lost), expected);
    let expected = json!({"object_type": "t", "key": null, "op": "gap", "before": null,
        "after": null, "count": 2});
    assert_eq!(text(1, lost, lost), expected);
    let expected = json!({"object_type": null, "type": "audit.done", "key": null, "op": "event",
        "before": null, "after": null, "count": 1});
    assert_eq!(text(2, body, body), expected);
    let expected = json!({"object_type": "t", "key": {"id": 7}, "op": "gap", "before": null,
        "after": {"id": 7}, "count": 2});
    assert_eq!(text(3, lost, body), expected);
}

#[test]
fn an_object_whose_events_are_lost_is_told_as_a_gap() {
    // GIVEN an object with two events
    let seen = |id: u128, event_type, object_type, key| Seen {
        event_id: Uuid::from_u128(id),
        event_type,
        object_type,
        key,
        previous_key: None,
    };
    let mut folding = Folding::default();
    folding.add(&seen(1, "t.created", Some("t"), Some("7")));
    folding.add(&seen(2, "t.updated", Some("t"), Some("7")));
    let (objects, types) = folding.finish();
    let body = r#"{"data":{"key":{"id":7},"before":{"id":7},"after":{"id":7,"n":1}}}"#;
    let told = |first, last| {
        let text = effect(&objects[0], &types, first, last, |_| false).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let parts = ["op", "key", "before", "after", "count"];
        parts.map(|part| told[part].to_string())
    };
    // WHEN the row of one of them is gone, or both THEN nobody is told that nothing happened, or
    // that it was created or deleted
    let key = r#"{"id":7}"#;
    assert_eq!(
        told(None, Some(body)),
        [r#""gap""#, key, "null", r#"{"id":7,"n":1}"#, "2"]
    );
    assert_eq!(told(Some(body), None), [r#""gap""#, key, key, "null", "2"]);
    assert_eq!(
        told(None, None),
        [r#""gap""#, r#""7""#, "null", "null", "2"]
    );
}
