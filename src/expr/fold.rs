//! Whether an expression can be true, and can be anything else, without any facts.

use std::collections::BTreeMap;

use super::{
    conjunct::{Test, conjuncts, contradict, disjuncts},
    evaluate::Env,
    program::{Comparison, Constant, Node, Root},
};

/// How a condition can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) can_hold: bool,
    pub(super) can_fail_to_hold: bool,
}

const EVERY: Outcomes = Outcomes {
    can_hold: true,
    can_fail_to_hold: true,
};
const NEVER: Outcomes = Outcomes {
    can_hold: false,
    can_fail_to_hold: true,
};
const ALWAYS: Outcomes = Outcomes {
    can_hold: true,
    can_fail_to_hold: false,
};

/// `Some(true)` if a condition holds whatever the rows, `Some(false)` if it can't hold.
pub(super) fn constant(node: &Node) -> Option<bool> {
    match outcomes(node) {
        Outcomes {
            can_hold: false, ..
        } => Some(false),
        Outcomes {
            can_fail_to_hold: false,
            ..
        } => Some(true),
        _ => None,
    }
}

fn outcomes(node: &Node) -> Outcomes {
    if let Some(holds) = without_facts(node) {
        return if holds { ALWAYS } else { NEVER };
    }
    match node {
        Node::And(parts) => {
            if is_contradictory(node) {
                return NEVER;
            }
            let parts: Vec<_> = parts.iter().map(outcomes).collect();
            Outcomes {
                can_hold: parts.iter().all(|part| part.can_hold),
                can_fail_to_hold: parts.iter().any(|part| part.can_fail_to_hold),
            }
        }
        Node::Or(parts) => {
            if is_tautology(node) {
                return ALWAYS;
            }
            let parts: Vec<_> = parts.iter().map(outcomes).collect();
            Outcomes {
                can_hold: parts.iter().any(|part| part.can_hold),
                // If one always holds, it does not matter what the others do.
                can_fail_to_hold: parts.iter().all(|part| part.can_fail_to_hold),
            }
        }
        // That a part can't hold may be because it fails, and then neither does its opposite.
        Node::Not(part) => match outcomes(part) {
            Outcomes {
                can_fail_to_hold: false,
                ..
            } => NEVER,
            _ => EVERY,
        },
        Node::Choose(parts) => {
            let [condition, then, otherwise] = parts.as_ref();
            let (then, otherwise) = (outcomes(then), outcomes(otherwise));
            match without_facts(condition) {
                Some(true) => then,
                Some(false) => otherwise,
                None => Outcomes {
                    can_hold: then.can_hold || otherwise.can_hold,
                    // The condition itself may fail.
                    can_fail_to_hold: true,
                },
            }
        }
        // `row` is there whenever there are rows.
        Node::RowIsNull(Root::Row) => NEVER,
        _ => EVERY,
    }
}

/// What a condition comes to that looks at nothing; what fails does not hold.
fn without_facts(node: &Node) -> Option<bool> {
    let looks = |node: &Node| {
        matches!(
            node,
            Node::Column(_) | Node::RowIsNull(_) | Node::Fact(_) | Node::Variable(_)
        )
    };
    // A loop's body names its variable, and a loop over a literal is no use to anybody.
    if node.any(&looks) {
        return None;
    }
    super::with_no_facts(|facts| Some(Env::new(facts).holds(node) == Ok(true)))
}

/// Whether conditions on one column, all of which must hold, exclude each other.
fn is_contradictory(node: &Node) -> bool {
    by_column(conjuncts(node))
        .values()
        .any(|tests| contradict(tests))
}

/// Whether of conditions on one column, one of which must hold, one always does: because their
/// opposites exclude each other. Only `==`, `!=` and tests for null are looked at, for they can't
/// fail.
fn is_tautology(node: &Node) -> bool {
    by_column(disjuncts(node)).values().any(|tests| {
        let opposites: Vec<Test<'_>> = tests
            .iter()
            .filter_map(|test| match test {
                Test::Compare(Comparison::Equal, value) => {
                    Some(Test::Compare(Comparison::NotEqual, value))
                }
                Test::Compare(Comparison::NotEqual, value) => {
                    Some(Test::Compare(Comparison::Equal, value))
                }
                Test::IsNull => Some(Test::IsNotNull),
                Test::IsNotNull => Some(Test::IsNull),
                _ => None,
            })
            .collect();
        contradict(&opposites)
    })
}

type Key<'n> = (Root, &'n str);

fn by_column<'n>(
    tests: Vec<(&'n super::program::Column, Test<'n>)>,
) -> BTreeMap<Key<'n>, Vec<Test<'n>>> {
    let mut columns: BTreeMap<Key<'n>, Vec<Test<'n>>> = BTreeMap::new();
    for (column, test) in tests {
        // JSON can be of any type, and a list is no value that these tests know.
        let is_plain = column.kind != super::value::Kind::Json && !column.is_array;
        let is_null_test = matches!(test, Test::IsNull | Test::IsNotNull);
        let knows = matches!(test, Test::Compare(_, value) if *value != Constant::Null)
            || matches!(test, Test::Among(_))
            || is_null_test;
        if is_plain && knows {
            columns
                .entry((column.root, &column.name))
                .or_default()
                .push(test);
        }
    }
    columns
}
