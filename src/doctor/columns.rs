//! Columns that cost much, or that can't be captured as they are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Looked,
    finding::{Finding, bytes},
    quoted,
    store::{self, Asked},
};
use crate::{
    capture::rotation::store::rotation_current,
    catalog::model::{Catalog, ObjectType},
    db::{Connection, DbError},
};

/// What a table keeps out of line before its columns are looked at.
const TOAST_BYTES_NOTED: i64 = 1024 * 1024;
/// The mean size in captured rows from which on a column is named: Postgres keeps larger ones out
/// of line.
const COLUMN_BYTES_NOTED: i64 = 2_000;
/// Columns that one finding names.
const NAMED_MAX: usize = 8;

#[derive(Clone, Debug, Deserialize)]
struct Column {
    object_type: String,
    name: String,
    r#type: String,
    /// Large values are kept out of line.
    is_extendable: bool,
    /// What the table and all that inherits from it keep out of line.
    toast_bytes: i64,
    is_json: bool,
    has_json_cast: bool,
}

/// How large a column is in captured rows.
#[derive(Clone, Debug, Deserialize)]
struct Sample {
    object_type: String,
    name: String,
    /// On the average.
    bytes: i64,
}

pub(super) fn check(connection: &mut Connection, catalog: &Catalog, asked: &Asked) -> Looked {
    let columns: Vec<Column> = store::rows_of(connection, include_str!("sql/columns.sql"), asked)?;
    let mut by_type: BTreeMap<&str, Vec<&Column>> = BTreeMap::new();
    for column in &columns {
        by_type.entry(&column.object_type).or_default().push(column);
    }
    let is_large = columns
        .iter()
        .any(|column| column.toast_bytes >= TOAST_BYTES_NOTED);
    let samples = match is_large {
        true => sample(connection)?,
        false => Vec::new(),
    };
    let known = by_type.into_iter().filter_map(|(name, columns)| {
        let object_type = catalog.object_types.get(name)?;
        let of_it: Vec<&Sample> = samples
            .iter()
            .filter(|sample| sample.object_type == name)
            .collect();
        Some(judge(name, object_type, &columns, &of_it))
    });
    Ok(known.flatten().collect())
}

fn sample(connection: &mut Connection) -> Result<Vec<Sample>, DbError> {
    match rotation_current(connection)? {
        Some(leaf) => store::rows_of_leaf(connection, include_str!("sql/sample.sql"), leaf.number),
        None => Ok(Vec::new()),
    }
}

fn judge(
    name: &str,
    object_type: &ObjectType,
    columns: &[&Column],
    samples: &[&Sample],
) -> Vec<Finding> {
    let captured: Vec<&Column> = columns
        .iter()
        .copied()
        .filter(|column| !object_type.exclude.contains(&column.name))
        .collect();
    let mut findings = uncommon(name, object_type, columns);
    findings.extend(large(name, object_type, &captured, samples));
    findings
}

/// Columns whose values may not become JSON, so that a change becomes a gap.
fn uncommon(name: &str, object_type: &ObjectType, columns: &[&Column]) -> Vec<Finding> {
    let subject = quoted(&object_type.table);
    let is_filtered = !object_type.exclude.is_empty() || !object_type.mask.is_empty();
    let mut findings = Vec::new();
    for column in columns {
        if column.has_json_cast {
            let text = format!(
                "the type {} of `{}` has a cast to json that somebody defined, so the column is \
                 captured as text, and a change whose text can't be had becomes a gap",
                column.r#type, column.name
            );
            let remedy = "if the cast is not needed: DROP CAST of that type AS json; then apply the \
                          metadata";
            findings.push(Finding::warning("json-cast", &subject, text).remedy(remedy));
        } else if column.is_json && is_filtered {
            let text = format!(
                "`{}` is json and `{name}` has `exclude` or `mask`, so each row is parsed: a json \
                 text that only Postgres accepts makes the change a gap",
                column.name
            );
            let remedy = "let the column be jsonb, which holds no such text";
            findings.push(Finding::note("json-parsed", &subject, text).remedy(remedy));
        }
    }
    findings
}

