//! Makes of the changes that were captured those that happened.
//!
//! Three things differ. Changes of a transaction may have been captured in another order ([`order`]
//! tells why and puts them right). A row that moved between partitions was captured as a delete in
//! one leaf and a create in another, and becomes the one update that it was ([`moves`]). One
//! TRUNCATE was captured for the table and for each of its partitions, and becomes one.

mod moves;
mod order;

use std::collections::HashMap;

use super::change::{Change, Op};

/// What is known of a target's table.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// The columns of the object key.
    pub key: &'a [String],
    /// The columns that say in which partition a row is, those of all levels.
    pub partitioned_by: &'a [String],
    /// Whether all its changes are captured. Where some are left out, what is missing between two
    /// changes of an object is no sign of a wrong order.
    pub is_whole: bool,
}

/// Relinks a batch. `table` knows the tables of targets; changes of others stay as they are.
#[must_use]
pub fn relink<'a>(
    mut changes: Vec<Change>,
    table: impl Fn(i32) -> Option<Table<'a>>,
) -> Vec<Change> {
    fold_truncates(&mut changes);
    let changes = order::put_in_order(changes, |target| {
        table(target).is_some_and(|table| table.is_whole)
    });
    moves::fold(changes, table)
}

/// Keeps the first of several TRUNCATEs of a transaction that no other change of the table parts.
fn fold_truncates(changes: &mut Vec<Change>) {
    if !changes.iter().any(|change| change.op == Op::Truncate) {
        return;
    }
    let mut was_truncated: HashMap<(i64, i32), bool> = HashMap::new();
    changes.retain(|change| {
        let is_truncate = change.op == Op::Truncate;
        let was = was_truncated.insert((change.row.writer_xid(), change.row.target), is_truncate);
        !(is_truncate && was == Some(true))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::change::tests::{change, truncate};

    #[test]
    fn a_truncate_of_a_table_and_its_partitions_is_one() {
        let mut other = truncate(3);
        other.row.xid = 2;
        let created = change(4, None, Some(r#"{"id":1,"v":1}"#));
        let changes = vec![truncate(1), truncate(2), other, created, truncate(5)];
        let key = ["id".to_owned()];
        let table = Table {
            key: &key,
            partitioned_by: &[],
            is_whole: true,
        };
        let linked = relink(changes, |_| Some(table));
        let seqs: Vec<i64> = linked.iter().map(|change| change.row.seq).collect();
        assert_eq!(seqs, [1, 3, 4, 5]);
    }
}
