//! `[event_type."sales.order.released"]` of a metadata file.

use serde_json::Value;

use super::{description, unquoted};
use crate::catalog::{
    entry::Entry,
    load::{Folder, Item},
    model::EventType,
    problem::Problem,
};

/// Reads one entry into `folder`.
pub(super) fn read(entry: Entry<'_>, folder: &mut Folder) {
    if unquoted(&entry, folder) {
        folder.unread_types += 1;
        return;
    }
    let Some(mut spec) = entry.read::<EventType>(&mut folder.problems) else {
        folder.unread_types += 1;
        return;
    };
    description(&entry, &spec.description, folder);
    // An empty list and none at all are the same to serde, and not to whoever wrote it.
    if entry.places.is_written("/on") && !entry.places.is_written("/on/0") {
        let help = "name at least one of `create`, `update` and `delete`, or leave `on` out for \
                    all three";
        let problem = entry.problem("/on", "`on` names no operation").help(help);
        folder.problems.push(problem);
    }
    if schema_parse(&entry, &mut spec, folder) {
        folder.event_types.push(Item::of(entry, spec));
    } else {
        folder.unread_types += 1;
    }
}

/// A schema may be a table or a text of JSON; the catalogue keeps JSON. False: it could not be
/// read.
fn schema_parse(entry: &Entry<'_>, spec: &mut EventType, folder: &mut Folder) -> bool {
    let Some(Value::String(text)) = &spec.schema else {
        return true;
    };
    match serde_json::from_str(text) {
        Ok(schema) => {
            spec.schema = Some(schema);
            true
        }
        Err(error) => {
            let message = format!("`schema` is no JSON: {error}");
            let (line, column) = (error.line(), error.column());
            let inside = entry.places.inside("/schema", text, line, column);
            let place = inside.unwrap_or_else(|| entry.places.at("/schema"));
            let help = "write the JSON Schema as JSON in a text, or as a TOML table";
            folder
                .problems
                .push(Problem::new(place, message).help(help));
            false
        }
    }
}
