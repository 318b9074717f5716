//! Puts the changes of one transaction to one object into the order in which they happened.
//!
//! Capture order is the order in which triggers fired, and the application's own triggers can turn
//! it around: a trigger of row 1 that updates row 2 is captured before the statement's own change
//! of row 2. But each change carries the row before and after, so the changes of an object form a
//! chain, and the chain tells the order: a path that uses every change once (an Eulerian path over
//! row images).
//!
//! A row that moved between partitions was captured as a delete in one leaf and a create in
//! another; it becomes the one update that it was.

use std::collections::HashMap;

use super::change::{Change, Op};

/// Relinks and folds a batch. Changes of different transactions or objects keep their places.
#[must_use]
pub fn relink(changes: Vec<Change>) -> Vec<Change> {
    let groups = groups(&changes);
    if groups.is_empty() {
        return changes;
    }
    let mut slots: Vec<Option<Change>> = changes.into_iter().map(Some).collect();
    for places in groups {
        let mut group: Vec<Change> = places
            .iter()
            .filter_map(|place| slots[*place].take())
            .collect();
        if let Some(order) = chain_order(&group) {
            let mut loose: Vec<Option<Change>> = group.into_iter().map(Some).collect();
            group = order
                .into_iter()
                .filter_map(|index| loose[index].take())
                .collect();
        }
        let folded = fold_moves(group);
        // A folded move stands where its second half stood, so the first places fall empty.
        let empty = places.len() - folded.len();
        for (place, change) in places[empty..].iter().zip(folded) {
            slots[*place] = Some(change);
        }
    }
    slots.into_iter().flatten().collect()
}

/// The places of the changes of each (transaction, object) that has several.
fn groups(changes: &[Change]) -> Vec<Vec<usize>> {
    let mut first_of: HashMap<(i64, i32, &str), Vec<usize>> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        if let Some(key) = &change.key {
            first_of
                .entry((change.row.writer_xid(), change.row.target, key))
                .or_default()
                .push(place);
        }
    }
    first_of
        .into_values()
        .filter(|places| places.len() > 1)
        .collect()
}

/// The order that makes each change begin with the row that the one before it left; `None` if they
/// are in such an order already or there is none.
fn chain_order(group: &[Change]) -> Option<Vec<usize>> {
    let is_chain = group
        .windows(2)
        .all(|pair| pair[0].row.after == pair[1].row.before);
    if is_chain || group.iter().any(|change| change.op == Op::Gap) {
        return None;
    }
    // Changes by the row they begin with, the earliest captured last, so that pop takes it first.
    let mut from: HashMap<Option<&str>, Vec<usize>> = HashMap::new();
    let mut balance: HashMap<Option<&str>, i32> = HashMap::new();
    for (index, change) in group.iter().enumerate().rev() {
        from.entry(change.row.before.as_deref())
            .or_default()
            .push(index);
        *balance.entry(change.row.before.as_deref()).or_default() += 1;
        *balance.entry(change.row.after.as_deref()).or_default() -= 1;
    }
    let mut starts = balance.iter().filter(|(_, surplus)| **surplus > 0);
    let start = match (starts.next(), starts.next()) {
        (Some((start, 1)), None) => *start,
        (None, None) => group[0].row.before.as_deref(),
        _ => return None,
    };
    // Hierholzer: walk until stuck, then go back and insert the detours.
    let (mut walk, mut order) = (vec![(start, None)], Vec::with_capacity(group.len()));
    while let Some((row, arrived_by)) = walk.last().copied() {
        match from.get_mut(&row).and_then(Vec::pop) {
            Some(index) => walk.push((group[index].row.after.as_deref(), Some(index))),
            None => {
                order.extend(arrived_by);
                walk.pop();
            }
        }
    }
    order.reverse();
    (order.len() == group.len()).then_some(order)
}

/// Folds each delete in one leaf that is directly followed by a create in another.
fn fold_moves(group: Vec<Change>) -> Vec<Change> {
    let mut folded: Vec<Change> = Vec::with_capacity(group.len());
    for change in group {
        match folded.last() {
            Some(last)
                if last.op == Op::Delete
                    && change.op == Op::Create
                    && last.row.relation != change.row.relation =>
            {
                let moved = Change::moved(last, change);
                folded.pop();
                folded.push(moved);
            }
            _ => folded.push(change),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::change::tests::change;

    fn row(value: i32) -> String {
        format!(r#"{{"id":1,"v":{value}}}"#)
    }

    fn update(seq: i64, from: i32, to: i32) -> Change {
        change(seq, Some(&row(from)), Some(&row(to)))
    }

    fn seqs(changes: &[Change]) -> Vec<i64> {
        changes.iter().map(|change| change.row.seq).collect()
    }

    #[test]
    fn a_nested_triggers_change_is_put_behind_the_one_that_caused_it() {
        let changes = vec![update(1, 3, 1003), update(2, 2, 3)];
        assert_eq!(seqs(&relink(changes)), [2, 1]);
    }

    #[test]
    fn other_transactions_and_objects_keep_their_places() {
        let mut other = update(2, 7, 8);
        other.row.xid = 9;
        let changes = vec![update(1, 3, 4), other, update(3, 2, 3)];
        assert_eq!(seqs(&relink(changes)), [3, 2, 1]);
    }

    #[test]
    fn copied_changes_go_by_the_writers_transaction_and_not_by_the_copiers() {
        // GIVEN two transactions of the source in one of the copier, and one that was split
        let copied = |mut change: Change, copier: i64, writer: i64| {
            (change.row.xid, change.row.source_xid) = (copier, Some(writer));
            change
        };
        let together = vec![
            copied(update(1, 3, 4), 50, 7),
            copied(update(2, 2, 3), 50, 8),
        ];
        let split = vec![
            copied(update(1, 3, 4), 50, 7),
            copied(update(2, 2, 3), 51, 7),
        ];
        // THEN
        assert_eq!(seqs(&relink(together)), [1, 2]);
        assert_eq!(seqs(&relink(split)), [2, 1]);
    }

    #[test]
    fn what_is_no_chain_is_left_as_it_was_captured() {
        let changes = vec![update(1, 3, 4), update(2, 8, 9)];
        assert_eq!(seqs(&relink(changes)), [1, 2]);
    }

    #[test]
    fn a_move_between_partitions_is_one_update() {
        let deleted = change(1, Some(&row(1)), None);
        let mut created = change(2, None, Some(&row(2)));
        created.row.relation = 2;
        let folded = relink(vec![deleted, created]);
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].op, Op::Update);
        assert_eq!(folded[0].changed, r#"["v"]"#);
        assert_eq!(folded[0].row.before.as_deref(), Some(row(1).as_str()));
    }

    #[test]
    fn a_delete_and_a_create_in_the_same_leaf_stay_two() {
        let changes = vec![
            change(1, Some(&row(1)), None),
            change(2, None, Some(&row(2))),
        ];
        assert_eq!(relink(changes).len(), 2);
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
            let linked = relink(shuffled);
            prop_assert_eq!(linked.len(), chain.len());
            for pair in linked.windows(2) {
                prop_assert_eq!(&pair[0].row.after, &pair[1].row.before);
            }
        }
    }
}
