//! What can be judged of a specification without the database. Pure.

use std::fmt;

use super::{
    heartbeat::check_heartbeat, on_dead::check_on_dead, rate::check_rate, start::check_start,
    webhook_check::check_webhook,
};
use crate::{
    catalog::model::{Catalog, ObjectType, name_matches},
    digest::schedule::Schedule,
    nearest::{did_you_mean, nearest},
    sink::{AddressGuard, MailSettings, check_email},
    subscription::model::{Mode, SinkSpec, SubscriptionSpec},
};

/// The longest name of a subscription, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// The most entries of `event_types`, and of `object_types`.
pub const PATTERNS_MAX: usize = 100;
/// The most entries of `object_keys`.
pub const OBJECT_KEYS_MAX: usize = 100;
/// The longest key value, in bytes of JSON; an index entry of Postgres holds no more (2,704 bytes).
pub const KEY_VALUE_BYTES_MAX: usize = 2_704;
/// The most labels.
pub const LABELS_MAX: usize = 32;
/// The longest label name and the longest label value, in characters.
pub const LABEL_CHARS_MAX: usize = 100;
/// One thing that is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// JSON pointer (RFC 6901) into the specification, such as `/sink/url`; `/name` is the name.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line and column inside the text at `pointer`, counted from 1, if the problem has a place
    /// there.
    pub within: Option<(usize, usize)>,
}

impl SpecProblem {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
            within: None,
        }
    }

    /// Adds the place inside the text at the pointer: line and column, counted from 1.
    #[must_use]
    pub fn within(mut self, line: usize, column: usize) -> Self {
        self.within = Some((line, column));
        self
    }

    /// The message with the place inside the text, if there is one.
    #[must_use]
    pub fn text(&self) -> String {
        match self.within {
            Some((line, column)) => format!("line {line}, column {column}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.text())
    }
}

/// Everything that is wrong with `spec` as far as it shows without the database; empty if nothing.
/// `mail` is `None` if the operator named no mail server.
#[must_use]
pub fn check(
    name: &str,
    spec: &SubscriptionSpec,
    catalog: &Catalog,
    guard: &AddressGuard,
    mail: Option<&MailSettings>,
) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    check_name(name, &mut problems);
    check_patterns(spec, catalog, &mut problems);
    check_object_keys(spec, catalog, &mut problems);
    check_labels(spec, &mut problems);
    problems.extend(spec.retry.problems());
    check_first_wait(spec, &mut problems);
    problems.extend(check_rate(spec));
    check_digest(spec, &mut problems);
    check_start(spec, catalog, &mut problems);
    check_heartbeat(spec, &mut problems);
    check_on_dead(spec, &mut problems);
    match &spec.sink {
        SinkSpec::Webhook { .. } => check_webhook(&spec.sink, guard, &mut problems),
        SinkSpec::Email(email) => {
            let found = check_email(email, spec.mode.as_str(), mail).into_iter();
            problems.extend(found.map(|(pointer, message)| SpecProblem::new(pointer, message)));
        }
    }
    problems
}

/// The one object type that `object_keys` narrow, if there is exactly one.
pub(super) fn object_type_of_keys<'a>(
    spec: &SubscriptionSpec,
    catalog: &'a Catalog,
) -> Option<&'a ObjectType> {
    let [name] = spec.object_types.as_slice() else {
        return None;
    };
    catalog.object_types.get(name)
}

