//! Judging: walks the compiled form over the facts. Nothing here panics, loops without bound or
//! allocates more than the facts and the limits allow.

use std::borrow::Cow;

use super::{
    TEXT_BYTES_MAX, arithmetic,
    facts::Facts,
    failure::Failure,
    instant,
    part::part,
    path::{field, has},
    program::{Case, Column, Comparison, Constant, Fact, Loop, Node, Root, Search, Set},
    value::{Budget, Kind, Value, order, same},
};

/// One evaluation: what is looked at, and how many steps are left.
pub(super) struct Env<'a> {
    facts: &'a Facts<'a>,
    budget: Budget,
}

/// The variable of a loop that is being run, and those around it.
#[derive(Clone, Copy)]
pub(super) struct Locals<'p, 'a> {
    value: &'p Value<'a>,
    level: usize,
    outer: Option<&'p Locals<'p, 'a>>,
}

type Evaluated<'a> = Result<Value<'a>, Failure>;

impl<'a> Env<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        Self {
            facts,
            budget: Budget::new(),
        }
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, node: &'a Node) -> Result<bool, Failure> {
        self.truth(node, None, "the condition")
    }

    /// The value of a part outside of loops.
    pub(super) fn value_of(&self, node: &'a Node) -> Evaluated<'a> {
        self.value(node, None)
    }

    fn truth(
        &self,
        node: &'a Node,
        locals: Option<&Locals<'_, 'a>>,
        operator: &'static str,
    ) -> Result<bool, Failure> {
        match self.value(node, locals)? {
            Value::Bool(value) => Ok(value),
            Value::Null => Err(Failure::Null { operator }),
            _ => Err(Failure::Mismatch { operator }),
        }
    }

    fn value(&self, node: &'a Node, locals: Option<&Locals<'_, 'a>>) -> Evaluated<'a> {
        Ok(match node {
            Node::Constant(constant) => constant_value(constant),
            Node::Column(column) => self.column(column)?,
            Node::RowIsNull(root) => Value::Bool(self.row(*root).is_none()),
            Node::Fact(fact) => self.fact(*fact)?,
            Node::Variable(level) => variable(locals, *level)?,
            Node::Field(parts) => field(
                &self.value(&parts[0], locals)?,
                &self.value(&parts[1], locals)?,
            )?,
            Node::Has(parts) => {
                let (base, key) = (
                    self.value(&parts[0], locals)?,
                    self.value(&parts[1], locals)?,
                );
                Value::Bool(has(&base, &key)?)
            }
            Node::IsNull(part) => Value::Bool(self.value(part, locals)?.is_null()),
            Node::Not(part) => Value::Bool(!self.truth(part, locals, "!")?),
            Node::And(parts) => Value::Bool(self.all(parts, locals)?),
            Node::Or(parts) => Value::Bool(self.some(parts, locals)?),
            Node::Choose(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let taken = if self.truth(condition, locals, "?")? {
                    then
                } else {
                    otherwise
                };
                self.value(taken, locals)?
            }
            Node::Compare(comparison, sides) => {
                let (a, b) = (
                    self.value(&sides[0], locals)?,
                    self.value(&sides[1], locals)?,
                );
                Value::Bool(self.compare(*comparison, &a, &b)?)
            }
            Node::In(sides) => {
                let (item, list) = (
                    self.value(&sides[0], locals)?,
                    self.value(&sides[1], locals)?,
                );
                Value::Bool(self.is_in(&item, &list)?)
            }
            Node::InSet(item, set) => Value::Bool(is_in_set(&self.value(item, locals)?, set)?),
            Node::List(items) => {
                let items = items.iter().map(|item| self.value(item, locals));
                Value::Items(items.collect::<Result<_, _>>()?)
            }
            Node::Arithmetic(operation, sides) => {
                let (a, b) = (
                    self.value(&sides[0], locals)?,
                    self.value(&sides[1], locals)?,
                );
                arithmetic::calculate(*operation, a, b)?
            }
            Node::Negate(part) => arithmetic::negate(&self.value(part, locals)?)?,
            Node::Size(part) => arithmetic::size(&self.value(part, locals)?)?,
            Node::Search(search, sides) => {
                let (a, b) = (
                    self.value(&sides[0], locals)?,
                    self.value(&sides[1], locals)?,
                );
                let operator = search.name();
                Value::Bool(found(*search, text(&a, operator)?, text(&b, operator)?))
            }
            Node::Matches(part, regex) => {
                let value = self.value(part, locals)?;
                Value::Bool(regex.is_match(text(&value, "matches")?))
            }
            Node::Case(case, part) => {
                let value = self.value(part, locals)?;
                let text = match case {
                    Case::Lower => text(&value, "lowerAscii")?.to_ascii_lowercase(),
                    Case::Upper => text(&value, "upperAscii")?.to_ascii_uppercase(),
                };
                Value::Text(Cow::Owned(text))
            }
            Node::ToTime(part) => match self.value(part, locals)? {
                Value::Time(time) => Value::Time(time),
                other => Value::Time(instant::parse_time(text(&other, "timestamp")?).ok_or(
                    Failure::Unreadable {
                        expected: "a timestamp",
                    },
                )?),
            },
            Node::ToDuration(part) => match self.value(part, locals)? {
                Value::Duration(length) => Value::Duration(length),
                other => {
                    Value::Duration(instant::parse_duration(text(&other, "duration")?).ok_or(
                        Failure::Unreadable {
                            expected: "a duration",
                        },
                    )?)
                }
            },
            Node::Part(wanted, of, zone) => part(*wanted, &self.value(of, locals)?, *zone)?,
            Node::Loop(r#loop) => Value::Bool(self.run(r#loop, locals)?),
        })
    }

    fn row(&self, root: Root) -> Option<&'a super::Row<'a>> {
        match root {
            Root::Old => self.facts.before,
            Root::New => self.facts.after,
            Root::Row => self.facts.after.or(self.facts.before),
        }
    }

    /// A field of an absent row is null.
    fn column(&self, column: &'a Column) -> Evaluated<'a> {
        let Some(row) = self.row(column.root) else {
            return Ok(Value::Null);
        };
        let raw =
            row.get_near(column.slot, &column.name)
                .ok_or_else(|| Failure::MissingColumn {
                    column: column.name.clone(),
                })?;
        if !column.is_array {
            return Value::decode(raw, column.kind);
        }
        match raw.get() {
            "null" => Ok(Value::Null),
            list if list.starts_with('[') => Ok(Value::Array(list, column.kind)),
            _ => Err(Failure::Unreadable { expected: "a list" }),
        }
    }

    fn fact(&self, fact: Fact) -> Evaluated<'a> {
        let facts = self.facts;
        let maybe = |text: Option<&'a str>| text.map_or(Value::Null, borrowed);
        Ok(match fact {
            Fact::Changed => Value::Names(facts.changed),
            Fact::Op => borrowed(facts.op),
            Fact::Now => Value::Time(instant::of(facts.now)),
            Fact::Actor => maybe(facts.actor),
            Fact::EventId => borrowed(facts.event.id),
            Fact::EventType => borrowed(facts.event.event_type),
            Fact::EventObjectType => maybe(facts.event.object_type),
            Fact::EventSource => borrowed(facts.event.source),
            Fact::EventSubject => maybe(facts.event.subject),
            Fact::EventTime => Value::Time(instant::of(facts.event.time)),
            Fact::EventData => match facts.event.data {
                None => Value::Null,
                Some(data) => {
                    let raw = serde_json::from_str(data);
                    let raw = raw.map_err(|_| Failure::Unreadable { expected: "JSON" })?;
                    Value::decode(raw, Kind::Json)?
                }
            },
            Fact::SubscriptionName => maybe(facts.subscription.map(|s| s.name)),
            Fact::SubscriptionMode => maybe(facts.subscription.map(|s| s.mode)),
            Fact::SubscriptionLabels => facts.subscription.map_or(Value::Null, |subscription| {
                Value::Labels(subscription.labels)
            }),
        })
    }

    /// False if one part is, wherever it stands and whatever fails beside it.
    fn all(&self, parts: &'a [Node], locals: Option<&Locals<'_, 'a>>) -> Result<bool, Failure> {
        let mut failure = None;
        for part in parts {
            match self.truth(part, locals, "&&") {
                Ok(false) => return Ok(false),
                Ok(true) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(true), Err)
    }

    /// True if one part is, wherever it stands and whatever fails beside it.
    fn some(&self, parts: &'a [Node], locals: Option<&Locals<'_, 'a>>) -> Result<bool, Failure> {
        let mut failure = None;
        for part in parts {
            match self.truth(part, locals, "||") {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    fn run(&self, r#loop: &'a Loop, locals: Option<&Locals<'_, 'a>>) -> Result<bool, Failure> {
        let operator = if r#loop.every { "all" } else { "exists" };
        let list = self.value(&r#loop.list, locals)?;
        if list.is_null() {
            return Err(Failure::Null { operator });
        }
        let items = list.items()?.ok_or(Failure::Mismatch { operator })?;
        let mut failure = None;
        for value in &items {
            self.budget.step()?;
            let inner = Locals {
                value,
                level: locals.map_or(0, |outer| outer.level + 1),
                outer: locals,
            };
            match self.truth(&r#loop.body, Some(&inner), operator) {
                Ok(holds) if holds != r#loop.every => return Ok(holds),
                Ok(_) => {}
                // Not one item's fault: the rest would fail alike, and slowly.
                Err(Failure::TooManySteps) => return Err(Failure::TooManySteps),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(r#loop.every), Err)
    }

    fn compare(&self, how: Comparison, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Failure> {
        let operator = how.sign();
        match how {
            Comparison::Equal => return same(a, b, &self.budget),
            Comparison::NotEqual => return Ok(!same(a, b, &self.budget)?),
            _ => {}
        }
        if a.is_null() || b.is_null() {
            return Err(Failure::Null { operator });
        }
        let order = order(a, b).ok_or(Failure::Mismatch { operator })?;
        Ok(match how {
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            _ => order.is_ge(),
        })
    }

    fn is_in(&self, item: &Value<'a>, list: &Value<'a>) -> Result<bool, Failure> {
        let operator = "in";
        if item.is_null() || list.is_null() {
            return Err(Failure::Null { operator });
        }
        if matches!(list, Value::Object(_) | Value::Labels(_)) {
            return has(list, item);
        }
        for other in list.items()?.ok_or(Failure::Mismatch { operator })? {
            if same(item, &other, &self.budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn variable<'a>(locals: Option<&Locals<'_, 'a>>, level: usize) -> Evaluated<'a> {
    let mut locals = locals;
    while let Some(local) = locals {
        if local.level == level {
            return Ok(local.value.clone());
        }
        locals = local.outer;
    }
    // The checker names only variables of loops around.
    Err(Failure::Unreadable {
        expected: "a loop's variable",
    })
}

fn borrowed(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn constant_value(constant: &Constant) -> Value<'_> {
    match constant {
        Constant::Null => Value::Null,
        Constant::Bool(value) => Value::Bool(*value),
        Constant::Number(number) => Value::Number(number.clone()),
        Constant::Double(value) => Value::Double(*value),
        Constant::Text(text) => borrowed(text),
        Constant::Time(time) => Value::Time(*time),
        Constant::Duration(length) => Value::Duration(*length),
    }
}

fn is_in_set(item: &Value<'_>, set: &Set) -> Result<bool, Failure> {
    match (item, set) {
        (Value::Null, _) => Err(Failure::Null { operator: "in" }),
        (Value::Text(text), Set::Texts(texts)) => {
            let place = texts.binary_search_by(|other| other.as_ref().cmp(text.as_ref()));
            Ok(place.is_ok())
        }
        (Value::Number(number), Set::Numbers(numbers)) => Ok(numbers.binary_search(number).is_ok()),
        _ => Ok(false),
    }
}

pub(super) fn text<'v>(value: &'v Value<'_>, operator: &'static str) -> Result<&'v str, Failure> {
    match value {
        Value::Text(text) if text.len() > TEXT_BYTES_MAX => Err(Failure::OutOfRange {
            what: "the length of a text",
        }),
        Value::Text(text) => Ok(text),
        Value::Null => Err(Failure::Null { operator }),
        _ => Err(Failure::Mismatch { operator }),
    }
}

fn found(search: Search, text: &str, part: &str) -> bool {
    match search {
        Search::Contains => text.contains(part),
        Search::StartsWith => text.starts_with(part),
        Search::EndsWith => text.ends_with(part),
    }
}
