//! A row that moved between partitions: captured as a delete in one leaf and a create in another.
//!
//! A unique key of a partitioned table holds the columns that it is partitioned by, so a move
//! changes the key. The two halves are known for one object by the rest of the key, between whose
//! changes nothing else may stand. Where there is no rest, the halves must follow each other
//! directly, and the row must be the same apart from its key.
//!
//! A delete and an insert that the application wrote are folded, too, if they look like that: to a
//! subscriber it is the same.

use std::collections::{HashMap, HashSet};

use super::Table;
use crate::capture::{
    change::{Change, Op},
    image::Image,
};

/// Folds each delete in one leaf that is followed by the create of the same object in another.
/// The update stands where the create stood.
pub(super) fn fold<'a>(
    changes: Vec<Change>,
    table: impl Fn(i32) -> Option<Table<'a>>,
) -> Vec<Change> {
    let candidates = candidates(&changes);
    if candidates.is_empty() {
        return changes;
    }
    let mut last: HashMap<(i64, i32), HashMap<String, usize>> = HashMap::new();
    let mut kept: Vec<Option<Change>> = Vec::with_capacity(changes.len());
    for change in changes {
        let of = (change.row.writer_xid(), change.row.target);
        let place = kept.len();
        let Some(table) = candidates.contains(&of).then(|| table(of.1)).flatten() else {
            kept.push(Some(change));
            continue;
        };
        let last = last.entry(of).or_default();
        if change.op == Op::Truncate {
            last.clear();
            kept.push(Some(change));
            continue;
        }
        let stable: Vec<String> = table.stable_key();
        let texts = stable_texts(&change, &stable);
        let deleted = match (change.op, &texts[..]) {
            (Op::Create, [text]) => last.get(text).copied(),
            _ => None,
        };
        for text in texts {
            last.insert(text, place);
        }
        let is_move = |deleted: &Change| {
            deleted.op == Op::Delete
                && deleted.row.relation != change.row.relation
                && (!stable.is_empty() || is_same_but_key(deleted, &change, table.key))
        };
        let half = deleted
            .and_then(|place| kept.get_mut(place))
            .and_then(|slot| slot.take_if(|deleted| is_move(deleted)));
        kept.push(Some(match half {
            Some(deleted) => Change::moved(&deleted, change),
            None => change,
        }));
    }
    kept.into_iter().flatten().collect()
}

/// The transactions and targets in which a create stands behind a delete in another leaf.
fn candidates(changes: &[Change]) -> HashSet<(i64, i32)> {
    let mut leaves: HashMap<(i64, i32), HashSet<i64>> = HashMap::new();
    let mut candidates = HashSet::new();
    for change in changes {
        let (of, leaf) = (
            (change.row.writer_xid(), change.row.target),
            change.row.relation,
        );
        if change.op == Op::Delete {
            leaves.entry(of).or_default().insert(leaf);
        } else if change.op == Op::Create
            && let Some(deleted) = leaves.get(&of)
            && (deleted.len() > 1 || !deleted.contains(&leaf))
        {
            candidates.insert(of);
        }
    }
    candidates
}

/// The texts of the stable part of the key before and after a change.
fn stable_texts(change: &Change, stable: &[String]) -> Vec<String> {
    let text = |image: &Option<String>| {
        let image = Image::parse(image.as_deref()?).ok()?;
        image.key_text(stable)
    };
    // What has no image, such as a gap, stands between others only where all stand in one row.
    let mut texts: Vec<String> = match (&change.row.before, &change.row.after) {
        _ if stable.is_empty() => vec![String::new()],
        _ if change.op == Op::Gap => Vec::new(),
        (before, after) => [before, after].into_iter().filter_map(text).collect(),
    };
    texts.dedup();
    texts
}

fn is_same_but_key(deleted: &Change, created: &Change, key: &[String]) -> bool {
    let (Some(before), Some(after)) = (&deleted.row.before, &created.row.after) else {
        return false;
    };
    let (Ok(before), Ok(after)) = (Image::parse(before), Image::parse(after)) else {
        return false;
    };
    let differs = |name: &&str| !key.iter().any(|column| column == name);
    after.columns().any(|name| differs(&name)) && !after.changed_since(&before).iter().any(differs)
}

