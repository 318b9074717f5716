//! The JSON Schema of `data` of an object type's events, made of the columns as they are now. Pure.
//!
//! It is written for receivers that make types of it: what it says of a column is what Postgres
//! makes of its type in JSON. Columns come and go, so none but the key's is required, and others
//! may be there.

use serde_json::{Map, Value, json};

use super::{
    model::{ObjectType, Operation},
    shape::Column,
};

/// The dialect of the schemas that are made here.
pub(super) const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of the event type `name`, which is found in these operations on `object_type`.
#[must_use]
pub fn data_schema(
    name: &str,
    object_type: &str,
    spec: &ObjectType,
    columns: &[Column],
    operations: &[Operation],
) -> Value {
    let row = |is_there: fn(&Operation) -> bool| {
        let rows = operations
            .iter()
            .filter(|operation| is_there(operation))
            .count();
        match rows {
            0 => json!({"type": "null"}),
            all if all == operations.len() => json!({"$ref": "#/$defs/row"}),
            _ => json!({"anyOf": [{"$ref": "#/$defs/row"}, {"type": "null"}]}),
        }
    };
    let operation_names: Vec<&str> = operations
        .iter()
        .map(|operation| operation.as_str())
        .collect();
    json!({
        "$schema": DIALECT,
        "title": name,
        "type": "object",
        "required": ["object_type", "key", "op", "before", "after", "changed", "actor", "xid"],
        "properties": {
            "object_type": {"const": object_type},
            "key": {"$ref": "#/$defs/key"},
            "previous_key": {"$ref": "#/$defs/key"},
            "op": {"enum": operation_names},
            "before": row(|operation| *operation != Operation::Create),
            "after": row(|operation| *operation != Operation::Delete),
            "changed": {"type": "array", "items": {"type": "string"}},
            "actor": {"type": ["string", "null"]},
            "xid": {"type": "string"},
        },
        "$defs": {
            "key": key_schema(spec, columns),
            "row": {"type": "object", "properties": row_schema(spec, columns)},
        },
    })
}

/// The schema of gaps, of any object type.
#[must_use]
pub fn gap_schema() -> Value {
    json!({
        "$schema": DIALECT,
        "title": super::model::GAP_EVENT_TYPE,
        "type": "object",
        "required": ["object_type", "key", "op", "table", "captured_op", "reason", "size"],
        "properties": {
            "object_type": {"type": "string"},
            "key": {"type": ["object", "null"]},
            "op": {"const": "gap"},
            "table": {"type": "string"},
            "captured_op": {"type": ["string", "null"]},
            "reason": {"type": ["string", "null"]},
            "size": {"type": ["integer", "null"]},
            "from": {"type": ["string", "null"], "format": "date-time"},
            "to": {"type": "string", "format": "date-time"},
            "actor": {"type": ["string", "null"]},
            "xid": {"type": "string"},
        },
    })
}

/// The schema of the event type `name`: a TRUNCATE of the table of `object_type`.
#[must_use]
pub fn truncate_schema(name: &str, object_type: &str) -> Value {
    json!({
        "$schema": DIALECT,
        "title": name,
        "type": "object",
        "required": ["object_type", "key", "op", "before", "after", "changed", "actor", "xid"],
        "properties": {
            "object_type": {"const": object_type},
            "key": {"type": "null"},
            "op": {"const": "truncate"},
            "before": {"type": "null"},
            "after": {"type": "null"},
            "changed": {"type": "array", "maxItems": 0},
            "actor": {"type": ["string", "null"]},
            "xid": {"type": "string"},
        },
    })
}

fn key_schema(spec: &ObjectType, columns: &[Column]) -> Value {
    let found = |name: &String| columns.iter().find(|column| column.name == *name);
    let columns = spec.key.iter();
    let properties: Map<String, Value> = columns
        .map(|name| (name.clone(), found(name).map_or(json!({}), value_schema)))
        .collect();
    json!({"type": "object", "required": spec.key, "properties": properties})
}

fn row_schema(spec: &ObjectType, columns: &[Column]) -> Map<String, Value> {
    let carried = columns
        .iter()
        .filter(|column| !spec.exclude.contains(&column.name));
    let schema = |column: &Column| {
        if spec.mask.contains(&column.name) {
            return json!({"const": "***"});
        }
        let value = value_schema(column);
        if column.not_null || value == json!({}) {
            value
        } else {
            json!({"anyOf": [value, {"type": "null"}]})
        }
    };
    carried
        .map(|column| (column.name.clone(), schema(column)))
        .collect()
}

