//! The simple conditions on columns that must all hold for an expression to be true: where
//! contradictions show.

use super::{
    number::Number,
    program::{Column, Comparison, Constant, Node, Set},
    value::Kind,
};

/// A condition on one column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test<'n> {
    Compare(Comparison, &'n Constant),
    Among(&'n Set),
    IsNull,
    IsNotNull,
}

/// The conditions on columns that all must hold, of nested `&&` as well.
pub(super) fn conjuncts(node: &Node) -> Vec<(&Column, Test<'_>)> {
    let mut found = Vec::new();
    collect(node, true, &mut found);
    found
}

/// The conditions on columns of which one must hold, of nested `||` as well; `None` if other
/// conditions are among them.
pub(super) fn disjuncts(node: &Node) -> Vec<(&Column, Test<'_>)> {
    let mut found = Vec::new();
    collect(node, false, &mut found);
    found
}

fn collect<'n>(node: &'n Node, all: bool, found: &mut Vec<(&'n Column, Test<'n>)>) {
    match node {
        Node::And(parts) if all => parts.iter().for_each(|part| collect(part, all, found)),
        Node::Or(parts) if !all => parts.iter().for_each(|part| collect(part, all, found)),
        _ => found.extend(test(node)),
    }
}

fn test(node: &Node) -> Option<(&Column, Test<'_>)> {
    const TRUE: &Constant = &Constant::Bool(true);
    const FALSE: &Constant = &Constant::Bool(false);
    Some(match node {
        Node::Compare(how, sides) => match sides.as_ref() {
            [Node::Column(column), Node::Constant(value)] => (column, Test::Compare(*how, value)),
            [Node::Constant(value), Node::Column(column)] => {
                (column, Test::Compare(how.mirrored(), value))
            }
            _ => return None,
        },
        Node::InSet(item, set) => match item.as_ref() {
            Node::Column(column) => (column, Test::Among(set)),
            _ => return None,
        },
        Node::IsNull(part) => match part.as_ref() {
            Node::Column(column) => (column, Test::IsNull),
            _ => return None,
        },
        // A condition that is a column itself.
        Node::Column(column) if column.kind == Kind::Bool && !column.is_array => {
            (column, Test::Compare(Comparison::Equal, TRUE))
        }
        Node::Not(part) => match part.as_ref() {
            Node::IsNull(part) => match part.as_ref() {
                Node::Column(column) => (column, Test::IsNotNull),
                _ => return None,
            },
            Node::Column(column) if column.kind == Kind::Bool && !column.is_array => {
                (column, Test::Compare(Comparison::Equal, FALSE))
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether no value of one column can pass all of these tests. Exact for what it finds; what it
/// does not understand passes.
pub(super) fn contradict(tests: &[Test<'_>]) -> bool {
    let passes = |value: &Constant| tests.iter().all(|test| passes(test, value));
    let wants_null = tests.iter().any(|test| matches!(test, Test::IsNull));
    let refuses_null = tests.iter().any(|test| match test {
        Test::IsNull => false,
        Test::Compare(how, _) => *how != Comparison::NotEqual,
        Test::Among(_) | Test::IsNotNull => true,
    });
    if wants_null {
        return refuses_null;
    }
    for test in tests {
        match test {
            // If it must be this one, or one of these, they can be tried.
            Test::Compare(Comparison::Equal, value) => return !passes(value),
            Test::Among(Set::Texts(texts)) => {
                return !texts.iter().any(|t| passes(&Constant::Text(t.clone())));
            }
            Test::Among(Set::Numbers(numbers)) => {
                return !numbers.iter().any(|n| passes(&Constant::Number(n.clone())));
            }
            _ => {}
        }
    }
    // Only bounds are left: two of them must leave something between.
    tests.iter().enumerate().any(|(index, low)| {
        tests
            .iter()
            .skip(index + 1)
            .any(|high| exclude_each_other(low, high))
    })
}

fn passes(test: &Test<'_>, value: &Constant) -> bool {
    match test {
        Test::Compare(how, bound) => match order(value, bound) {
            None => true,
            Some(order) => match how {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            },
        },
        Test::Among(Set::Texts(texts)) => match value {
            Constant::Text(text) => texts.contains(text),
            _ => true,
        },
        Test::Among(Set::Numbers(numbers)) => match value {
            Constant::Number(number) => numbers.contains(number),
            _ => true,
        },
        Test::IsNull => false,
        Test::IsNotNull => true,
    }
}

/// Whether one bounds from below and the other from above, with nothing between.
fn exclude_each_other(a: &Test<'_>, b: &Test<'_>) -> bool {
    use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
    let (Test::Compare(a_how, a), Test::Compare(b_how, b)) = (a, b) else {
        return false;
    };
    let (low, low_how, high, high_how) = match (a_how, b_how) {
        (Greater | GreaterOrEqual, Less | LessOrEqual) => (a, a_how, b, b_how),
        (Less | LessOrEqual, Greater | GreaterOrEqual) => (b, b_how, a, a_how),
        _ => return false,
    };
    let is_open = *low_how == Greater || *high_how == Less;
    order(low, high).is_some_and(|order| order.is_gt() || (is_open && order.is_eq()))
}

fn order(a: &Constant, b: &Constant) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Constant::Bool(a), Constant::Bool(b)) => Some(a.cmp(b)),
        (Constant::Number(a), Constant::Number(b)) => Some(Number::cmp(a, b)),
        (Constant::Double(a), Constant::Double(b)) => a.partial_cmp(b),
        (Constant::Text(a), Constant::Text(b)) => Some(a.cmp(b)),
        (Constant::Time(a), Constant::Time(b)) | (Constant::Duration(a), Constant::Duration(b)) => {
            Some(a.cmp(b))
        }
        _ => None,
    }
}