impl Table<'_> {
    /// The columns of the key that a move between partitions leaves as they are.
    fn stable_key(&self) -> Vec<String> {
        let moves = |column: &&String| self.partitioned_by.contains(column);
        let columns = self.key.iter().filter(|column| !moves(column));
        columns.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::change::{Change, tests::change};

    fn row(id: i32, region: &str) -> String {
        format!(r#"{{"id":{id},"region":"{region}","v":1}}"#)
    }

    /// Folded, with the key `id` and `region`; of which the table is partitioned by these.
    fn folded(mut changes: Vec<Change>, partitioned_by: &[&str]) -> Vec<String> {
        let key = ["id".to_owned(), "region".to_owned()];
        let partitioned_by: Vec<String> = partitioned_by.iter().map(ToString::to_string).collect();
        for change in &mut changes {
            let mut read = Change::read(change.row.clone(), &key).unwrap();
            read.row.relation = change.row.relation;
            *change = read;
        }
        let table = Table {
            key: &key,
            partitioned_by: &partitioned_by,
            is_whole: true,
        };
        fold(changes, |_| Some(table))
            .iter()
            .map(|change| {
                let previous = change.previous_key.as_deref().unwrap_or("-");
                let key = change.key.as_deref().unwrap_or("?");
                format!("{} {previous} {key}", change.op.as_str())
            })
            .collect()
    }

    fn deleted(id: i32, region: &str) -> Change {
        change(1, Some(&row(id, region)), None)
    }

    fn created(id: i32, region: &str) -> Change {
        let mut created = change(2, None, Some(&row(id, region)));
        created.row.relation = 2;
        created
    }

    #[test]
    fn a_move_between_partitions_is_one_update_of_the_key() {
        let moved = vec![deleted(1, "a"), created(1, "b")];
        assert_eq!(folded(moved, &["region"]), ["update 1/a 1/b"]);
    }

    #[test]
    fn a_move_that_keeps_the_key_is_one_update_and_says_what_changed() {
        let key = ["id".to_owned()];
        let table = Table {
            key: &key,
            partitioned_by: &[],
            is_whole: true,
        };
        let folded = fold(vec![deleted(1, "a"), created(1, "b")], |_| Some(table));
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].op, Op::Update);
        assert_eq!(folded[0].previous_key, None);
        assert_eq!(folded[0].changed, r#"["region"]"#);
        assert_eq!(folded[0].row.before.as_deref(), Some(&*row(1, "a")));
    }

    #[test]
    fn two_objects_are_never_one() {
        let other = vec![deleted(1, "a"), created(2, "b")];
        assert_eq!(folded(other, &["region"]), ["delete - 1/a", "create - 2/b"]);
    }

    #[test]
    fn moves_of_several_rows_may_be_mixed_with_other_changes() {
        let updated = change(3, Some(&row(3, "a")), Some(&row(3, "a")));
        let changes = vec![
            deleted(1, "a"),
            deleted(2, "a"),
            updated,
            created(2, "b"),
            created(1, "b"),
        ];
        assert_eq!(
            folded(changes, &["region"]),
            ["update - 3/a", "update 2/a 2/b", "update 1/a 1/b"]
        );
    }

    #[test]
    fn what_stands_between_the_halves_parts_them() {
        let between = change(3, Some(&row(1, "c")), Some(&row(1, "c")));
        let changes = vec![deleted(1, "a"), between, created(1, "b")];
        let expected = ["delete - 1/a", "update - 1/c", "create - 1/b"];
        assert_eq!(folded(changes, &["region"]), expected);
    }

    #[test]
    fn a_delete_and_a_create_in_the_same_leaf_stay_two() {
        let mut created = created(1, "b");
        created.row.relation = 1;
        let changes = vec![deleted(1, "a"), created];
        let expected = ["delete - 1/a", "create - 1/b"];
        assert_eq!(folded(changes, &["region"]), expected);
    }

    #[test]
    fn where_the_whole_key_moves_the_rest_of_the_row_tells() {
        let all = &["id", "region"];
        let moved = vec![deleted(1, "a"), created(7, "b")];
        assert_eq!(folded(moved, all), ["update 1/a 7/b"]);
        let mut other = created(7, "b");
        other.row.after = Some(r#"{"id":7,"region":"b","v":2}"#.to_owned());
        let expected = ["delete - 1/a", "create - 7/b"];
        assert_eq!(folded(vec![deleted(1, "a"), other], all), expected);
        let parted = vec![deleted(1, "a"), deleted(2, "a"), created(7, "b")];
        assert_eq!(folded(parted, all), ["delete - 1/a", "update 2/a 7/b"]);
    }
}
