//! One metadata file: its tables sorted into the kinds of entries.

mod event_type;

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{
    credentials,
    entry::{Entry, key_value},
    load::{Folder, Item},
    model::{Namespace, ObjectType},
    names::{NAME_HELP, name_fault, parent},
    place::SourceFile,
    problem::Problem,
    suggestion::suggestion,
};
use crate::{
    constraint::model::ConstraintSpec,
    subscription::{
        check::pointer_part,
        model::{SecretSpec, SubscriptionSpec},
    },
};

/// The kinds of entries of this version.
const KINDS: [&str; 5] = [
    "namespace",
    "object_type",
    "event_type",
    "constraint",
    "subscription",
];

/// The longest description of an entry, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// Reads the text of the file called `name` into `folder`: what is right of it, and its problems.
pub fn read(name: &str, text: &str, folder: &mut Folder) {
    let file = SourceFile::new(name, text);
    folder.start.get_or_insert_with(|| file.at(0..0));
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        folder.problems.push(
            Problem::new(
                file.at(span),
                format!("not valid TOML: {}", error.message()),
            )
            .help("https://toml.io shows how TOML is written"),
        );
    }
    for (kind, entries) in document.into_inner() {
        let Some(known) = KINDS.into_iter().find(|known| known == kind.get_ref()) else {
            folder.problems.push(
                Problem::new(
                    file.at(kind.span()),
                    format!("`{}` is not known", kind.get_ref()),
                )
                .help(suggestion(kind.get_ref(), &KINDS)),
            );
            continue;
        };
        let DeValue::Table(entries) = entries.into_inner() else {
            folder.problems.push(
                Problem::new(file.at(kind.span()), format!("`{known}` must be a table"))
                    .help(format!("write [{known}.NAME] and its settings below it")),
            );
            continue;
        };
        for (name, value) in entries {
            take(Entry::new(&file, known, &name, value), folder);
        }
    }
}

fn take(entry: Entry<'_>, folder: &mut Folder) {
    let seen = format!("{} {}", entry.kind, entry.name);
    if let Some(first) = folder.seen.get(&seen) {
        let message = format!("{} is written twice", entry.header());
        let help = format!("it is already at {first}; keep one of the two");
        folder.problems.push(entry.problem("", message).help(help));
        return;
    }
    folder.seen.insert(seen, entry.places.at(""));
    match entry.kind {
        "namespace" => namespace(entry, folder),
        "object_type" => object_type(entry, folder),
        "event_type" => event_type::read(entry, folder),
        "constraint" => constraint(entry, folder),
        _ => subscription(entry, folder),
    }
}

fn namespace(entry: Entry<'_>, folder: &mut Folder) {
    if let Some(fault) = name_fault(&entry.name) {
        folder
            .problems
            .push(entry.problem("", fault).help(NAME_HELP));
    }
    // A namespace that could not be read still exists: what is in it is not to blame.
    let spec: Namespace = entry.read(&mut folder.problems).unwrap_or_default();
    description(&entry, &spec.description, folder);
    folder.namespaces.push(Item::of(entry, spec));
}

fn object_type(mut entry: Entry<'_>, folder: &mut Folder) {
    if unquoted(&entry, folder) {
        folder.unread_types += 1;
        return;
    }
    if let Some(fault) = name_fault(&entry.name) {
        folder
            .problems
            .push(entry.problem("", fault).help(NAME_HELP));
    } else if parent(&entry.name).is_none() {
        let help = format!("write [object_type.\"sales.{}\"]", entry.name);
        folder.problems.push(
            entry
                .problem(
                    "",
                    format!("object type `{}` is in no namespace", entry.name),
                )
                .help(help),
        );
    }
    let span = entry.places.spans.get("").cloned().unwrap_or(0..0);
    if let Some(table) = entry.table_mut() {
        // A key that is missing is reported with the table's primary key, once that is known.
        table
            .entry(Spanned::new(span.clone(), DeString::Borrowed("key")))
            .or_insert_with(|| Spanned::new(span, DeValue::Array(DeArray::new())));
    }
    let spec: Option<ObjectType> = entry.read(&mut folder.problems);
    match spec {
        Some(spec) => {
            description(&entry, &spec.description, folder);
            folder.object_types.push(Item::of(entry, spec));
        }
        None => folder.unread_types += 1,
    }
}

fn constraint(entry: Entry<'_>, folder: &mut Folder) {
    let Some(spec) = entry.read::<ConstraintSpec>(&mut folder.problems) else {
        return;
    };
    description(&entry, &spec.description, folder);
    folder.constraints.push(Item::of(entry, spec));
}

