//! The equalities that must hold for an expression to be true: what the subscription index finds
//! filters by.
//!
//! An index that knows the value of [`Equality::looked`] in an event need not judge the expressions
//! that want another one. What is guaranteed for that: where [`Looked::seen`] gives a value that is
//! not among [`Equality::values`], or nothing, the expression is not true of these facts. Both
//! sides are the values of the evaluator itself, equal exactly where its `==` says so: numbers by
//! value, whatever their spelling; text by code points, without the padding of `char(n)`.

use std::{cmp::Ordering, collections::HashSet, fmt};

use super::{
    Expression,
    evaluate::Env,
    facts::Facts,
    number::Number,
    program::{Comparison, Constant, Fact, Node, Set},
    value::{Kind, Value},
};

/// An equality with more values than this is not worth its places in an index.
pub const EQUALITY_VALUES_MAX: usize = 32;

/// Something that must have one of some values for an expression to be true.
#[derive(Clone, Debug)]
pub struct Equality {
    /// What is looked at.
    pub looked: Looked,
    /// Its values, each once: from one to [`EQUALITY_VALUES_MAX`].
    pub values: Vec<Literal>,
}

/// A part of an expression that has one value in an event, whoever is told of it: a column, a path
/// into JSON, or a fact such as `op`.
#[derive(Clone)]
pub struct Looked {
    node: Node,
    identity: String,
}

/// A value that can be looked up. Equal to those that `==` takes for the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal(Plain);

/// Ordered by kind, then as `<` orders what is of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Plain {
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Time(i64),
    Duration(i64),
}

/// What is seen of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Null: no equality with a literal holds.
    Nothing,
    /// A value.
    Value(Literal),
    /// It can't be read, or is of a kind that literals are not: every expression is to be judged.
    Unclear,
}

impl Expression {
    /// The equalities that must all hold for it to be true; there may be none.
    #[must_use]
    pub fn equalities(&self) -> Vec<Equality> {
        let mut found = equalities(&self.0.root);
        found.retain(|equality| (1..=EQUALITY_VALUES_MAX).contains(&equality.values.len()));
        found
    }
}

impl Literal {
    pub(super) fn of_constant(constant: &Constant) -> Option<Self> {
        Plain::of_constant(constant).map(Self)
    }

    /// What kind of value it is: of different kinds none is less than another.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Plain::Bool(_) => "bool",
            Plain::Number(_) => "number",
            Plain::Text(_) => "text",
            Plain::Time(_) => "time",
            Plain::Duration(_) => "duration",
        }
    }

    /// Their order: of one kind that of `<`, and so that equal ones are those that `==` takes for
    /// the same.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Looked {
    pub(super) fn of(node: &Node) -> Option<Self> {
        Some(Self {
            identity: identity(node)?,
            node: node.clone(),
        })
    }

    /// The same for the same part of every expression over the same scope, and for no other part.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Its value in an event.
    #[must_use]
    pub fn seen(&self, facts: &Facts<'_>) -> Seen {
        match Env::new(facts).value_of(&self.node) {
            Ok(Value::Null) => Seen::Nothing,
            Ok(value) => {
                Plain::of_value(value).map_or(Seen::Unclear, |of| Seen::Value(Literal(of)))
            }
            Err(_) => Seen::Unclear,
        }
    }
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity)
    }
}

impl Plain {
    fn of_value(value: Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::Text(text) => Self::Text(text.into()),
            Value::Time(time) => Self::Time(time),
            Value::Duration(length) => Self::Duration(length),
            // A double may be the same as a number.
            _ => return None,
        })
    }

    fn of_constant(constant: &Constant) -> Option<Self> {
        Some(match constant {
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Number(number) => Self::Number(number.clone()),
            Constant::Text(text) => Self::Text((**text).into()),
            Constant::Time(time) => Self::Time(*time),
            Constant::Duration(length) => Self::Duration(*length),
            Constant::Null | Constant::Double(_) => return None,
        })
    }
}

/// Those of a part that must be true.
fn equalities(node: &Node) -> Vec<Equality> {
    match node {
        Node::And(parts) => parts.iter().flat_map(equalities).collect(),
        Node::Or(parts) => in_every(parts),
        Node::Compare(Comparison::Equal, sides) => match sides.as_ref() {
            [Node::Constant(constant), looked] | [looked, Node::Constant(constant)] => {
                equality(looked, [Plain::of_constant(constant)])
            }
            _ => Vec::new(),
        },
        Node::InSet(item, set) => match set.as_ref() {
            Set::Texts(texts) => equality(
                item,
                texts.iter().map(|text| Some(Plain::Text((**text).into()))),
            ),
            Set::Numbers(numbers) => equality(
                item,
                numbers.iter().map(|one| Some(Plain::Number(one.clone()))),
            ),
        },
        Node::Not(part) if is_bool_column(part) => equality(part, [Some(Plain::Bool(false))]),
        _ if is_bool_column(node) => equality(node, [Some(Plain::Bool(true))]),
        _ => Vec::new(),
    }
}

/// What every alternative says of the same: one of the values of them all.
fn in_every(parts: &[Node]) -> Vec<Equality> {
    let mut parts = parts.iter().map(equalities);
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |known, part| {
        let both = known.into_iter().filter_map(|mut equality| {
            let other = part.iter().find(|other| {
                let (one, other) = (&equality.looked, &other.looked);
                one.identity == other.identity
            })?;
            equality.values.extend(other.values.iter().cloned());
            Some(single(equality))
        });
        both.collect()
    })
}

fn equality(node: &Node, values: impl IntoIterator<Item = Option<Plain>>) -> Vec<Equality> {
    let values: Option<Vec<Literal>> = values.into_iter().map(|of| of.map(Literal)).collect();
    let found = Looked::of(node).zip(values);
    let equality = found.map(|(looked, values)| single(Equality { looked, values }));
    equality.into_iter().collect()
}

/// The same with each value once.
fn single(mut equality: Equality) -> Equality {
    let mut seen = HashSet::new();
    equality.values.retain(|value| seen.insert(value.clone()));
    equality
}

fn is_bool_column(node: &Node) -> bool {
    matches!(node, Node::Column(column) if column.kind == Kind::Bool && !column.is_array)
}

/// The name of what can be looked at, unlike any other's.
fn identity(node: &Node) -> Option<String> {
    match node {
        Node::Column(column) => Some(format!("{}.{:?}", column.root.name(), column.name)),
        // Each subscription has its own.
        Node::Fact(Fact::SubscriptionName | Fact::SubscriptionMode | Fact::SubscriptionLabels) => {
            None
        }
        Node::Fact(fact) => Some(fact.name().to_owned()),
        Node::Field(path) => {
            let base = identity(&path[0])?;
            match &path[1] {
                Node::Constant(Constant::Text(key)) => Some(format!("{base}[{key:?}]")),
                Node::Constant(Constant::Number(at)) => Some(format!("{base}[{at}]")),
                _ => None,
            }
        }
        _ => None,
    }
}
