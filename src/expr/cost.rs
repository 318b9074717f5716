//! What an evaluation can cost at most, known before it runs.

use super::program::{Node, Set};

/// Items that a loop is taken to have. More are looked at, up to the limit of steps.
const LOOP_ITEMS: u64 = 100;

/// The cost of a part in steps: about one comparison of two small values each.
pub(super) fn cost(node: &Node) -> u64 {
    let parts = || {
        node.parts()
            .into_iter()
            .map(cost)
            .fold(0_u64, u64::saturating_add)
    };
    match node {
        Node::Loop(r#loop) => {
            let body = cost(&r#loop.body).saturating_add(1);
            cost(&r#loop.list).saturating_add(body.saturating_mul(LOOP_ITEMS))
        }
        Node::Choose(parts) => {
            let [condition, then, otherwise] = parts.as_ref();
            cost(condition).saturating_add(cost(then).max(cost(otherwise)))
        }
        Node::Constant(_) | Node::RowIsNull(_) | Node::Variable(_) => 1,
        Node::Column(_) | Node::Fact(_) => 2,
        // A path reads the document again.
        Node::Field(_) | Node::Has(_) => parts().saturating_add(5),
        Node::In(_) => parts().saturating_add(20),
        Node::InSet(_, set) => {
            let items = match set.as_ref() {
                Set::Texts(texts) => texts.len(),
                Set::Numbers(numbers) => numbers.len(),
            };
            parts().saturating_add(u64::from(items.max(1).ilog2()) + 1)
        }
        Node::Matches(..) => parts().saturating_add(20),
        Node::Search(..) | Node::Case(..) | Node::Part(..) | Node::ToTime(_) | Node::Size(_) => {
            parts().saturating_add(5)
        }
        _ => parts().saturating_add(1),
    }
}
