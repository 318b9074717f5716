//! Whether a report is whole: what a run must have told, read back from what it wrote.

use std::path::Path;

use serde_json::Value;

use crate::Part;

/// How the names of figures end that are never 0.
const ABOVE_ZERO: [&str; 3] = ["/s", "MB", "bytes"];

/// What is wrong with the report, in words.
pub(crate) fn faults(path: &Path, parts: &[&Part], rounds: usize) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let report: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut faults = Vec::new();
    for name in ["machine", "commit", "at", "program", "settings"] {
        if report[name].as_str().is_none_or(str::is_empty) {
            faults.push(format!("there is no {name}"));
        }
    }
    let sections = report["sections"].as_array().map_or(&[][..], Vec::as_slice);
    for part in parts {
        let section = sections.iter().find(|one| one["part"] == part.name);
        let rows = section.and_then(|one| one["rows"].as_array());
        match rows {
            Some(rows) if !rows.is_empty() => {
                for row in rows {
                    let place = format!("{}, {}", part.name, row["name"]);
                    faults.extend(row_faults(row, rounds).map(|fault| format!("{place}: {fault}")));
                }
            }
            _ => faults.push(format!("{} told nothing", part.name)),
        }
    }
    faults
}

/// A figure is a number of each round. Rates and sizes are above 0; times need not be where the
/// readings of two programs are compared.
fn row_faults(row: &Value, rounds: usize) -> impl Iterator<Item = String> {
    let figures = row["figures"].as_object().cloned().unwrap_or_default();
    let is_empty = figures.is_empty().then(|| "no figures".to_owned());
    let each = figures.into_iter().filter_map(move |(name, figure)| {
        let values = figure["rounds"].as_array().cloned().unwrap_or_default();
        // What is no number, such as a percentile of nothing, is written as null.
        let numbers = values.iter().filter_map(Value::as_f64);
        let is_above_zero = numbers.clone().all(|number| number > 0.0);
        if numbers.count() != rounds || values.len() != rounds {
            Some(format!("{name} is not a number of each of {rounds} rounds"))
        } else if ABOVE_ZERO.iter().any(|unit| name.ends_with(unit)) && !is_above_zero {
            Some(format!("{name} is not above 0"))
        } else {
            None
        }
    });
    is_empty.into_iter().chain(each)
}
