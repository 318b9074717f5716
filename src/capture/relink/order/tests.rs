use proptest::prelude::*;

use super::*;
use crate::capture::change::tests::{change, truncate};

fn row(id: i32, value: i32) -> String {
    format!(r#"{{"id":{id},"v":{value}}}"#)
}

fn update(seq: i64, from: i32, to: i32) -> Change {
    change(seq, Some(&row(1, from)), Some(&row(1, to)))
}

fn create(seq: i64, id: i32, value: i32) -> Change {
    change(seq, None, Some(&row(id, value)))
}

fn delete(seq: i64, id: i32, value: i32) -> Change {
    change(seq, Some(&row(id, value)), None)
}

fn seqs(changes: Vec<Change>) -> Vec<i64> {
    let ordered = put_in_order(changes, |_| true);
    ordered.iter().map(|change| change.row.seq).collect()
}

#[test]
fn a_nested_triggers_change_is_put_behind_the_one_that_caused_it() {
    assert_eq!(seqs(vec![update(1, 3, 1003), update(2, 2, 3)]), [2, 1]);
}

#[test]
fn other_transactions_and_objects_keep_their_places() {
    let mut other = update(2, 7, 8);
    other.row.xid = 9;
    let object = create(4, 2, 0);
    let changes = vec![update(1, 3, 4), other, update(3, 2, 3), object];
    assert_eq!(seqs(changes), [3, 2, 1, 4]);
}

#[test]
fn what_is_no_chain_is_left_as_it_was_captured() {
    assert_eq!(seqs(vec![update(1, 3, 4), update(2, 8, 9)]), [1, 2]);
}

#[test]
fn an_object_that_takes_the_key_of_one_that_is_gone_comes_after_it() {
    // GIVEN the same row under the same key, once deleted and once moved there from another key
    let moved = change(2, Some(&row(1, 7)), Some(&row(5, 7)));
    assert_eq!(seqs(vec![delete(1, 5, 7), moved]), [1, 2]);
}

#[test]
fn a_key_that_was_left_and_taken_again_is_in_order() {
    let left = change(2, Some(&row(1, 0)), Some(&row(5, 0)));
    let changes = vec![create(1, 1, 0), left, create(3, 1, 9), delete(4, 1, 9)];
    assert_eq!(seqs(changes), [1, 2, 3, 4]);
}

#[test]
fn a_change_of_the_key_is_put_behind_what_came_before_it_under_either_key() {
    // GIVEN a row that was updated twice and then took the key of one that was deleted; beside an
    // object that is in order
    let moved = change(1, Some(&row(1, 2)), Some(&row(5, 2)));
    let changes = vec![
        moved,
        create(2, 9, 0),
        update(3, 1, 2),
        delete(4, 9, 0),
        update(5, 0, 1),
        delete(6, 5, 7),
    ];
    assert_eq!(seqs(changes), [2, 4, 5, 3, 6, 1]);
}

#[test]
fn keys_that_are_swapped_at_once_stay_as_they_were_captured() {
    // A deferrable key lets both have the other's for a moment: the threads contradict each other.
    let there = change(1, Some(&row(1, 0)), Some(&row(2, 0)));
    let back = change(2, Some(&row(2, 9)), Some(&row(1, 9)));
    assert_eq!(seqs(vec![there, back]), [1, 2]);
}

#[test]
fn nothing_is_moved_across_a_truncate() {
    let changes = vec![
        create(1, 1, 0),
        truncate(2),
        create(3, 1, 0),
        delete(4, 1, 0),
    ];
    assert_eq!(seqs(changes), [1, 2, 3, 4]);
}

#[test]
fn a_gap_leaves_its_object_as_it_was_captured() {
    let mut gap = update(2, 0, 1);
    gap.op = Op::Gap;
    assert_eq!(seqs(vec![update(1, 3, 4), gap, update(3, 2, 3)]), [1, 2, 3]);
}

#[test]
fn where_not_everything_is_captured_nothing_is_moved() {
    // 1 to 2 was captured, 2 to 3 was not, and 3 to 1 was.
    let changes = vec![update(1, 1, 2), update(2, 3, 1)];
    let ordered = put_in_order(changes, |_| false);
    assert_eq!(ordered[0].row.seq, 1);
}

proptest! {
    #[test]
    fn any_shuffled_chain_becomes_a_chain_again(
        values in proptest::collection::vec(0..6, 2..12),
        seed in any::<u64>(),
    ) {
        let chain: Vec<Change> = values
            .windows(2)
            .enumerate()
            .map(|(seq, pair)| update(seq as i64, pair[0], pair[1]))
            .collect();
        let mut shuffled = chain.clone();
        // Fisher-Yates with a small generator, so that the seed alone gives the order.
        let mut state = seed | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        let linked = put_in_order(shuffled, |_| true);
        prop_assert_eq!(linked.len(), chain.len());
        for pair in linked.windows(2) {
            prop_assert_eq!(&pair[0].row.after, &pair[1].row.before);
        }
    }

    /// What the application did in the order in which it did it, with few keys and values, so that
    /// the same rows come and go under the same keys.
    #[test]
    fn what_was_captured_in_order_stays_as_it_is(
        writes in proptest::collection::vec((0..4_i32, 0..4_i32, 0..2_i32, 0..5), 1..40),
    ) {
        let mut rows: HashMap<i32, i32> = HashMap::new();
        let mut changes = Vec::new();
        for (id, other, value, kind) in writes {
            let seq = changes.len() as i64;
            let made = match (rows.get(&id).copied(), kind) {
                (None, _) => create(seq, id, value),
                (Some(old), 0) => delete(seq, id, old),
                (Some(old), 1) if !rows.contains_key(&other) => {
                    rows.remove(&id);
                    rows.insert(other, value);
                    changes.push(change(seq, Some(&row(id, old)), Some(&row(other, value))));
                    continue;
                }
                (Some(_), 2) => {
                    rows.clear();
                    changes.push(truncate(seq));
                    continue;
                }
                (Some(old), _) => change(seq, Some(&row(id, old)), Some(&row(id, value))),
            };
            if made.op == Op::Delete { rows.remove(&id) } else { rows.insert(id, value) };
            changes.push(made);
        }
        let expected: Vec<i64> = changes.iter().map(|change| change.row.seq).collect();
        prop_assert_eq!(seqs(changes), expected);
    }
}
