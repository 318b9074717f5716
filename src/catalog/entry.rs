//! One entry of a metadata file (`[object_type."sales.order"]`) read into its Rust type.
//!
//! Serde stops at the first thing it refuses. So that all faults of an entry are reported together,
//! what was refused is noted, dropped, and the rest is read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    model::ON_TRUNCATE,
    place::{Places, SourceFile},
    problem::Problem,
    suggestion::suggestion,
};
use crate::{nearest::nearest, subscription::check::pointer_part};

/// Faults of one entry that are looked for; an entry with more is another thing altogether.
const FAULTS_MAX: usize = 20;

/// A table of a metadata file: `[kind.name]`.
pub(super) struct Entry<'i> {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) value: Spanned<DeValue<'i>>,
    pub(super) places: Places,
}

impl<'i> Entry<'i> {
    /// Takes the entry's name and contents, and notes where each part was written.
    pub(super) fn new(
        file: &SourceFile,
        kind: &'static str,
        name: &Spanned<std::borrow::Cow<'i, str>>,
        value: Spanned<DeValue<'i>>,
    ) -> Self {
        let mut spans = BTreeMap::from([(String::new(), name.span())]);
        note_spans(&value, "", &mut spans);
        Self {
            kind,
            name: name.get_ref().to_string(),
            value,
            places: Places {
                file: file.clone(),
                spans,
            },
        }
    }

    /// The entry's table; `None` if it is something else.
    pub(super) fn table_mut(&mut self) -> Option<&mut DeTable<'i>> {
        match self.value.get_mut() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Takes one setting out of the entry.
    pub(super) fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'i>>> {
        let table = self.table_mut()?;
        let key = table.keys().find(|known| known.get_ref() == key)?.clone();
        table.remove(&key)
    }

    /// A problem at `pointer` of this entry.
    pub(super) fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.places.at(pointer), message)
    }

    /// The entry's header as it is written.
    pub(super) fn header(&self) -> String {
        header(self.kind, &self.name)
    }

    /// Reads the entry, or what is right of it; `None` if that is not enough.
    pub(super) fn read<T: DeserializeOwned>(&self, problems: &mut Vec<Problem>) -> Option<T> {
        if !matches!(self.value.get_ref(), DeValue::Table(_)) {
            problems.push(
                self.problem("", format!("`{}` must be a table", self.name))
                    .help(format!("write {} and its settings below it", self.header())),
            );
            return None;
        }
        let mut value = self.value.clone();
        let mut dropped = BTreeSet::new();
        for _ in 0..FAULTS_MAX {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let fault = Fault::find(&value, &error);
            if let Some(missing) = error.message().strip_prefix("missing field ") {
                // What was refused before is not missing.
                if !dropped.contains(missing.trim_matches('`')) {
                    problems.push(self.missing(&fault, missing));
                }
            } else {
                problems.push(self.refused(&fault, error.message()));
            }
            if fault.pointer.is_empty() || !remove(&mut value, &fault.span) {
                return None;
            }
            dropped.insert(fault.setting().to_owned());
            // A setting that was misspelt is not missing either.
            if let Some(names) = error.message().strip_prefix("unknown field ") {
                let (unknown, expected) = quoted(names);
                dropped.extend(nearest(unknown, expected).map(str::to_owned));
            }
        }
        None
    }

    fn missing(&self, fault: &Fault, field: &str) -> Problem {
        let at = match fault.pointer.as_str() {
            "" => self.header(),
            pointer => format!("`{}` of {}", dotted(pointer), self.header()),
        };
        let example = match (self.kind, field.trim_matches('`')) {
            ("object_type", "table") => "add the table with its schema: table = \"public.orders\"",
            ("constraint", "applies_to") => {
                "add applies_to = { event_types = [\"sales.order.*\"] }, or object_types, \
                 subscriptions or labels"
            }
            ("constraint", "otherwise") => "add otherwise = \"suppress\" or otherwise = \"hold\"",
            ("constraint", "from") => "add from = \"08:00\"",
            ("constraint", "to") => "add to = \"18:00\"",
            ("subscription", "mode") => "add mode = \"synchronous\"",
            ("subscription", "sink") => {
                "add sink = { kind = \"webhook\", url = \"https://erp.example.com/hooks\" }"
            }
            (_, "kind") => "add kind = \"webhook\"",
            (_, "to") => "add to = [\"sales@example.com\"]",
            (_, "url") => "add url = \"https://erp.example.com/hooks\"",
            (_, "schedule") => "add schedule = [\"0s\", \"5s\", \"5m\"]",
            _ => "",
        };
        Problem::new(
            self.places.at(&fault.pointer),
            format!("{field} is missing in {at}"),
        )
        .help(example)
    }

    fn refused(&self, fault: &Fault, message: &str) -> Problem {
        let place = self.places.file.at(fault.span.clone());
        let setting = fault.setting();
        if let Some(names) = message.strip_prefix("unknown field ") {
            let (unknown, expected) = quoted(names);
            let near = nearest(unknown, expected.iter().copied());
            let help = if fault.is_table && near.is_none() {
                // [object_type.sales.order] is a table in a table.
                format!(
                    "a name with dots needs quotes: [{}.\"{}.{unknown}\"]",
                    self.kind, self.name
                )
            } else {
                suggestion(unknown, &expected)
            };
            return Problem::new(
                place,
                format!("`{unknown}` is not a setting of {}", self.within(fault)),
            )
            .help(help);
        }
        if let Some(names) = message.strip_prefix("unknown variant ") {
            let (unknown, expected) = quoted(names);
            let help = match (setting, unknown) {
                ("on", "truncate") => ON_TRUNCATE.to_owned(),
                _ => suggestion(unknown, &expected),
            };
            return Problem::new(place, format!("`{unknown}` is not a value of `{setting}`"))
                .help(help);
        }
        if setting == "secret" {
            return Problem::new(place, "a secret is taken from the environment")
                .help("write secret = { env = \"NAME\" }, or leave it out to have one generated");
        }
        if setting == "url" {
            return Problem::new(place, format!("`url` is not a URL: {message}"))
                .help("write the whole of it, such as https://erp.example.com/hooks");
        }
        let message = message.replace("expected a sequence", "expected a list such as [\"id\"]");
        // A message of our own (a table's name, a duration) says by itself what was expected.
        if message.starts_with('`') {
            return Problem::new(place, message);
        }
        Problem::new(place, format!("`{}`: {message}", dotted(&fault.pointer)))
    }

    fn within(&self, fault: &Fault) -> String {
        match fault.pointer.rsplit_once('/') {
            Some(("", _)) | None => self.header(),
            Some((around, _)) => format!("`{}` of {}", dotted(around), self.header()),
        }
    }
}

