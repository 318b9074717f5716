//! Values: literals, and SQL of a type that is known.

use super::{Lowering, cond::Cond, number, text};
use crate::expr::program::{Constant, Node, Operation};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Constant(Constant),
    Sql(Sql),
}

/// A value that SQL calculates.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    /// Of the class's type; an operand of any operator as it is.
    pub(super) text: String,
    pub(super) class: Class,
    /// What must be true, or evaluation fails.
    pub(super) needed: Vec<String>,
    /// Whether null is one of its values. Where it is not, it is null only if `needed` is not true.
    pub(super) is_nullable: bool,
}

/// What kind of value, and of which SQL type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Bool,
    Number(NumberForm),
    /// `float8`
    Double,
    /// `text`, or one of its like
    Text,
    Time(TimeForm),
    Duration,
}

/// The SQL type of an exact number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberForm {
    /// `int2`, `int4` or `int8`
    Int,
    /// `numeric`, with the digits before and behind the point that it has at most, if known.
    Numeric(Option<(u16, u16)>),
}

/// The SQL type of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    Timestamptz,
    Timestamp,
    Date,
}

impl Operand {
    /// What must be true of it, or evaluation fails.
    pub(super) fn needed(&self) -> &[String] {
        match self {
            Self::Constant(_) => &[],
            Self::Sql(sql) => &sql.needed,
        }
    }

    pub(super) fn is_nullable(&self) -> bool {
        match self {
            Self::Constant(constant) => *constant == Constant::Null,
            Self::Sql(sql) => sql.is_nullable,
        }
    }

    /// Whether it is null.
    pub(super) fn null_test(&self) -> Cond {
        match self {
            Self::Constant(constant) => Cond::Known(Some(*constant == Constant::Null)),
            Self::Sql(sql) if sql.is_nullable => Cond::of(format!("({} is null)", sql.text)),
            Self::Sql(_) => Cond::FALSE,
        }
    }

    /// A truth value as a condition; null fails.
    pub(super) fn into_cond(self) -> Option<Cond> {
        match self {
            Self::Constant(Constant::Bool(value)) => Some(Cond::Known(Some(value))),
            Self::Constant(Constant::Null) => Some(Cond::FAILS),
            Self::Sql(sql) if sql.class == Class::Bool => {
                Some(Cond::of(format!("({})", sql.text)).given(&sql.needed))
            }
            _ => None,
        }
    }
}

impl Sql {
    /// A result of these operands: where one of them is null, evaluation fails.
    pub(super) fn of(text: String, class: Class, operands: &[&Self]) -> Self {
        let mut needed = Vec::new();
        for operand in operands {
            needed.extend(operand.needed.iter().cloned());
            if operand.is_nullable {
                needed.push(format!("{} is not null", operand.text));
            }
        }
        needed.dedup();
        Self {
            text,
            class,
            needed,
            is_nullable: false,
        }
    }
}

impl Lowering<'_> {
    /// The value of a part; `None` if SQL can't be sure to have the same.
    pub(super) fn operand(&self, node: &Node) -> Option<Operand> {
        if self.is_known(node) {
            return self.constant(node).map(Operand::Constant);
        }
        match node {
            Node::Column(column) => self.column(column),
            Node::Arithmetic(
                operation @ (Operation::Add | Operation::Subtract | Operation::Multiply),
                sides,
            ) => {
                let (a, b) = (self.operand(&sides[0])?, self.operand(&sides[1])?);
                number::calculate(*operation, &a, &b)
            }
            Node::Negate(part) => number::negate(&self.operand(part)?),
            Node::Size(part) => text::size(&self.operand(part)?),
            Node::Case(case, part) => text::in_case(*case, &self.operand(part)?),
            Node::RowIsNull(_)
            | Node::IsNull(_)
            | Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Compare(..)
            | Node::In(_)
            | Node::InSet(..)
            | Node::Search(..)
            | Node::Loop(_) => Some(match self.exact(node)? {
                Cond::Known(Some(value)) => Operand::Constant(Constant::Bool(value)),
                Cond::Known(None) => return None,
                judged @ Cond::Sql(_) => {
                    let text = judged.sql();
                    Operand::Sql(Sql {
                        needed: vec![format!("{text} is not null")],
                        text,
                        class: Class::Bool,
                        is_nullable: false,
                    })
                }
            }),
            _ => None,
        }
    }
}
