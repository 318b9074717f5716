//! The compiled form: a tree of what is to be done, with literals in their columns' types.

use std::sync::Arc;

use chrono_tz::Tz;
use regex::Regex;

use super::{number::Number, value::Kind};

/// Which row a column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// `old`: the row before the change.
    Old,
    /// `new`: the row after it.
    New,
    /// `row`: `new`, or `old` for deletes.
    Row,
}

impl Root {
    /// Its name in expressions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Row => "row",
        }
    }
}

/// A part of the program.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Constant(Constant),
    Column(Column),
    /// Whether the row is absent.
    RowIsNull(Root),
    Fact(Fact),
    /// The value of a loop's variable, counted from the outermost loop.
    Variable(usize),
    /// A key of JSON or of labels, or an item of a list.
    Field(Box<[Node; 2]>),
    /// Whether JSON or labels have the key.
    Has(Box<[Node; 2]>),
    IsNull(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Choose(Box<[Node; 3]>),
    Compare(Comparison, Box<[Node; 2]>),
    /// Whether the first is an item or a key of the second.
    In(Box<[Node; 2]>),
    /// Whether it is one of these sorted ones.
    InSet(Box<Node>, Arc<Set>),
    List(Vec<Node>),
    Arithmetic(Operation, Box<[Node; 2]>),
    Negate(Box<Node>),
    Size(Box<Node>),
    Search(Search, Box<[Node; 2]>),
    /// The pattern is boxed, so that no other node is as large as it.
    Matches(Box<Node>, Box<Regex>),
    Case(Case, Box<Node>),
    ToTime(Box<Node>),
    ToDuration(Box<Node>),
    Part(Part, Box<Node>, Tz),
    Loop(Box<Loop>),
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(Number),
    Double(f64),
    Text(Arc<str>),
    Time(i64),
    Duration(i64),
}

/// A column of a row.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) root: Root,
    pub(super) name: Arc<str>,
    /// Where in the image it is expected.
    pub(super) slot: usize,
    pub(super) kind: Kind,
    pub(super) is_array: bool,
}

/// What is known of an event besides its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Changed,
    Op,
    Now,
    Actor,
    EventId,
    EventType,
    EventObjectType,
    EventSource,
    EventSubject,
    EventTime,
    EventData,
    SubscriptionName,
    SubscriptionMode,
    SubscriptionLabels,
}

impl Fact {
    /// Its name in expressions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Op => "op",
            Self::Now => "now",
            Self::Actor => "actor",
            Self::EventId => "event.id",
            Self::EventType => "event.type",
            Self::EventObjectType => "event.object_type",
            Self::EventSource => "event.source",
            Self::EventSubject => "event.subject",
            Self::EventTime => "event.time",
            Self::EventData => "event.data",
            Self::SubscriptionName => "subscription.name",
            Self::SubscriptionMode => "subscription.mode",
            Self::SubscriptionLabels => "subscription.labels",
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The comparison that says the same with its sides exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            other => other,
        }
    }
}

/// The constants of a list, sorted.
#[derive(Clone, Debug)]
pub(super) enum Set {
    Texts(Vec<Arc<str>>),
    Numbers(Vec<Number>),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// Of whole numbers, without fraction.
    DivideWhole,
    Remainder,
}

impl Operation {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide | Self::DivideWhole => "/",
            Self::Remainder => "%",
        }
    }
}

/// A search of a text in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

impl Search {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
        }
    }
}

/// Which case ASCII letters get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    Upper,
}

/// A part of a time or duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    Month,
    DayOfMonth,
    Date,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A condition on every or some item of a list.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) every: bool,
    pub(super) list: Node,
    pub(super) body: Node,
}

impl Node {
    pub(super) fn text(value: &str) -> Self {
        Self::Constant(Constant::Text(value.into()))
    }

    /// The parts right below this one.
    pub(super) fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Constant(_)
            | Self::Column(_)
            | Self::RowIsNull(_)
            | Self::Fact(_)
            | Self::Variable(_) => Vec::new(),
            Self::Field(two)
            | Self::Has(two)
            | Self::In(two)
            | Self::Compare(_, two)
            | Self::Arithmetic(_, two)
            | Self::Search(_, two) => two.iter().collect(),
            Self::Choose(three) => three.iter().collect(),
            Self::And(parts) | Self::Or(parts) | Self::List(parts) => parts.iter().collect(),
            Self::IsNull(part)
            | Self::Not(part)
            | Self::InSet(part, _)
            | Self::Negate(part)
            | Self::Size(part)
            | Self::Matches(part, _)
            | Self::Case(_, part)
            | Self::ToTime(part)
            | Self::ToDuration(part)
            | Self::Part(_, part, _) => vec![part],
            Self::Loop(r#loop) => vec![&r#loop.list, &r#loop.body],
        }
    }

    /// Whether it or a part of it is `wanted`.
    pub(super) fn any(&self, wanted: &impl Fn(&Node) -> bool) -> bool {
        wanted(self) || self.parts().into_iter().any(|part| part.any(wanted))
    }
}
