//! Names: rows and their columns, the event, the subscription, and paths into JSON.

use cel::{
    IdedExpr,
    common::ast::{Expr, SelectExpr},
};

use super::{Checker, Typed};
use crate::{
    expr::{
        kinds::{Type, Words},
        program::{Column, Constant, Fact, Node, Root},
        scope::{Hidden, MODES, OPERATIONS},
    },
    nearest::{did_you_mean, nearest},
};

/// What an expression can begin with.
pub(super) const ROOTS: &[&str] = &[
    "old",
    "new",
    "row",
    "changed",
    "op",
    "event",
    "subscription",
    "now",
    "actor",
];

const ROWS_ONLY: &[&str] = &["old", "new", "row", "changed", "op"];

const EVENT: &[(&str, Fact, Type)] = &[
    ("id", Fact::EventId, TEXT),
    ("type", Fact::EventType, TEXT),
    ("object_type", Fact::EventObjectType, TEXT),
    ("source", Fact::EventSource, TEXT),
    ("subject", Fact::EventSubject, TEXT),
    ("time", Fact::EventTime, Type::Time),
    ("data", Fact::EventData, Type::Json),
];

const SUBSCRIPTION: &[(&str, Fact, Type)] = &[
    ("name", Fact::SubscriptionName, TEXT),
    (
        "mode",
        Fact::SubscriptionMode,
        Type::Text(Words::OneOf(MODES)),
    ),
    ("labels", Fact::SubscriptionLabels, Type::Labels),
];

const TEXT: Type = Type::Text(Words::Any);

