//! The expression language: conditions of event types, filters and constraints.
//!
//! A text is bounded, parsed by the `cel` crate (`parse`), checked against the real columns
//! (`check`) and kept in a compiled form of our own (`program`), in which every literal has its
//! column's type. Judging (`evaluate`) walks that form over the [`Facts`] of one event; a row stays
//! the JSON text that the trigger wrote, and a column is decoded when it is looked at.
//!
//! What is guaranteed: neither [`Expression::compile`] nor [`Expression::evaluate`] panics,
//! whatever the text and the rows; both end, within the limits below; and no message holds a row's
//! value. docs/EXPRESSIONS.md is the language as its authors know it.
//!
//! # The meaning, where CEL leaves a choice
//!
//! - A field of an absent row (`old` of a create, `new` of a delete), a key that JSON does not
//!   have, and everything of a `subscription` that is not given, is null.
//! - `==` and `!=` take null as a value and never fail; values of different kinds are not the same.
//!   Every other operator fails on null. `true || fails` is true and `false && fails` is false.
//! - Integers, `numeric` and the numbers of JSON are exact; a sum of integers that leaves their
//!   range is not an error. Whole numbers are divided without fraction, others to
//!   [`QUOTIENT_DIGITS`] digits behind the point. `real` and `double precision` are IEEE doubles,
//!   ordered as in Postgres.
//! - `timestamp` and `date` are read as UTC. A day is 24 hours; an `interval` with months fails.
//! - Text is compared and ordered by code points.

mod arithmetic;
mod bound;
mod check;
mod conjunct;
mod cost;
mod equality;
mod evaluate;
mod exact;
mod facts;
mod failure;
mod fold;
mod instant;
mod json;
mod kinds;
mod lower;
mod number;
mod parse;
mod part;
mod path;
mod probe;
mod problem;
mod program;
mod scope;
mod value;
mod worth;

use std::{fmt, sync::Arc};

use chrono::DateTime;

pub use self::{
    bound::{Bound, Side},
    equality::{EQUALITY_VALUES_MAX, Equality, Literal, Looked, Seen},
    facts::{EventFacts, Facts, Row, SubscriptionFacts},
    failure::{Failure, Verdict},
    lower::{LOWERED_BYTES_MAX, Lowered, SqlColumn, SqlType, identifier, literal},
    probe::probe,
    problem::Problem,
    program::Root,
    scope::{Hidden, Scope, ScopeColumn},
};
use self::{
    evaluate::Env,
    program::{Fact, Node},
};

/// Bytes of an expression.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024;
/// Levels of brackets and operators in an expression.
pub const SOURCE_DEPTH_MAX: usize = 32;
/// The cost of an expression; see [`Expression::cost`].
pub const COST_MAX: u64 = 250_000;
/// Bytes of a compiled pattern of `matches`.
pub const REGEX_BYTES_MAX: usize = 256 * 1024;
/// Items of a list, or keys of an object, that an evaluation looks through.
pub const LIST_ITEMS_MAX: usize = 10_000;
/// Items that the loops and comparisons of lists of one evaluation look at together.
pub const LOOP_STEPS_MAX: u32 = 20_000;
/// Levels of JSON that a comparison of two documents goes down.
pub const JSON_DEPTH_MAX: usize = 64;
/// Digits on either side of the point of a number that is calculated with.
pub const NUMBER_DIGITS_MAX: usize = 1_000;
/// Digits behind the point of a quotient that is not whole.
pub const QUOTIENT_DIGITS: u16 = 20;
/// Bytes of a text that is searched, matched or put together.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a value that [`Expression::values`] gives.
pub const VALUE_SHOWN_CHARS_MAX: usize = 200;

/// A checked, compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    source: Arc<str>,
    root: Node,
    uses_now: bool,
    names_subscription: bool,
    cost: u64,
    constant: Option<bool>,
}

