//! The bounds that must be kept for an expression to be true: what the subscription index leaves
//! filters out by, besides their equalities.
//!
//! What is guaranteed: where [`Looked::seen`] gives a value of the limit's kind that is beyond the
//! limit, the expression is false of these facts, and does not fail.

use super::{
    Expression,
    equality::{Literal, Looked},
    program::{Comparison, Node},
};

/// A bound that a value must keep for an expression to be true.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is looked at.
    pub looked: Looked,
    /// On which side of the limit it has to be.
    pub side: Side,
    /// The limit. Whether it is allowed itself is left open.
    pub limit: Literal,
}

/// A side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// What is greater.
    Above,
    /// What is less.
    Below,
}

impl Expression {
    /// The bounds that must all be kept for it to be true; there may be none.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        let mut found = Vec::new();
        collect(&self.0.root, &mut found);
        found
    }
}

/// Those of a part that must be true. A conjunction is false if one part is, whatever fails beside
/// it, so here nothing but conjunctions is gone into.
fn collect(node: &Node, found: &mut Vec<Bound>) {
    match node {
        Node::And(parts) => parts.iter().for_each(|part| collect(part, found)),
        Node::Compare(how, sides) => match sides.as_ref() {
            [looked, Node::Constant(limit)] => {
                found.extend(bound(looked, *how, Literal::of_constant(limit)));
            }
            [Node::Constant(limit), looked] => {
                found.extend(bound(looked, how.mirrored(), Literal::of_constant(limit)));
            }
            _ => {}
        },
        _ => {}
    }
}

fn bound(looked: &Node, how: Comparison, limit: Option<Literal>) -> Option<Bound> {
    let side = match how {
        Comparison::Greater | Comparison::GreaterOrEqual => Side::Above,
        Comparison::Less | Comparison::LessOrEqual => Side::Below,
        Comparison::Equal | Comparison::NotEqual => return None,
    };
    Some(Bound {
        limit: limit?,
        looked: Looked::of(looked)?,
        side,
    })
}