/// What Postgres makes of a value of the column's type; `{}` where that can't be told.
fn value_schema(column: &Column) -> Value {
    if column.value_type.ends_with("[]") {
        return json!({"type": "array"});
    }
    match (plain(&column.value_type).as_str(), column.type_kind) {
        ("smallint" | "integer" | "bigint" | "oid", _) => json!({"type": "integer"}),
        ("numeric" | "real" | "double precision", _) => {
            json!({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
        }
        ("boolean", _) => json!({"type": "boolean"}),
        ("json" | "jsonb", _) => json!({}),
        ("uuid", _) => json!({"type": "string", "format": "uuid"}),
        (name, _) if TEXTS.contains(&name) => json!({"type": "string"}),
        // Of an enum, a range or a multirange.
        (_, 'e' | 'r' | 'm') => json!({"type": "string"}),
        _ => json!({}),
    }
}

/// Types that are texts in JSON.
const TEXTS: [&str; 20] = [
    "text",
    "character varying",
    "character",
    "name",
    "\"char\"",
    "bytea",
    "date",
    "time without time zone",
    "time with time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "bit",
    "bit varying",
    "money",
    "xml",
    "tsvector",
];

/// `timestamp(3) with time zone` without what is in brackets.
fn plain(type_name: &str) -> String {
    match (type_name.find('('), type_name.find(')')) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", &type_name[..from], &type_name[to + 1..])
        }
        _ => type_name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, value_type: &str, not_null: bool) -> Column {
        Column {
            name: name.to_owned(),
            type_name: value_type.to_owned(),
            type_oid: 0,
            value_type: value_type.to_owned(),
            type_kind: 'b',
            not_null,
        }
    }

    fn schema(operations: &[Operation]) -> Value {
        let spec = serde_json::from_value(json!({
            "table": "public.orders", "key": ["id"], "exclude": ["note"], "mask": ["card"],
        }))
        .unwrap();
        let columns = [
            column("id", "bigint", true),
            column("status", "character varying(20)", false),
            column("amount", "numeric(10,2)", false),
            column("at", "timestamp(3) with time zone", true),
            column("tags", "text[]", false),
            column("extra", "jsonb", false),
            column("strange", "public.box_of", false),
            column("note", "text", false),
            column("card", "text", false),
        ];
        data_schema("s.o.released", "s.o", &spec, &columns, operations)
    }

    #[test]
    fn events_fit_their_schema_and_what_is_wrong_does_not() {
        let made = schema(&[Operation::Update]);
        let validator = jsonschema::validator_for(&made).unwrap();
        let row = json!({
            "id": 1, "status": null, "amount": 1.50, "at": "2026-01-31T08:00:00+00:00",
            "tags": ["a"], "extra": {"x": 1}, "strange": "?", "card": "***", "later": 1,
        });
        let event = json!({
            "object_type": "s.o", "key": {"id": 1}, "op": "update", "before": row, "after": row,
            "changed": ["status"], "actor": null, "xid": "7",
        });
        let errors: Vec<_> = validator
            .iter_errors(&event)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        for (pointer, wrong) in [
            ("/op", json!("create")),
            ("/before", json!(null)),
            ("/key", json!({})),
            ("/object_type", json!("s.p")),
            ("/after/id", json!("1")),
            ("/after/at", json!(null)),
            ("/after/amount", json!("1.50")),
            ("/after/card", json!("4111")),
        ] {
            let mut event = event.clone();
            *event.pointer_mut(pointer).unwrap() = wrong;
            assert!(!validator.is_valid(&event), "{pointer}");
        }
    }

    #[test]
    fn rows_are_there_as_the_operations_say() {
        let row = json!({"$ref": "#/$defs/row"});
        for (operations, before, after) in [
            (
                &[Operation::Create][..],
                json!({"type": "null"}),
                row.clone(),
            ),
            (&[Operation::Delete], row.clone(), json!({"type": "null"})),
            (&[Operation::Update], row.clone(), row.clone()),
            (
                &[Operation::Create, Operation::Update],
                json!({"anyOf": [row, {"type": "null"}]}),
                row,
            ),
        ] {
            let made = schema(operations);
            assert_eq!(made["properties"]["before"], before, "{operations:?}");
            assert_eq!(made["properties"]["after"], after, "{operations:?}");
        }
        let text = schema(&Operation::ALL).to_string();
        assert!(!text.contains("note"), "an excluded column is in {text}");
    }
}
