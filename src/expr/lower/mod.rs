//! Lowering: a condition as SQL over OLD and NEW, for the trigger to judge before a change is
//! written down.
//!
//! A part that Postgres judges exactly as [`Expression::evaluate`] does becomes one boolean
//! expression of SQL's three values, where null stands for "fails": the two logics are the same.
//! Of a part that has no such SQL, nothing is said: it counts as true where it is wanted true, and
//! as false where it is wanted false. So the whole is true whenever the condition holds, and
//! perhaps where it does not.
//!
//! The SQL can't raise for values of the columns' types, names every operator, function and type
//! with its schema, and depends on no setting of the session. It is made for one operation, so that
//! an absent row is null before any row is seen.
//!
//! What evaluation refuses to read (numbers of more than [`NUMBER_DIGITS_MAX`] digits, texts over
//! [`TEXT_BYTES_MAX`], years that its calendar does not have) Postgres still judges: such a row may
//! be true here where the condition fails.
//!
//! [`NUMBER_DIGITS_MAX`]: super::NUMBER_DIGITS_MAX
//! [`TEXT_BYTES_MAX`]: super::TEXT_BYTES_MAX

mod column;
mod compare;
mod cond;
mod number;
mod operand;
mod quote;
mod text;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

pub use self::{
    column::{SqlColumn, SqlType},
    quote::{identifier, literal},
};
use self::{cond::Cond, operand::Operand};
use super::{
    Expression,
    evaluate::Env,
    facts::Facts,
    program::{Comparison, Constant, Fact, Node, Root},
    value::{Kind, Value},
};
use crate::catalog::model::Operation;

/// Bytes of a lowered condition. A longer one is not lowered: `? :` writes its condition twice, so
/// nested ones grow.
pub const LOWERED_BYTES_MAX: usize = 32 * 1024;

/// A condition as SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// A boolean expression over `old` and `new` that is true whenever the condition holds; else it
    /// is false or null.
    pub sql: String,
    /// Whether it is true only if the condition holds, too.
    pub is_exact: bool,
    /// The columns that it names, each with a row that it is taken from.
    pub columns: BTreeMap<String, Root>,
}

impl Expression {
    /// The condition as SQL for changes of this operation, of a table that has these `columns`.
    #[must_use]
    pub fn lower(&self, operation: Operation, columns: &[SqlColumn]) -> Lowered {
        let lowering = Lowering {
            operation,
            columns,
            named: RefCell::default(),
        };
        let root = &self.0.root;
        let exact = lowering.exact(root);
        let is_exact = exact.is_some();
        let sql = exact
            .unwrap_or_else(|| lowering.at_least(root, true))
            .holds();
        // An attempt that came to nothing has named columns, too.
        let named = lowering.named.into_inner().into_iter();
        let columns = named
            .filter(|(name, root)| sql.contains(&column::place(*root, name)))
            .collect();
        Lowered {
            sql,
            is_exact,
            columns,
        }
    }
}

struct Lowering<'a> {
    operation: Operation,
    columns: &'a [SqlColumn],
    /// The columns that were named.
    named: RefCell<BTreeSet<(String, Root)>>,
}