impl Checker<'_> {
    pub(super) fn ident(&mut self, at: usize, name: &str) -> Typed {
        let variable = self.variables.iter().position(|(known, _)| known == name);
        if let Some(level) = variable {
            let r#type = self.variables[level].1.clone();
            return Typed::new(Node::Variable(level), r#type, at);
        }
        if ROWS_ONLY.contains(&name) && self.scope.columns.is_none() {
            return self.refuse(
                at,
                format!("`{name}` is not known here: the event type has no object type, so no row"),
                "use `event.data`, which is what was published",
            );
        }
        if name == "subscription" && !self.scope.has_subscription {
            return self.refuse(
                at,
                "`subscription` is not known here: whether an event happened does not depend on \
                 who is told",
                "use it in filters and constraints",
            );
        }
        let (node, r#type) = match name {
            "old" | "new" | "row" => (Node::Constant(Constant::Null), Type::Row),
            "changed" => (
                Node::Fact(Fact::Changed),
                Type::List(Box::new(Type::Text(Words::Columns))),
            ),
            "op" => (Node::Fact(Fact::Op), Type::Text(Words::OneOf(OPERATIONS))),
            "event" => (Node::Constant(Constant::Null), Type::Namespace("event")),
            "subscription" => (
                Node::Constant(Constant::Null),
                Type::Namespace("subscription"),
            ),
            "now" => (Node::Fact(Fact::Now), Type::Time),
            "actor" => (Node::Fact(Fact::Actor), TEXT),
            _ => return self.unknown_name(at, name),
        };
        Typed::new(node, r#type, at)
    }

    fn unknown_name(&mut self, at: usize, name: &str) -> Typed {
        let help = if self.scope.column(name).is_some() {
            format!("a column is named with its row: `row.{name}`, `old.{name}` or `new.{name}`")
        } else {
            let variables: Vec<&str> = self.variables.iter().map(|(n, _)| n.as_str()).collect();
            let known = ROOTS.iter().copied().chain(variables);
            match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}; text is quoted: `'{name}'`", ROOTS.join(", ")),
            }
        };
        self.refuse(at, format!("nothing is named `{name}`"), help)
    }

    /// The row that a part is, if it is one.
    pub(super) fn root(&self, part: &IdedExpr) -> Option<Root> {
        let Expr::Ident(name) = &part.expr else {
            return None;
        };
        if self.variables.iter().any(|(known, _)| known == name) || self.scope.columns.is_none() {
            return None;
        }
        match name.as_str() {
            "old" => Some(Root::Old),
            "new" => Some(Root::New),
            "row" => Some(Root::Row),
            _ => None,
        }
    }

    pub(super) fn select(&mut self, at: usize, select: &SelectExpr) -> Typed {
        // `has(...)` stands where its macro was called.
        let place = if select.test {
            at
        } else {
            self.places.after_dot(at)
        };
        let typed = self.field(place, &select.operand, &select.field);
        if !select.test {
            return typed;
        }
        if typed.r#type == Type::Unknown {
            return typed;
        }
        let node = match typed.node {
            Node::Field(path) => Node::Has(path),
            other => Node::Not(Box::new(Node::IsNull(Box::new(other)))),
        };
        Typed::new(node, Type::Bool, place)
    }

    /// The field `name` of a part; `at` is where the name is.
    fn field(&mut self, at: usize, operand: &IdedExpr, name: &str) -> Typed {
        if let Some(root) = self.root(operand) {
            return self.column(at, root, name);
        }
        let base = self.part(operand);
        match &base.r#type {
            Type::Namespace("event") => self.fact(at, "event", EVENT, name),
            Type::Namespace(_) => self.fact(at, "subscription", SUBSCRIPTION, name),
            Type::Json => Typed::new(path(base.node, Node::text(name)), Type::Json, at),
            Type::Labels => Typed::new(path(base.node, Node::text(name)), TEXT, at),
            // The row is not known in this scope, which is reported.
            Type::Unknown => Typed::unknown(at),
            Type::List(_) => self.refuse(
                at,
                format!("a list has no field `{name}`"),
                "name an item, as in `[0]`, or use `exists` or `all`",
            ),
            other => {
                let message = format!("{other} has no field `{name}`");
                self.refuse(
                    at,
                    message,
                    "only rows, JSON, labels and `event` have fields",
                )
            }
        }
    }

    fn fact(
        &mut self,
        at: usize,
        of: &str,
        facts: &[(&'static str, Fact, Type)],
        name: &str,
    ) -> Typed {
        let names = facts.iter().map(|(name, _, _)| *name);
        let Some((_, fact, r#type)) = facts.iter().find(|(known, _, _)| *known == name) else {
            let help = match nearest(name, names.clone()) {
                Some(near) => format!("did you mean `{of}.{near}`?"),
                None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
            };
            return self.refuse(at, format!("`{of}` has no field `{name}`"), help);
        };
        if *fact == Fact::EventData && self.scope.columns.is_some() {
            return self.refuse(
                at,
                "`event.data` is known only for events that the API publishes",
                "use `old`, `new` and `row`",
            );
        }
        Typed::new(Node::Fact(*fact), r#type.clone(), at)
    }

    pub(super) fn column(&mut self, at: usize, root: Root, name: &str) -> Typed {
        let Some(column) = self.scope.column(name) else {
            let help = did_you_mean(name, self.scope.column_names());
            let help = if help.is_empty() {
                let names: Vec<_> = self.scope.column_names().take(20).collect();
                format!("its columns are {}", names.join(", "))
            } else {
                help.trim_start_matches("; ").to_owned()
            };
            return self.refuse(at, format!("the rows have no column `{name}`"), help);
        };
        if let Some(hidden) = column.hidden {
            return self.hidden(at, name, hidden);
        }
        let (kind, is_array) = column.kind();
        let node = Node::Column(Column {
            root,
            name: std::sync::Arc::clone(&column.name),
            slot: column.slot,
            kind,
            is_array,
        });
        Typed::new(node, column.r#type.clone(), at)
    }

    pub(super) fn hidden(&mut self, at: usize, name: &str, hidden: Hidden) -> Typed {
        let (how, list) = match hidden {
            Hidden::Excluded => ("excluded: it never leaves the database", "exclude"),
            Hidden::Masked => ("masked: its values are replaced", "mask"),
        };
        self.refuse(
            at,
            format!("the column `{name}` can't be named, for it is {how}"),
            format!("use another column, or take it off the object type's `{list}`"),
        )
    }

    /// `base[key]`.
    pub(super) fn index(&mut self, at: usize, args: &[IdedExpr]) -> Typed {
        let [base, key] = args else {
            return self.refuse(at, "`[...]` takes one index", "");
        };
        if let Some(root) = self.root(base) {
            let key = self.value(key, "`[...]`");
            return match &key.node {
                Node::Constant(Constant::Text(name)) => self.column(key.at, root, name),
                _ => self.refuse(
                    key.at,
                    "a column is named by a text literal",
                    "write `row['name']`, or `row.name`",
                ),
            };
        }
        let base = self.value(base, "`[...]`");
        let key = self.value(key, "`[...]`");
        let of = base.r#type.clone();
        let (takes_int, takes_text, item) = match of {
            Type::List(item) => (true, false, *item),
            Type::Json => (true, true, Type::Json),
            Type::Labels => (false, true, TEXT),
            Type::Unknown => return Typed::unknown(at),
            other => {
                let message = format!("{other} has no items");
                return self.refuse(at, message, "only lists, JSON and labels have");
            }
        };
        let fits = match key.r#type {
            Type::Int(_) => takes_int,
            Type::Text(_) => takes_text,
            Type::Json | Type::Unknown => true,
            _ => false,
        };
        if !fits {
            let wanted = if takes_int { "a whole number" } else { "text" };
            let message = format!("`[...]` takes {wanted} here, not {}", key.r#type);
            return self.refuse(key.at, message, "the first item is number 0");
        }
        Typed::new(path(base.node, key.node), item, at)
    }
}

fn path(base: Node, key: Node) -> Node {
    Node::Field(Box::new([base, key]))
}
