//! Where a batch that is too large for one transaction is cut: not between the two halves of a
//! row's move from one partition to another. Pure.

use super::store::ChangeRow;

/// How many changes of a full chunk to take, so that the two halves of a row's move between
/// partitions stay together. More than half of them, for a chunk must make progress.
///
/// No cut parts halves that are both in the chunk. Of the deletes that are their transaction's last
/// here, and may be first halves of moves, it leaves as many to the next chunk as it can.
pub(super) fn whole_moves(changes: &[ChangeRow]) -> usize {
    let mut open = std::collections::HashMap::new();
    // What begins and ends at a place, so that their sums tell what is parted by a cut before it.
    let mut parted = vec![0_i32; changes.len() + 2];
    for (index, change) in changes.iter().enumerate() {
        // By target as well: in between, a trigger may have changed another table.
        let half_of = (change.writer_xid(), change.target);
        let half = open.remove(&half_of);
        match (change.op.as_str(), half) {
            ("d", _) => drop(open.insert(half_of, index)),
            ("c", Some(half)) => {
                parted[half + 1] += 1;
                parted[index + 1] -= 1;
            }
            _ => {}
        }
    }
    let least = changes.len() / 2;
    let mut halves = vec![0_usize; changes.len() + 1];
    for index in open.into_values().filter(|index| *index > least) {
        halves[index + 1] += 1;
    }
    let (mut parts, mut risks) = (0, 0);
    let mut best = (usize::MAX, changes.len());
    for cut in 0..=changes.len() {
        parts += parted[cut];
        risks += halves[cut];
        if cut > least && parts == 0 && risks <= best.0 {
            best = (risks, cut);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn change(xid: i64, op: &str) -> ChangeRow {
        ChangeRow {
            seq: 0,
            xid,
            source_xid: None,
            target: 1,
            relation: 1,
            op: op.to_owned(),
            before: None,
            after: None,
            at: DateTime::<Utc>::UNIX_EPOCH,
            role: String::new(),
            actor: None,
            traceparent: None,
        }
    }

    #[test]
    fn a_chunk_ends_before_what_may_be_half_a_move() {
        let changes: Vec<_> = [(1, "u"), (1, "u"), (1, "u"), (2, "d"), (1, "c")]
            .map(|(x, op)| change(x, op))
            .into();
        assert_eq!(whole_moves(&changes), 3);
        assert_eq!(whole_moves(&changes[..3]), 3);
        assert_eq!(
            whole_moves(&[change(1, "d")]),
            1,
            "a chunk must make progress"
        );
    }

    #[test]
    fn a_chunks_end_parts_no_move_of_another_transaction() {
        // GIVEN moves of transactions 2 and 4 that lie in each other, and a delete of transaction 3
        let moves = [(4, "d"), (2, "d"), (4, "c"), (3, "d"), (2, "c"), (1, "u")];
        let chunk = |before: usize| -> Vec<ChangeRow> {
            let before = std::iter::repeat_n((1, "u"), before);
            before.chain(moves).map(|(x, op)| change(x, op)).collect()
        };
        // THEN the delete is left to the next chunk with both moves
        assert_eq!(whole_moves(&chunk(7)), 7);
        // AND where that would be too much, it is taken with them
        assert_eq!(whole_moves(&chunk(2)), 8);
        // AND a large transaction's deletes are no moves
        let deletes: Vec<_> = (0..10).map(|_| change(1, "d")).collect();
        assert_eq!(whole_moves(&deletes), 9);
    }
}
