//! Literals take the type of what they meet, and are refused where they don't fit into it.

use cel::{IdedExpr, common::ast::Expr};

use super::{Checker, Typed};
use crate::{
    expr::{
        kinds::{Type, Words},
        number::Number,
        program::{Constant, Node},
    },
    nearest::nearest,
};

impl Checker<'_> {
    /// A literal in the type of what it is compared with. For an equality it must be a value that
    /// the type has; for an order it need not be.
    pub(super) fn fit(&mut self, literal: Typed, to: &Type, is_equality: bool) -> Typed {
        let at = literal.at;
        match (&literal.node, to) {
            (Node::Constant(Constant::Number(number)), Type::Real | Type::Double) => {
                match to_double(number, to) {
                    Some(value) => {
                        Typed::new(Node::Constant(Constant::Double(value)), to.clone(), at)
                    }
                    None => {
                        let message = format!("{number} is out of the range of the column's type");
                        self.refuse(at, message, "write a smaller number")
                    }
                }
            }
            (Node::Constant(Constant::Number(number)), Type::Int(Some(width))) => {
                let (least, most) = width.bounds();
                if *number < Number::int(least) || *number > Number::int(most) {
                    let message = format!("{number} is out of the range of {}", width.name());
                    let help = format!("it holds {least} to {most}");
                    return self.refuse(at, message, help);
                }
                if is_equality && number.fraction_digits() != Some(0) {
                    let message = format!("a whole number is never {number}");
                    return self.refuse(at, message, "write a whole number, or use `<` or `>`");
                }
                literal
            }
            (Node::Constant(Constant::Number(number)), Type::Int(None))
                if is_equality && number.fraction_digits() != Some(0) =>
            {
                let message = format!("a whole number is never {number}");
                self.refuse(at, message, "write a whole number, or use `<` or `>`")
            }
            (Node::Constant(Constant::Number(number)), Type::Decimal(Some(scale)))
                if is_equality && number.fraction_digits() > Some(i64::from(*scale)) =>
            {
                let message =
                    format!("a column with {scale} digits behind the point is never {number}");
                self.refuse(at, message, "write fewer digits, or use `<` or `>`")
            }
            (Node::Constant(Constant::Text(text)), Type::Text(words)) if is_equality => {
                let text = text.clone();
                self.fit_text(literal, &text, *words)
            }
            _ => literal,
        }
    }

    fn fit_text(&mut self, literal: Typed, text: &str, words: Words) -> Typed {
        let at = literal.at;
        match words {
            Words::Any | Words::Other => literal,
            // The column's values are without padding, so what it is compared with is as well.
            Words::Padded => Typed::new(Node::text(text.trim_end_matches(' ')), literal.r#type, at),
            Words::Uuid => match uuid::Uuid::parse_str(text) {
                Ok(id) => Typed::new(Node::text(&id.to_string()), literal.r#type, at),
                Err(_) => self.refuse(
                    at,
                    format!("'{text}' is not a UUID"),
                    "write one such as '00000000-0000-0000-0000-000000000000'",
                ),
            },
            Words::OneOf(known) if !known.contains(&text) => {
                let help = match nearest(text, known.iter().copied()) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("it is one of '{}'", known.join("', '")),
                };
                self.refuse(at, format!("it is never '{text}'"), help)
            }
            Words::Columns => match self.scope.column(text) {
                Some(column) if column.hidden.is_none() => literal,
                // Says why, as for the column itself.
                _ => self.column(at, crate::expr::program::Root::Row, text),
            },
            Words::OneOf(_) => literal,
        }
    }

    /// The items of a list in the type of what is looked for among them.
    pub(super) fn fit_items(
        &mut self,
        items: Vec<Node>,
        list_at: usize,
        to: &Type,
        args: &[IdedExpr],
    ) -> Node {
        // The places of the items are in the syntax tree.
        let places: Vec<usize> = match args.get(1).map(|list| &list.expr) {
            Some(Expr::List(list)) => list
                .elements
                .iter()
                .map(|element| self.places.offset(element.id))
                .collect(),
            _ => Vec::new(),
        };
        let fitted = items.into_iter().enumerate().map(|(index, node)| {
            let at = places.get(index).copied().unwrap_or(list_at);
            let item = Typed::new(node, Type::Unknown, at);
            if item.is_literal() {
                self.fit(item, to, true).node
            } else {
                item.node
            }
        });
        Node::List(fitted.collect())
    }
}

/// The number in the column's type, as Postgres would read it there.
fn to_double(number: &Number, to: &Type) -> Option<f64> {
    let value = match to {
        Type::Real => f64::from(number.to_string().parse::<f32>().ok()?),
        _ => number.to_f64(),
    };
    value.is_finite().then_some(value)
}
