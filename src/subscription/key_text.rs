//! The object keys that a subscription names, spelled as events spell them.
//!
//! An event's key is what `row_to_json` made of the column's value. `42`, `"42"` and `42.0` may be
//! the same value of a column or not, and only Postgres knows how it will print it; so it is asked
//! to read the given value as the column's type and to print it.

mod store;

use serde_json::value::RawValue;

use store::{ColumnType, KeyCast};

use super::{
    check::{SpecProblem, object_type_of_keys, pointer_part},
    model::SubscriptionSpec,
    register::RegisterError,
};
use crate::{
    catalog::{
        model::{Catalog, ObjectType},
        object_key::key_text_push,
    },
    db::Connection,
};

/// The texts of `spec.object_keys`, in their order; empty if there are none.
pub(super) fn object_key_texts(
    connection: &mut Connection,
    catalog: &Catalog,
    spec: &SubscriptionSpec,
) -> Result<Vec<String>, RegisterError> {
    if spec.object_keys.is_empty() {
        return Ok(Vec::new());
    }
    let Some(object_type) = object_type_of_keys(spec, catalog) else {
        let text = "keys need exactly one known object type in `object_types`";
        return Err(RegisterError::Problems(vec![SpecProblem::new(
            "/object_keys",
            text,
        )]));
    };
    let types = column_types(connection, object_type)?;
    if let Some(checked) = types.iter().find(|known| known.has_domain_inside) {
        let text = format!(
            "the key's type {} is made of a domain, whose check would run with Rowcall's rights; \
             use a filter on the column",
            checked.named
        );
        return Err(RegisterError::Problems(vec![SpecProblem::new(
            "/object_keys",
            text,
        )]));
    }

    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (index, key) in spec.object_keys.iter().enumerate() {
        let mut text = String::new();
        for (position, (column, column_type)) in object_type.key.iter().zip(&types).enumerate() {
            let pointer = format!("/object_keys/{index}/{}", pointer_part(column));
            let value = key.get(column).map_or("null", |value| value.get());
            let spelled = spell(connection, value, column_type)?
                .and_then(|json| RawValue::from_string(json).ok());
            let is_spelled =
                spelled.is_some_and(|json| key_text_push(&mut text, position == 0, &json));
            if !is_spelled {
                problems.push(SpecProblem::new(
                    pointer,
                    format!(
                        "the value is no {}, which is the column's type",
                        column_type.named
                    ),
                ));
            }
        }
        texts.push(text);
    }
    if problems.is_empty() {
        Ok(texts)
    } else {
        Err(RegisterError::Problems(problems))
    }
}

/// The types of the key's columns, in the key's order.
fn column_types(
    connection: &mut Connection,
    object_type: &ObjectType,
) -> Result<Vec<ColumnType>, RegisterError> {
    let mut found = store::column_types(connection, &object_type.table, &object_type.key)?;
    let missing = object_type
        .key
        .iter()
        .find(|column| !found.contains_key(*column));
    if let Some(column) = missing {
        return Err(RegisterError::Problems(vec![SpecProblem::new(
            "/object_keys",
            format!(
                "the table {} has no column `{column}`: the catalogue and the table disagree; \
                 apply the metadata again",
                object_type.table
            ),
        )]));
    }
    Ok(object_type
        .key
        .iter()
        .filter_map(|column| found.remove(column))
        .collect())
}

/// The JSON that Postgres prints for `value` in a column of `column_type`; `None` if the column
/// can't hold it.
fn spell(
    connection: &mut Connection,
    value: &str,
    column_type: &ColumnType,
) -> Result<Option<String>, RegisterError> {
    // A JSON string is read as its characters, everything else as it is written.
    let text = match serde_json::from_str::<String>(value) {
        Ok(text) => text,
        Err(_) if value == "null" => return Ok(None),
        Err(_) => value.to_owned(),
    };
    match store::key_value_cast(connection, &text, column_type)? {
        KeyCast::Held(json) => Ok(Some(json)),
        KeyCast::Refused => Ok(None),
    }
}
