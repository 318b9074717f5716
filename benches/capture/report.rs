//! What is printed, and written as JSON.

#![expect(clippy::print_stdout, reason = "the report")]

use std::path::Path;

use serde_json::{Value, json};

use crate::bed::Table;

/// The figures of a run.
pub(crate) struct Report {
    machine: String,
    sections: Vec<Value>,
}

impl Report {
    pub(crate) fn new(machine: String) -> Self {
        println!("{machine}");
        Self {
            machine,
            sections: Vec::new(),
        }
    }

    /// Of each table its figures round by round; the first is the one that the others are compared
    /// with.
    pub(crate) fn compare(&mut self, title: &str, unit: &str, figures: &[(Table, Vec<f64>)]) {
        println!("\n{title} ({unit}; median of the rounds' ratios to the first)");
        let base = &figures[0].1;
        let mut rows = Vec::new();
        for (table, values) in figures {
            let ratios: Vec<f64> = values
                .iter()
                .zip(base)
                .map(|(one, base)| one / base)
                .collect();
            let (value, ratio) = (median(values), median(&ratios));
            println!("  {:<32} {value:>12.1} {ratio:>8.2}", table.says());
            rows.push(json!({
                "table": table.name(), "median": value, "ratio": ratio, "rounds": values,
            }));
        }
        self.sections
            .push(json!({"title": title, "unit": unit, "rows": rows}));
    }

    /// Figures that stand for themselves.
    pub(crate) fn tell(&mut self, title: &str, figures: &[(&str, f64)]) {
        println!("\n{title}");
        let mut rows = serde_json::Map::new();
        for (name, value) in figures {
            println!("  {name:<44} {value:>12.2}");
            rows.insert((*name).to_owned(), json!(value));
        }
        self.sections.push(json!({"title": title, "figures": rows}));
    }

    pub(crate) fn write(self, path: &str) {
        let whole = json!({"machine": self.machine, "sections": self.sections});
        let path = Path::new(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(path, format!("{whole:#}\n")).unwrap();
        println!("\nwritten to {}", path.display());
    }
}

/// The middle value; of an even number of them, the lower one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// The value below which `share` of the sorted values are.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}