impl Lowering<'_> {
    /// SQL that is true if the part is `wanted`, and perhaps in other cases.
    fn at_least(&self, node: &Node, wanted: bool) -> Cond {
        if let Some(exact) = self.exact(node) {
            return if wanted { exact } else { exact.not() };
        }
        let each = |parts: &[Node]| -> Vec<Cond> {
            let parts = parts.iter();
            parts.map(|part| self.at_least(part, wanted)).collect()
        };
        let made = match node {
            Node::Not(part) => self.at_least(part, !wanted),
            Node::And(parts) if wanted => Cond::and(each(parts)),
            Node::And(parts) => Cond::or(each(parts)),
            Node::Or(parts) if wanted => Cond::or(each(parts)),
            Node::Or(parts) => Cond::and(each(parts)),
            Node::Choose(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let taken = |holds, part| {
                    let condition = self.at_least(condition, holds);
                    Cond::and(vec![condition, self.at_least(part, wanted)])
                };
                Cond::or(vec![taken(true, then), taken(false, otherwise)])
            }
            _ => Cond::TRUE,
        };
        if made.is_too_long() {
            return Cond::TRUE;
        }
        made
    }

    /// SQL that is true, false or null as the part is true, false or fails; `None` if there is
    /// none that is sure to.
    fn exact(&self, node: &Node) -> Option<Cond> {
        if self.is_known(node) {
            let holds = self.over_nothing(|facts| Env::new(facts).holds(node).ok());
            return Some(Cond::Known(holds));
        }
        let each = |parts: &[Node]| -> Option<Vec<Cond>> {
            parts.iter().map(|part| self.exact(part)).collect()
        };
        let made = match node {
            Node::RowIsNull(root) => Cond::Known(Some(self.present(*root).is_none())),
            Node::Not(part) => self.exact(part)?.not(),
            Node::And(parts) => Cond::and(each(parts)?),
            Node::Or(parts) => Cond::or(each(parts)?),
            Node::Choose(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let condition = self.exact(condition)?;
                Cond::choose(condition, self.exact(then)?, self.exact(otherwise)?)
            }
            Node::Column(column) if column.kind == Kind::Bool && !column.is_array => {
                self.operand(node)?.into_cond()?
            }
            Node::IsNull(part) => self.is_null(part)?,
            Node::Compare(how, sides) => {
                let (a, b) = (self.operand(&sides[0])?, self.operand(&sides[1])?);
                compare::compare(*how, &a, &b)?
            }
            Node::InSet(item, set) => compare::in_set(&self.operand(item)?, set)?,
            Node::In(sides) => self.is_in(&sides[0], &sides[1])?,
            Node::Search(search, sides) => {
                let (a, b) = (self.operand(&sides[0])?, self.operand(&sides[1])?);
                text::search(*search, &a, &b)?
            }
            Node::Loop(r#loop) if !r#loop.every && is_changed(&r#loop.list) => {
                self.one_has_changed(&r#loop.body)?
            }
            _ => return None,
        };
        (!made.is_too_long()).then_some(made)
    }

    fn is_null(&self, part: &Node) -> Option<Cond> {
        match part {
            Node::Column(column) => self.column_is_null(column),
            _ => match self.operand(part)? {
                Operand::Constant(constant) => Some(Cond::Known(Some(constant == Constant::Null))),
                Operand::Sql(_) => None,
            },
        }
    }

    fn is_in(&self, item: &Node, list: &Node) -> Option<Cond> {
        if is_changed(list) {
            let Operand::Constant(Constant::Text(name)) = self.operand(item)? else {
                return None;
            };
            return self.has_changed(&name);
        }
        let Node::List(items) = list else {
            return None;
        };
        let item = self.operand(item)?;
        let mut found = Vec::new();
        for other in items {
            let other = self.operand(other)?;
            found.push(compare::compare(Comparison::Equal, &item, &other)?);
        }
        // An item that is null is found nowhere: that fails, in an empty list as well.
        Some(Cond::or(found).unless(item.null_test()))
    }

    /// `changed.exists(c, c == 'a' || ...)`, where the body is plain enough.
    fn one_has_changed(&self, body: &Node) -> Option<Cond> {
        use super::program::Set;
        let is_variable = |node: &Node| matches!(node, Node::Variable(0));
        let each = |names: &mut dyn Iterator<Item = &str>| -> Option<Cond> {
            let names: Option<Vec<Cond>> = names.map(|name| self.has_changed(name)).collect();
            names.map(Cond::or)
        };
        match body {
            Node::InSet(item, set) if is_variable(item) => match set.as_ref() {
                Set::Texts(texts) => each(&mut texts.iter().map(AsRef::as_ref)),
                Set::Numbers(_) => None,
            },
            Node::Compare(Comparison::Equal, sides) => match sides.as_ref() {
                [variable, Node::Constant(Constant::Text(name))]
                | [Node::Constant(Constant::Text(name)), variable]
                    if is_variable(variable) =>
                {
                    each(&mut [name.as_ref()].into_iter())
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The row that a name means here; `None` if there is none.
    fn present(&self, root: Root) -> Option<Root> {
        match (root, self.operation) {
            (Root::Old | Root::Row, Operation::Delete) | (Root::Old, Operation::Update) => {
                Some(Root::Old)
            }
            (Root::New | Root::Row, Operation::Create | Operation::Update) => Some(Root::New),
            (Root::Old, Operation::Create) | (Root::New, Operation::Delete) => None,
        }
    }

    /// Whether the part looks at nothing that differs from one change to the other.
    fn is_known(&self, node: &Node) -> bool {
        !node.any(&|node| match node {
            Node::Column(column) => self.present(column.root).is_some(),
            Node::Fact(Fact::Op) => false,
            Node::Fact(Fact::Changed) => self.operation == Operation::Update,
            Node::Fact(_) | Node::RowIsNull(_) | Node::Variable(_) => true,
            _ => false,
        })
    }

    /// Runs something over facts without rows, and with the operation.
    fn over_nothing<T>(&self, run: impl FnOnce(&Facts<'_>) -> T) -> T {
        super::with_no_facts(|facts| {
            run(&Facts {
                op: self.operation.as_str(),
                ..*facts
            })
        })
    }

    /// The value of a part, if it is known; `None` if it fails, or is none that SQL has.
    fn constant(&self, node: &Node) -> Option<Constant> {
        self.over_nothing(|facts| {
            Some(match Env::new(facts).value_of(node).ok()? {
                Value::Null => Constant::Null,
                Value::Bool(value) => Constant::Bool(value),
                Value::Number(number) => Constant::Number(number),
                Value::Double(value) => Constant::Double(value),
                Value::Text(text) => Constant::Text(text.as_ref().into()),
                Value::Time(time) => Constant::Time(time),
                Value::Duration(length) => Constant::Duration(length),
                _ => return None,
            })
        })
    }
}

fn is_changed(node: &Node) -> bool {
    matches!(node, Node::Fact(Fact::Changed))
}

#[cfg(test)]
mod tests;