/// `[object_type.sales.order]` is a table `order` in a table `sales`: say so, instead of naming all
/// that such an entry lacks.
fn unquoted(entry: &Entry<'_>, folder: &mut Folder) -> bool {
    let DeValue::Table(table) = entry.value.get_ref() else {
        return false;
    };
    // The one setting of these entries that is a table itself.
    let is_setting = |key: &str| key == "schema";
    let mut settings = table.iter();
    let all_tables =
        settings.all(|(key, value)| value.get_ref().is_table() && !is_setting(key.get_ref()));
    if table.is_empty() || !all_tables {
        return false;
    }
    for (key, value) in table {
        let kind = entry.kind;
        let mut name = format!("{}.{}", entry.name, key.get_ref());
        if let Some(inner) = sole_table(value.get_ref()) {
            name = format!("{name}.{inner}");
        }
        folder.problems.push(
            Problem::new(
                entry.places.file.at(key.span()),
                format!("[{kind}.{name}] is not a name with dots, but a table in a table"),
            )
            .help(format!("put the name in quotes: [{kind}.{name:?}]")),
        );
    }
    true
}

/// The rest of a name with dots: `order.released` of `[event_type.sales.order.released]`.
fn sole_table(value: &DeValue<'_>) -> Option<String> {
    let DeValue::Table(table) = value else {
        return None;
    };
    let mut entries = table.iter();
    let (key, inner) = entries.next()?;
    if entries.next().is_some() || !inner.get_ref().is_table() {
        return None;
    }
    let name = key.get_ref().to_string();
    Some(match sole_table(inner.get_ref()) {
        Some(rest) => format!("{name}.{rest}"),
        None => name,
    })
}

fn subscription(mut entry: Entry<'_>, folder: &mut Folder) {
    let keys = entry.take("object_keys");
    let keys = keys.and_then(|keys| object_keys(&entry, &keys, folder));
    let Some(mut spec) = entry.read::<SubscriptionSpec>(&mut folder.problems) else {
        return;
    };
    spec.object_keys = keys.unwrap_or_default();
    let kept_nowhere = &mut None;
    let secret = spec.sink.secret_mut().unwrap_or(kept_nowhere);
    if let Some(SecretSpec::Value(_)) = secret {
        folder.problems.push(
            entry
                .problem("/sink/secret", "a secret must not be written in a metadata file")
                .help(
                    "write secret = { env = \"NAME\" } to take it from the environment, or leave it \
                     out to have one generated",
                ),
        );
        *secret = None;
    }
    let is_table = matches!(secret, Some(SecretSpec::Environment { .. }));
    let stray = entry.places.spans.keys().find(|pointer| {
        pointer.starts_with("/sink/secret/") && pointer.as_str() != "/sink/secret/env"
    });
    if is_table && let Some(stray) = stray {
        let message = format!(
            "`{}` is not a setting of `secret`",
            &stray["/sink/secret/".len()..]
        );
        folder.problems.push(
            entry
                .problem(stray, message)
                .help("write secret = { env = \"NAME\" }"),
        );
    }
    credentials::refuse_literals(&entry, &mut spec, folder);
    folder.subscriptions.push(Item::of(entry, spec));
}

/// Reads `object_keys` apart: its values are kept as JSON, which TOML's reader can't make.
fn object_keys(
    entry: &Entry<'_>,
    keys: &Spanned<DeValue<'_>>,
    folder: &mut Folder,
) -> Option<Vec<BTreeMap<String, Box<RawValue>>>> {
    let help =
        "write object_keys = [{ id = 42 }], the key columns of each object with their values";
    let mut refuse = |pointer: &str, message: &str| {
        folder
            .problems
            .push(entry.problem(pointer, message).help(help));
    };
    let DeValue::Array(keys) = keys.get_ref() else {
        refuse("/object_keys", "`object_keys` must be a list of tables");
        return None;
    };
    let mut read = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let DeValue::Table(columns) = key.get_ref() else {
            refuse(
                &format!("/object_keys/{index}"),
                "an object key must be a table",
            );
            continue;
        };
        let mut values = BTreeMap::new();
        for (column, value) in columns {
            match key_value(value.get_ref()) {
                Some(value) => {
                    values.insert(column.get_ref().to_string(), value);
                }
                None => refuse(
                    &format!("/object_keys/{index}/{}", pointer_part(column.get_ref())),
                    "a key value must be a text, a number or a boolean",
                ),
            }
        }
        read.push(values);
    }
    Some(read)
}

fn description(entry: &Entry<'_>, text: &str, folder: &mut Folder) {
    if text.chars().count() > DESCRIPTION_CHARS_MAX {
        let message = format!("the description is longer than {DESCRIPTION_CHARS_MAX} characters");
        folder.problems.push(entry.problem("/description", message));
    }
}

#[cfg(test)]
mod tests;