/// Escapes one part of a JSON pointer (RFC 6901, section 3).
#[must_use]
pub fn pointer_part(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

fn check_name(name: &str, problems: &mut Vec<SpecProblem>) {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !starts_well || !is_plain || name.len() > NAME_CHARS_MAX {
        problems.push(SpecProblem::new(
            "/name",
            format!(
                "a name has 1 to {NAME_CHARS_MAX} of the characters a-z, A-Z, 0-9, `.`, `_` and \
                 `-`, and starts with a letter or digit"
            ),
        ));
    }
}

fn check_patterns(spec: &SubscriptionSpec, catalog: &Catalog, problems: &mut Vec<SpecProblem>) {
    if spec.event_types.is_empty() && spec.object_types.is_empty() {
        problems.push(SpecProblem::new(
            "/event_types",
            "this would match nothing: name at least one event type in `event_types` or one \
             object type in `object_types`",
        ));
    }
    let event_types: Vec<String> = catalog.event_types().collect();
    let event_types: Vec<&str> = event_types.iter().map(String::as_str).collect();
    let object_types: Vec<&str> = catalog.object_types.keys().map(String::as_str).collect();
    for (kind, patterns, known) in [
        ("event", &spec.event_types, &event_types),
        ("object", &spec.object_types, &object_types),
    ] {
        if patterns.len() > PATTERNS_MAX {
            problems.push(SpecProblem::new(
                format!("/{kind}_types"),
                format!(
                    "{} entries; the limit is {PATTERNS_MAX}, and `*` stands for many",
                    patterns.len()
                ),
            ));
        } else {
            check_known("", kind, patterns, known, catalog, problems);
        }
    }
}

/// Refuses patterns that match none of the `known` types of the catalogue; `around` is the pointer
/// of what the list `event_types` or `object_types` is in.
pub(crate) fn check_known(
    around: &str,
    kind: &str,
    patterns: &[String],
    known: &[&str],
    catalog: &Catalog,
    problems: &mut Vec<SpecProblem>,
) {
    for (index, pattern) in patterns.iter().enumerate() {
        if known.iter().any(|name| name_matches(pattern, name)) {
            continue;
        }
        let defined_only = catalog.without_standard_event(pattern);
        if let (Some(object_type), "event") = (defined_only, kind) {
            let text = format!(
                "`{object_type}` has no standard events, for only what its written-down event types \
                 can match is captured (capture = \"defined\"); write an event type down and name \
                 that, or set capture = \"all\""
            );
            problems.push(SpecProblem::new(
                format!("{around}/event_types/{index}"),
                text,
            ));
            continue;
        }
        let what = if pattern.contains('*') {
            format!("no {kind} type of the catalogue matches `{pattern}`")
        } else {
            format!("the catalogue has no {kind} type `{pattern}`")
        };
        let hint = pattern_hint(pattern, known);
        problems.push(SpecProblem::new(
            format!("{around}/{kind}_types/{index}"),
            what + &hint,
        ));
    }
}

/// The name that was meant; of `sales.ordr.*` the pattern `sales.order.*`.
fn pattern_hint(pattern: &str, known: &[&str]) -> String {
    let Some(start) = pattern.strip_suffix(".*") else {
        return did_you_mean(pattern, known.iter().copied());
    };
    let starts = known
        .iter()
        .flat_map(|name| name.match_indices('.').map(|(at, _)| &name[..at]));
    match nearest(start, starts) {
        Some(near) => format!("; did you mean `{near}.*`?"),
        None => String::new(),
    }
}

fn check_object_keys(spec: &SubscriptionSpec, catalog: &Catalog, problems: &mut Vec<SpecProblem>) {
    let keys = &spec.object_keys;
    if keys.is_empty() {
        return;
    }
    if keys.len() > OBJECT_KEYS_MAX {
        problems.push(SpecProblem::new(
            "/object_keys",
            format!("{} keys; the limit is {OBJECT_KEYS_MAX}", keys.len()),
        ));
        return;
    }
    let names_one = spec.event_types.is_empty()
        && matches!(spec.object_types.as_slice(), [name] if !name.contains('*'));
    if !names_one {
        problems.push(SpecProblem::new(
            "/object_keys",
            "keys need to know their object type: name exactly one in `object_types`, without \
             `*`, and leave `event_types` out",
        ));
        return;
    }
    // An unknown object type has been reported already.
    let Some(object_type) = object_type_of_keys(spec, catalog) else {
        return;
    };
    for (index, key) in keys.iter().enumerate() {
        let at = format!("/object_keys/{index}");
        for (column, value) in key {
            let pointer = format!("{at}/{}", pointer_part(column));
            if !object_type.key.contains(column) {
                let hint = did_you_mean(column, object_type.key.iter().map(String::as_str));
                let text = format!("`{column}` is no key column of `{}`", spec.object_types[0]);
                problems.push(SpecProblem::new(pointer, text + &hint));
            } else if let Some(text) = value_problem(value.get()) {
                problems.push(SpecProblem::new(pointer, text));
            }
        }
        for column in object_type
            .key
            .iter()
            .filter(|column| !key.contains_key(*column))
        {
            problems.push(SpecProblem::new(
                &at,
                format!("the key column `{column}` is missing: a key names one object"),
            ));
        }
    }
}

fn value_problem(json: &str) -> Option<String> {
    match json.as_bytes().first() {
        Some(b'n') => Some("null is no key value: an object without a key is no object".into()),
        Some(b'{' | b'[') => Some("a key value is a string, a number or a boolean".into()),
        _ if json.len() > KEY_VALUE_BYTES_MAX => Some(format!(
            "{} bytes; the limit is {KEY_VALUE_BYTES_MAX}",
            json.len()
        )),
        _ => None,
    }
}

fn check_labels(spec: &SubscriptionSpec, problems: &mut Vec<SpecProblem>) {
    if spec.labels.len() > LABELS_MAX {
        problems.push(SpecProblem::new(
            "/labels",
            format!("{} labels; the limit is {LABELS_MAX}", spec.labels.len()),
        ));
    }
    for (name, value) in spec.labels.iter() {
        let is_too_long = |text: &str| text.chars().count() > LABEL_CHARS_MAX;
        let has_control = |text: &str| text.chars().any(char::is_control);
        let text = if name.is_empty() {
            "a label needs a name".to_owned()
        } else if is_too_long(name) || is_too_long(value) {
            format!("a label's name and value have at most {LABEL_CHARS_MAX} characters each")
        } else if has_control(name) || has_control(value) {
            "a label has no control characters".to_owned()
        } else {
            continue;
        };
        problems.push(SpecProblem::new(
            format!("/labels/{}", pointer_part(name)),
            text,
        ));
    }
}

/// A delayed delivery is due when its event's synchronous ones are tried, and at no other time.
fn check_first_wait(spec: &SubscriptionSpec, problems: &mut Vec<SpecProblem>) {
    if spec.mode == Mode::SynchronousDelayed && !spec.retry.first_wait().is_zero() {
        problems.push(SpecProblem::new(
            "/retry/schedule/0",
            "in the mode `synchronous_delayed` the first attempt is made when the synchronous \
             subscribers were tried; write \"0s\"",
        ));
    }
}

fn check_digest(spec: &SubscriptionSpec, problems: &mut Vec<SpecProblem>) {
    let only_batch = "only the mode `batch` has digests: leave it out, or set `mode` to `batch`";
    match (spec.mode, &spec.schedule) {
        (Mode::Batch, None) => problems.push(SpecProblem::new(
            "/schedule",
            "the mode `batch` needs to know when a digest leaves: give at least one of `cron`, \
             `max_items` and `max_wait`, such as { cron = \"0 8 * * mon-fri\", time_zone = \
             \"Europe/Berlin\" }",
        )),
        (Mode::Batch, Some(schedule)) => {
            let found = Schedule::compile(schedule).err().unwrap_or_default();
            problems.extend(found.into_iter().map(|(pointer, message)| {
                SpecProblem::new(format!("/schedule{pointer}"), message)
            }));
        }
        (_, Some(_)) => problems.push(SpecProblem::new("/schedule", only_batch)),
        (_, None) => {}
    }
    if spec.mode != Mode::Batch && spec.condense.is_some() {
        problems.push(SpecProblem::new("/condense", only_batch));
    }
    if spec.mode != Mode::Batch && spec.group_by.is_some() {
        problems.push(SpecProblem::new("/group_by", only_batch));
    }
}

/// What is wrong with a secret, and the way out that nobody can get wrong.
pub(super) fn secret_advice(error: &str) -> String {
    format!("{error}; leave `secret` out and one is generated")
}
