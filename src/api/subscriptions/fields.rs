//! From the members of a body to a specification, and what to say where they do not fit.

use serde_json::{Map, Value, value::RawValue};
use url::Url;

use super::{
    super::{
        fields::{name_take, spec_of},
        input::Fields,
        problem::Problem,
    },
    trust::trust_problem,
};
use crate::subscription::{model::SubscriptionSpec, register::SpecProblem};

/// The states that a caller may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateAsked {
    Active,
    Paused,
}

/// Reads the body of a registration: the specification and `name`.
pub(super) fn registration_read(mut fields: Fields) -> Result<(String, SubscriptionSpec), Problem> {
    let name = name_take(&mut fields);
    match (name, spec_read(&fields)) {
        (Ok(name), Ok(spec)) => Ok((name, spec)),
        (name, spec) => Err(Problem::of_body(
            name.err().into_iter().chain(spec.err()).collect(),
        )),
    }
}

/// Reads the body of a PATCH: the state asked for, and the changes of the specification.
pub(super) fn patch_read(mut fields: Fields) -> Result<(Option<StateAsked>, Fields), Problem> {
    let problem = |pointer, text| Err(Problem::of_body(vec![SpecProblem::new(pointer, text)]));
    if fields.contains_key("name") {
        return problem(
            "/name",
            "a name stays; register another subscription for another name",
        );
    }
    let asked = match fields.remove("state").as_ref().map(|state| state.get()) {
        None => None,
        Some("\"active\"") => Some(StateAsked::Active),
        Some("\"paused\"") => Some(StateAsked::Paused),
        Some(_) => return problem("/state", "`active` or `paused` is expected"),
    };
    Ok((asked, fields))
}

/// Applies `changes` to a stored definition (RFC 7396) and reads the result.
pub(super) fn merged_read(definition: &str, changes: Fields) -> Result<SubscriptionSpec, Problem> {
    let mut fields: Fields = serde_json::from_str(definition).map_err(|error| {
        tracing::error!(%error, "a stored definition can't be read");
        Problem::internal()
    })?;
    for (name, change) in changes {
        if change.get() == "null" {
            fields.remove(&name);
            continue;
        }
        let merged = fields.get(&name).and_then(|stored| merged(stored, &change));
        fields.insert(name, merged.unwrap_or(change));
    }
    spec_read(&fields).map_err(|problem| Problem::of_body(vec![problem]))
}

/// The merge of two objects; `None` if one of them is none: then the change stands for itself, as
/// it was written.
fn merged(stored: &RawValue, change: &RawValue) -> Option<Box<RawValue>> {
    let mut target: Map<String, Value> = serde_json::from_str(stored.get()).ok()?;
    let change: Map<String, Value> = serde_json::from_str(change.get()).ok()?;
    merge(&mut target, change);
    serde_json::value::to_raw_value(&target).ok()
}

fn merge(target: &mut Map<String, Value>, change: Map<String, Value>) {
    for (name, value) in change {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(inner) => {
                let slot = target
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            value => {
                target.insert(name, value);
            }
        }
    }
}

/// What to say to a caller who names an environment variable.
pub(super) fn environment_problem() -> SpecProblem {
    SpecProblem::new(
        "/sink/secret",
        "only the metadata folder may name an environment variable; give the secret itself, or \
         leave it out and one is generated",
    )
}

fn spec_read(fields: &Fields) -> Result<SubscriptionSpec, SpecProblem> {
    // A tagged sink is read in one piece, and its error would not say where it is.
    if let Some(problem) = fields.get("sink").and_then(|sink| sink_problem(sink)) {
        return Err(problem);
    }
    spec_of(fields)
}

fn sink_problem(sink: &RawValue) -> Option<SpecProblem> {
    let sink: Map<String, Value> = match serde_json::from_str(sink.get()) {
        Ok(sink) => sink,
        Err(_) => {
            let text =
                "an object is expected, such as {\"kind\": \"webhook\", \"url\": \"https://...\"}";
            return Some(SpecProblem::new("/sink", text));
        }
    };
    let is_secret = |value: &Value| {
        let is_variable = value.get("env").is_some_and(Value::is_string);
        value.is_string() || value.is_null() || is_variable
    };
    if !sink.get("secret").is_none_or(is_secret) {
        let text = "a text is expected: `whsec_` and base64; or leave it out and one is generated";
        return Some(SpecProblem::new("/sink/secret", text));
    }
    if let Some(problem) = trust_problem(&sink).or_else(|| mail_problem(&sink)) {
        return Some(problem);
    }
    match sink.get("url") {
        None => None,
        Some(Value::String(url)) => Url::parse(url).err().map(|error| {
            let text = format!("this is no URL such as https://example.com/hooks: {error}");
            SpecProblem::new("/sink/url", text)
        }),
        Some(_) => Some(SpecProblem::new(
            "/sink/url",
            "a text is expected: the receiver's URL",
        )),
    }
}

/// A setting of a mail that is no text, or no list of texts.
fn mail_problem(sink: &Map<String, Value>) -> Option<SpecProblem> {
    if sink.get("kind").and_then(Value::as_str) != Some("email") {
        return None;
    }
    let problem = |name: &str, text: &str| Some(SpecProblem::new(format!("/sink/{name}"), text));
    match sink.get("to") {
        None => return problem("to", "this field is missing: a list of addresses"),
        Some(Value::Array(to)) if to.iter().all(Value::is_string) => {}
        Some(_) => return problem("to", "a list of addresses is expected, each a text"),
    }
    ["from", "reply_to", "subject", "template", "text", "html"]
        .into_iter()
        .find(|name| {
            let value = sink.get(*name);
            value.is_some_and(|value| !value.is_string() && !value.is_null())
        })
        .and_then(|name| problem(name, "a text is expected"))
}