/// `[object_type."sales.order"]`.
pub(super) fn header(kind: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        format!("[{kind}.{name}]")
    } else {
        format!("[{kind}.{name:?}]")
    }
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The names in backquotes: the one that was found, and those that were expected.
fn quoted(message: &str) -> (&str, Vec<&str>) {
    let mut names = message.split('`').skip(1).step_by(2);
    (names.next().unwrap_or_default(), names.collect())
}

/// What serde refused: which part, and where to point.
struct Fault {
    pointer: String,
    span: Range<usize>,
    is_table: bool,
}

impl Fault {
    /// The part that `error` is about. Serde knows the place of most errors; of one inside a tagged
    /// table (a sink) it knows the table only, and the message names the part.
    fn find(root: &Spanned<DeValue<'_>>, error: &toml::de::Error) -> Self {
        let mut parts = vec![Part {
            pointer: String::new(),
            key: None,
            value: root,
        }];
        list_parts(root, "", &mut parts);
        let span = error.span().unwrap_or_else(|| root.span());
        let at = |part: &&Part<'_>| part.key.as_ref() == Some(&span) || part.value.span() == span;
        let whole = parts.iter().find(at).unwrap_or(&parts[0]);
        let message = error.message();
        let named = message
            .split(['`', '"'])
            .nth(1)
            .filter(|_| !message.starts_with("missing field"));
        let inner = parts.iter().find(|part| {
            part.pointer.len() > whole.pointer.len()
                && part.pointer.starts_with(&whole.pointer)
                && (part.value.get_ref().as_str() == named && named.is_some()
                    || named.is_some_and(|name| last(&part.pointer) == name)
                    || message.contains("SecretSpec") && last(&part.pointer) == "secret")
        });
        let part = inner.unwrap_or(whole);
        let points_at_key = message.starts_with("unknown field") && !part.pointer.is_empty();
        Self {
            pointer: part.pointer.clone(),
            span: part
                .key
                .clone()
                .filter(|_| points_at_key)
                .unwrap_or_else(|| part.value.span()),
            is_table: part.value.get_ref().is_table(),
        }
    }

    /// The setting's name; of an item of a list, the list's.
    fn setting(&self) -> &str {
        let mut parts = self.pointer.rsplit('/');
        let is_name = |part: &&str| !part.bytes().all(|byte| byte.is_ascii_digit());
        parts.find(is_name).unwrap_or_default()
    }
}

fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or_default()
}

struct Part<'a> {
    pointer: String,
    key: Option<Range<usize>>,
    value: &'a Spanned<DeValue<'a>>,
}

fn list_parts<'a>(value: &'a Spanned<DeValue<'a>>, at: &str, parts: &mut Vec<Part<'a>>) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                let pointer = format!("{at}/{}", pointer_part(key.get_ref()));
                parts.push(Part {
                    pointer: pointer.clone(),
                    key: Some(key.span()),
                    value,
                });
                list_parts(value, &pointer, parts);
            }
        }
        DeValue::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let pointer = format!("{at}/{index}");
                parts.push(Part {
                    pointer: pointer.clone(),
                    key: None,
                    value,
                });
                list_parts(value, &pointer, parts);
            }
        }
        _ => {}
    }
}

fn note_spans(value: &Spanned<DeValue<'_>>, at: &str, spans: &mut BTreeMap<String, Range<usize>>) {
    let mut parts = Vec::new();
    list_parts(value, at, &mut parts);
    for part in parts {
        spans.insert(part.pointer, part.value.span());
    }
}

/// Removes the part whose key or value was written at `span`.
fn remove(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table
                .iter()
                .find(|(key, value)| key.span() == *span || value.span() == *span)
                .map(|(key, _)| key.clone());
            if let Some(key) = found {
                return table.remove(&key).is_some();
            }
            table.iter_mut().any(|(_, value)| remove(value, span))
        }
        DeValue::Array(items) => {
            if let Some(index) = items.iter().position(|item| item.span() == *span) {
                let rest = items.iter().enumerate().filter(|(at, _)| *at != index);
                *items = rest.map(|(_, item)| item.clone()).collect();
                return true;
            }
            items.iter_mut().any(|item| remove(item, span))
        }
        _ => false,
    }
}

/// A value of an object key as JSON; `None` for what no key column holds.
pub(super) fn key_value(value: &DeValue<'_>) -> Option<Box<RawValue>> {
    let json = match value {
        DeValue::String(text) => serde_json::to_string(text).ok()?,
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .ok()?
            .to_string(),
        DeValue::Float(number) if number.as_str().parse::<f64>().ok()?.is_finite() => {
            number.as_str().trim_start_matches('+').to_owned()
        }
        _ => return None,
    };
    RawValue::from_string(json).ok()
}