impl Expression {
    /// Compiles a condition for what `scope` has.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in the order of its text: syntax, limits, names that the scope
    /// does not have, types that don't fit together, a result that is not true or false.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, Vec<Problem>> {
        let parsed = parse::parse(source)?;
        let root = check::check(&parsed.tree, &parsed.places, scope)?;
        let cost = affordable(source, &root)?;
        Ok(Self(Arc::new(Compiled {
            source: source.into(),
            uses_now: root.any(&|node| matches!(node, Node::Fact(Fact::Now))),
            names_subscription: root.any(&is_of_subscription),
            constant: fold::constant(&root),
            cost,
            root,
        })))
    }

    /// The text that was compiled.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The same, shared.
    #[must_use]
    pub fn source_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.source)
    }

    /// Judges the facts.
    #[must_use]
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        match Env::new(facts).holds(&self.0.root) {
            Ok(true) => Verdict::True,
            Ok(false) => Verdict::False,
            Err(failure) => Verdict::Failed(failure),
        }
    }

    /// The names that the expression looks at, with their values as JSON text of at most
    /// [`VALUE_SHOWN_CHARS_MAX`] characters (a longer one ends in `…`), for records and
    /// explanations: `("row.amount", "250.00")`. Hidden columns can't be among them. What can't be
    /// read is left out.
    #[must_use]
    pub fn values(&self, facts: &Facts<'_>) -> Vec<(String, String)> {
        let env = Env::new(facts);
        // Few ask, and of few expressions: it would be a waste to keep them with each.
        let mut looked_at = Vec::new();
        collect_names(&self.0.root, &mut looked_at);
        let shown = looked_at.into_iter().filter_map(|(name, node)| {
            let value = env.value_of(node).ok()?;
            Some((name, shortened(value.to_json())))
        });
        shown.collect()
    }

    /// Whether it names `now`: its verdict changes with time.
    #[must_use]
    pub fn uses_now(&self) -> bool {
        self.0.uses_now
    }

    /// What judging can cost at most, in steps of about one comparison, if no list has more than a
    /// hundred items. At most [`COST_MAX`].
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.0.cost
    }

    /// `Some(false)` if no row can make it true, `Some(true)` if every row does that has the
    /// columns it was checked against; `None` if that is not plain to see.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        self.0.constant
    }

    /// Whether it names `subscription`: its verdict on an event differs among subscribers.
    #[must_use]
    pub fn names_subscription(&self) -> bool {
        self.0.names_subscription
    }

    /// Whether it is a clone of `other`: then both say the same of the same facts.
    #[must_use]
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.source).finish()
    }
}

impl PartialEq for Expression {
    /// Of the same text.
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

/// What the expression costs, or that it is too much.
fn affordable(source: &str, root: &Node) -> Result<u64, Vec<Problem>> {
    let cost = cost::cost(root);
    if cost > COST_MAX {
        return Err(vec![Problem::at(
            source,
            0,
            format!("the expression may cost {cost} steps; the limit is {COST_MAX}"),
            "nest fewer loops, and use `in` instead of a loop where it does",
        )]);
    }
    Ok(cost)
}

fn is_of_subscription(node: &Node) -> bool {
    use Fact::{SubscriptionLabels, SubscriptionMode, SubscriptionName};
    matches!(
        node,
        Node::Fact(SubscriptionName | SubscriptionMode | SubscriptionLabels)
    )
}

/// The columns, facts and paths with constant keys below a part, each name once.
fn collect_names<'n>(node: &'n Node, found: &mut Vec<(String, &'n Node)>) {
    match name_of(node) {
        // A document is shown where it is named as a whole; of a path, only its end.
        Some(name) => {
            if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, node));
            }
        }
        None => {
            for part in node.parts() {
                collect_names(part, found);
            }
        }
    }
}

fn name_of(node: &Node) -> Option<String> {
    use program::Constant;
    match node {
        Node::Column(column) => Some(format!("{}.{}", column.root.name(), column.name)),
        Node::Fact(fact) => Some(fact.name().to_owned()),
        Node::Field(path) => {
            let base = name_of(&path[0])?;
            match &path[1] {
                Node::Constant(Constant::Text(key)) => Some(format!("{base}.{key}")),
                Node::Constant(Constant::Number(at)) => Some(format!("{base}[{at}]")),
                _ => None,
            }
        }
        _ => None,
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(VALUE_SHOWN_CHARS_MAX) {
        None => text,
        Some(_) => {
            let kept = text.chars().take(VALUE_SHOWN_CHARS_MAX - 1);
            kept.chain(['…']).collect()
        }
    }
}

/// Runs something over facts that say nothing.
fn with_no_facts<T>(run: impl FnOnce(&Facts<'_>) -> T) -> T {
    run(&Facts {
        before: None,
        after: None,
        changed: &[],
        op: "",
        event: EventFacts {
            id: "",
            event_type: "",
            object_type: None,
            source: "",
            subject: None,
            time: DateTime::UNIX_EPOCH,
            data: None,
        },
        subscription: None,
        now: DateTime::UNIX_EPOCH,
        actor: None,
    })
}
