//! Comparisons and `in`.

use std::sync::Arc;

use cel::IdedExpr;

use super::{Checker, Typed};
use crate::expr::{
    kinds::{Type, Words},
    program::{Comparison, Constant, Node, Set},
};

impl Checker<'_> {
    pub(super) fn comparison(&mut self, at: usize, how: Comparison, args: &[IdedExpr]) -> Typed {
        let sign = how.sign();
        let [a, b] = args else {
            return self.refuse(at, format!("`{sign}` takes two values"), "");
        };
        if let (Some(_), _) | (_, Some(_)) = (self.root(a), self.root(b)) {
            return self.row_comparison(at, how, a, b);
        }
        let what = format!("`{sign}`");
        let (a, b) = (self.value(a, &what), self.value(b, &what));
        if !how.is_equality() {
            for side in [&a, &b] {
                if side.r#type == Type::Null {
                    let message = format!("`{sign}` does not take null, which has no order");
                    return self.refuse(side.at, message, "use `== null` or `!= null`");
                }
            }
        }
        let fits = if how.is_equality() {
            a.r#type.is_comparable_with(&b.r#type)
        } else {
            a.r#type.is_ordered_with(&b.r#type)
        };
        if !fits {
            return self.mismatch(at, sign, &a, &b);
        }
        let (a, b) = match (a.is_literal(), b.is_literal()) {
            (false, true) => {
                let b = self.fit(b, &a.r#type, how.is_equality());
                (a, b)
            }
            (true, false) => (self.fit(a, &b.r#type, how.is_equality()), b),
            _ => (a, b),
        };
        let is_null = |side: &Typed| side.r#type == Type::Null;
        if how.is_equality() && (is_null(&a) != is_null(&b)) {
            let other = if is_null(&a) { b } else { a };
            return Typed::new(null_test(how, other.node), Type::Bool, at);
        }
        let node = Node::Compare(how, Box::new([a.node, b.node]));
        Typed::new(node, Type::Bool, at)
    }

    /// A row is compared with null only.
    fn row_comparison(&mut self, at: usize, how: Comparison, a: &IdedExpr, b: &IdedExpr) -> Typed {
        let (root, other) = match (self.root(a), self.root(b)) {
            (Some(root), _) => (root, b),
            (None, Some(root)) => (root, a),
            (None, None) => return Typed::unknown(at),
        };
        let is_other_row = self.root(other).is_some();
        let other = self.part(other);
        if other.r#type != Type::Null || !how.is_equality() {
            let help = if is_other_row {
                "to see whether the row changed write `size(changed) > 0`"
            } else {
                "compare one of its columns, or the row with `== null` or `!= null`"
            };
            let message = format!(
                "`{}` is a row, which is compared with null only",
                root.name()
            );
            return self.refuse(at, message, help);
        }
        let node = Node::RowIsNull(root);
        let node = match how {
            Comparison::Equal => node,
            _ => Node::Not(Box::new(node)),
        };
        Typed::new(node, Type::Bool, at)
    }

    fn mismatch(&mut self, at: usize, sign: &str, a: &Typed, b: &Typed) -> Typed {
        let message = format!("`{sign}` compares {} with {}", a.r#type, b.r#type);
        let (literal, other) = if b.is_literal() { (b, a) } else { (a, b) };
        let help = match (&literal.node, &other.r#type) {
            (Node::Constant(Constant::Text(text)), of) if of.is_number() => {
                if crate::expr::number::Number::parse(text).is_some() {
                    format!("write {text} without quotes")
                } else {
                    "write a number".to_owned()
                }
            }
            (Node::Constant(Constant::Number(number)), Type::Text(_)) => {
                format!("write '{number}' in quotes")
            }
            (Node::Constant(Constant::Text(text)), Type::Time) => {
                format!("write `timestamp('{text}')`")
            }
            (Node::Constant(Constant::Text(text)), Type::Duration) => {
                format!("write `duration('{text}')`")
            }
            (Node::Constant(Constant::Text(_)), Type::Bool) => {
                "write `true` or `false` without quotes".to_owned()
            }
            (Node::Constant(_), Type::List(_)) => {
                "write `... in ...` to look for an item".to_owned()
            }
            _ => "compare values of one type".to_owned(),
        };
        let at = if literal.is_literal() { literal.at } else { at };
        self.refuse(at, message, help)
    }

    /// `item in list`.
    pub(super) fn member(&mut self, at: usize, args: &[IdedExpr]) -> Typed {
        let [item, list] = args else {
            return self.refuse(at, "`in` takes a value and a list", "");
        };
        let item = self.value(item, "`in`");
        let list = self.value(list, "`in`");
        if item.r#type == Type::Null {
            return self.refuse(item.at, "`in` does not take null", "use `== null`");
        }
        let of = match &list.r#type {
            Type::List(of) => of.as_ref().clone(),
            Type::Json | Type::Unknown => Type::Unknown,
            Type::Labels => Type::Text(Words::Any),
            other => {
                let help = match other {
                    Type::Text(_) => "to look for a part of a text write `text.contains('part')`",
                    _ => "write a list, as in `row.status in ['open', 'new']`",
                };
                let message = format!("`in` takes a list, not {other}");
                return self.refuse(list.at, message, help);
            }
        };
        if !item.r#type.is_comparable_with(&of) {
            let message = format!("`in` looks for {} in a list of {of}", item.r#type);
            return self.refuse(at, message, "write items of the type of what is looked for");
        }
        let item = if item.is_literal() {
            self.fit(item, &of, true)
        } else {
            item
        };
        let list = match list.node {
            Node::List(items) if !items.is_empty() => {
                self.fit_items(items, list.at, &item.r#type, args)
            }
            other => other,
        };
        let node = match set(&list) {
            Some(set) => Node::InSet(Box::new(item.node), Arc::new(set)),
            None => Node::In(Box::new([item.node, list])),
        };
        Typed::new(node, Type::Bool, at)
    }
}

/// Whether something is null, or is not.
fn null_test(how: Comparison, node: Node) -> Node {
    let test = Node::IsNull(Box::new(node));
    match how {
        Comparison::Equal => test,
        _ => Node::Not(Box::new(test)),
    }
}

/// The list as sorted constants, if it is made of texts or exact numbers only. What is looked for
/// among doubles is compared with each: their literals are doubles too.
fn set(list: &Node) -> Option<Set> {
    let Node::List(items) = list else {
        return None;
    };
    let texts: Option<Vec<Arc<str>>> = items
        .iter()
        .map(|item| match item {
            Node::Constant(Constant::Text(text)) => Some(text.clone()),
            _ => None,
        })
        .collect();
    if let Some(mut texts) = texts {
        texts.sort();
        texts.dedup();
        return Some(Set::Texts(texts));
    }
    let numbers: Option<Vec<_>> = items
        .iter()
        .map(|item| match item {
            Node::Constant(Constant::Number(number)) => Some(number.clone()),
            _ => None,
        })
        .collect();
    let mut numbers = numbers?;
    numbers.sort();
    numbers.dedup();
    Some(Set::Numbers(numbers))
}