/// Columns that are kept out of line: each update reads and writes them twice.
fn large(
    name: &str,
    object_type: &ObjectType,
    captured: &[&Column],
    samples: &[&Sample],
) -> Vec<Finding> {
    let toast_bytes = captured.first().map_or(0, |column| column.toast_bytes);
    if toast_bytes < TOAST_BYTES_NOTED {
        return Vec::new();
    }
    let subject = quoted(&object_type.table);
    let kept = bytes(toast_bytes);
    let candidates: Vec<&str> = captured
        .iter()
        .filter(|column| column.is_extendable && !object_type.key.contains(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    let remedy = |column: &str| {
        format!(
            "if no subscriber needs it: add \"{column}\" to `exclude` of [object_type.\"{name}\"] \
             and apply the metadata"
        )
    };
    if !samples.is_empty() {
        let measured = samples.iter().filter(|sample| {
            sample.bytes >= COLUMN_BYTES_NOTED && candidates.contains(&sample.name.as_str())
        });
        return measured
            .map(|sample| {
                let text = format!(
                    "`{}` is captured with about {} in each image, and every update captures two \
                     (the table keeps {kept} out of line)",
                    sample.name,
                    bytes(sample.bytes)
                );
                let finding = Finding::note("large-column", &subject, text);
                finding.remedy(remedy(&sample.name))
            })
            .collect();
    }
    if candidates.is_empty() {
        return Vec::new();
    }
    let named: Vec<String> = candidates
        .iter()
        .take(NAMED_MAX)
        .map(|column| format!("`{column}`"))
        .collect();
    let text = format!(
        "the table keeps {kept} out of line, in {}: whole rows are captured, at each update before \
         and after",
        named.join(", ")
    );
    vec![Finding::note("large-column", &subject, text).remedy(remedy(candidates[0]))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::model::{CaptureMode, SourceName};

    fn object_type(exclude: &[&str]) -> ObjectType {
        ObjectType {
            description: String::new(),
            table: "public.docs".to_owned().try_into().unwrap(),
            key: vec!["id".to_owned()],
            exclude: exclude.iter().map(|name| (*name).to_owned()).collect(),
            mask: Vec::new(),
            source: SourceName::default(),
            capture: CaptureMode::All,
            when_clause: false,
        }
    }

    fn column(name: &str, is_extendable: bool, toast_bytes: i64) -> Column {
        Column {
            object_type: "office.doc".to_owned(),
            name: name.to_owned(),
            r#type: "text".to_owned(),
            is_extendable,
            toast_bytes,
            is_json: false,
            has_json_cast: false,
        }
    }

    fn found(object_type: &ObjectType, columns: &[Column], samples: &[Sample]) -> Vec<String> {
        let columns: Vec<&Column> = columns.iter().collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        let findings = judge("office.doc", object_type, &columns, &samples).into_iter();
        findings
            .map(|one| format!("{}: {}", one.code, one.message))
            .collect()
    }

    #[test]
    fn a_large_column_is_named_with_its_size_unless_it_is_excluded() {
        let big = TOAST_BYTES_NOTED;
        let columns = [column("id", true, big), column("body", true, big)];
        let sample = |bytes| Sample {
            object_type: "office.doc".to_owned(),
            name: "body".to_owned(),
            bytes,
        };
        let texts = found(&object_type(&[]), &columns, &[sample(48 * 1024)]);
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].starts_with("large-column: `body` is captured with about 48 kB"),
            "{texts:?}"
        );
        assert!(found(&object_type(&[]), &columns, &[sample(100)]).is_empty());
        assert!(found(&object_type(&["body"]), &columns, &[]).is_empty());
        // Without a sample the columns that could be it are named.
        let texts = found(&object_type(&[]), &columns, &[]);
        assert!(
            texts[0].contains("1.0 MB out of line, in `body`:"),
            "{texts:?}"
        );
        let small = [column("body", true, big - 1)];
        assert!(found(&object_type(&[]), &small, &[]).is_empty());
    }

    #[test]
    fn json_is_told_only_where_it_is_parsed_and_a_cast_everywhere() {
        let json = Column {
            is_json: true,
            ..column("data", true, 0)
        };
        assert!(found(&object_type(&[]), std::slice::from_ref(&json), &[]).is_empty());
        let texts = found(&object_type(&["note"]), std::slice::from_ref(&json), &[]);
        assert!(texts[0].starts_with("json-parsed:"), "{texts:?}");
        let cast = Column {
            has_json_cast: true,
            ..json
        };
        let texts = found(&object_type(&[]), &[cast], &[]);
        assert!(texts[0].starts_with("json-cast:"), "{texts:?}");
    }
}
