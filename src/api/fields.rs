//! From the members of a body to a specification, with the place of what does not fit.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::input::Fields;
use crate::{
    catalog::model::ON_TRUNCATE,
    nearest::did_you_mean,
    subscription::register::{SpecProblem, pointer_part},
};

/// Takes the name out of a body.
pub(super) fn name_take(fields: &mut Fields) -> Result<String, SpecProblem> {
    match fields
        .remove("name")
        .map(|name| serde_json::from_str(name.get()))
    {
        Some(Ok(name)) => Ok(name),
        Some(Err(_)) => Err(SpecProblem::new("/name", "a text is expected")),
        None => Err(SpecProblem::new("/name", "this field is missing")),
    }
}

/// Whether a member is a list without items.
pub(super) fn list_is_empty(fields: &Fields, name: &str) -> bool {
    let list = fields
        .get(name)
        .map(|list| serde_json::from_str::<Vec<Value>>(list.get()));
    matches!(list, Some(Ok(items)) if items.is_empty())
}

/// Reads the members as a specification.
pub(super) fn spec_of<T: DeserializeOwned>(fields: &Fields) -> Result<T, SpecProblem> {
    let text = serde_json::to_string(fields)
        .map_err(|_| SpecProblem::new("", "the fields can't be read"))?;
    let mut input = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let pointer: String = error.path().iter().map(pointer_segment).collect();
        // Line and column would be those of `text`, which nobody has seen.
        let text = error.inner().to_string();
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(text, _)| text);
        explained(pointer, message)
    })
}

fn pointer_segment(segment: &serde_path_to_error::Segment) -> String {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", pointer_part(key)),
        Segment::Enum { variant } => format!("/{}", pointer_part(variant)),
        Segment::Unknown => String::new(),
    }
}

/// Says serde's message in the API's words, with the field in the pointer and the nearest name.
fn explained(mut pointer: String, message: &str) -> SpecProblem {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [first, rest @ ..] = names.as_slice() else {
        return SpecProblem::new(pointer, message);
    };
    if message.starts_with("missing field") {
        pointer = format!("{pointer}/{}", pointer_part(first));
        return SpecProblem::new(pointer, "this field is missing");
    }
    let (what, expected) = match message.split_once(", expected ") {
        Some((_, expected)) if message.starts_with("unknown field") => {
            let field = format!("/{}", pointer_part(first));
            if !pointer.ends_with(&field) {
                pointer += &field;
            }
            ("there is no such field".to_owned(), expected)
        }
        Some(_) if *first == "truncate" && pointer.starts_with("/on") => {
            return SpecProblem::new(
                pointer,
                format!("`truncate` is not known here: {ON_TRUNCATE}"),
            );
        }
        Some((_, expected)) if message.starts_with("unknown variant") => {
            (format!("`{first}` is not known here"), expected)
        }
        _ => return SpecProblem::new(pointer, message),
    };
    let hint = did_you_mean(first, rest.iter().copied());
    SpecProblem::new(pointer, format!("{what}; expected is {expected}{hint}"))
}
