//! What was measured: told as it goes, printed as tables, and written as JSON.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rowcall::clock::Clock;
use serde_json::{Map, Value, json};

use crate::{Part, bed::Bed, figures::median, instance::PROGRAM, settings::Settings};

/// Where the JSON is written, from the repository's root.
const FOLDER: &str = "target/bench";

/// The figures of a run.
pub(crate) struct Report {
    head: Map<String, Value>,
    sections: Vec<Section>,
    /// The section that is written to.
    current: usize,
}

struct Section {
    part: &'static str,
    title: &'static str,
    rows: Vec<Row>,
    /// Names of rows of which the first is told in multiples of the second.
    compared: Vec<(String, String)>,
}

/// One thing that was measured in every round.
struct Row {
    name: String,
    figures: Vec<Figure>,
}

struct Figure {
    name: String,
    /// One value a round.
    rounds: Vec<f64>,
}

impl Report {
    pub(crate) fn new(bed: &Bed, settings: &Settings) -> Self {
        let mut head = Map::new();
        let mut tell = |name: &str, value: String| {
            println(&format!("{name:<10} {value}"));
            head.insert(name.to_owned(), json!(value));
        };
        tell("machine", bed.machine());
        tell("commit", commit());
        tell("at", Clock::System.now().to_rfc3339());
        tell("program", profile());
        tell("settings", format!("{settings:?}"));
        Self {
            head,
            sections: Vec::new(),
            current: 0,
        }
    }

    /// What is added belongs to this part from here on.
    pub(crate) fn begin(&mut self, part: &Part) {
        let known = self.sections.iter().position(|one| one.part == part.name);
        self.current = known.unwrap_or_else(|| {
            self.sections.push(Section {
                part: part.name,
                title: part.title,
                rows: Vec::new(),
                compared: Vec::new(),
            });
            self.sections.len() - 1
        });
    }

    /// The medians of one row will be told in multiples of those of another.
    pub(crate) fn compare(&mut self, row: &str, with: &str) {
        let compared = &mut self.sections[self.current].compared;
        let pair = (row.to_owned(), with.to_owned());
        if !compared.contains(&pair) {
            compared.push(pair);
        }
    }

    /// Adds what one round measured.
    pub(crate) fn add<N: AsRef<str>>(&mut self, name: &str, figures: &[(N, f64)]) {
        let told: Vec<String> = figures
            .iter()
            .map(|(name, value)| format!("{} {}", shown(*value), name.as_ref()))
            .collect();
        progress(&format!("  {name}: {}", told.join(", ")));
        let rows = &mut self.sections[self.current].rows;
        let place = rows.iter().position(|row| row.name == name);
        let place = place.unwrap_or_else(|| {
            rows.push(Row {
                name: name.to_owned(),
                figures: Vec::new(),
            });
            rows.len() - 1
        });
        let row = &mut rows[place].figures;
        for (name, value) in figures {
            match row.iter_mut().find(|one| one.name == name.as_ref()) {
                Some(figure) => figure.rounds.push(*value),
                None => row.push(Figure {
                    name: name.as_ref().to_owned(),
                    rounds: vec![*value],
                }),
            }
        }
    }

    /// Prints everything and writes it to the file of this name; tells where that is.
    pub(crate) fn finish(mut self, file: &str) -> PathBuf {
        let sections: Vec<Value> = self.sections.iter().map(Section::tell).collect();
        self.head.insert("sections".to_owned(), json!(sections));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(file);
        std::fs::write(&path, format!("{:#}\n", Value::Object(self.head))).unwrap();
        println(&format!("\nwritten to {FOLDER}/{file}"));
        path
    }
}

impl Section {
    /// Prints a table for each run of rows with the same figures, and gives the JSON.
    fn tell(&self) -> Value {
        println(&format!("\n{} ({})", self.title, self.part));
        let width = self.rows.iter().map(|row| row.name.len()).max();
        let width = width.unwrap_or_default();
        let mut head = String::new();
        let mut rows = Vec::new();
        for row in &self.rows {
            let names = row.figures.iter().map(|figure| figure.name.as_str());
            let names: Vec<String> = names.map(|name| format!("{name:>10}")).collect();
            if head != names.join("  ") {
                head = names.join("  ");
                println(&format!("  {:<width$}  {head}", ""));
            }
            let mut cells = String::new();
            let mut figures = Map::new();
            for (figure, name) in row.figures.iter().zip(&names) {
                let value = median(&figure.rounds);
                let cell = shown(value);
                cells += &format!("  {cell:>0$}", name.len());
                let told = json!({"median": value, "rounds": figure.rounds});
                figures.insert(figure.name.clone(), told);
            }
            println(&format!("  {:<width$}{cells}", row.name));
            rows.push(json!({"name": row.name, "figures": figures}));
        }
        let ratios: Vec<Value> = self.compared.iter().map(|pair| self.ratios(pair)).collect();
        json!({"part": self.part, "title": self.title, "rows": rows, "ratios": ratios})
    }

    fn ratios(&self, (row, with): &(String, String)) -> Value {
        let figures = |name: &str| self.rows.iter().find(|one| one.name == *name);
        let (Some(these), Some(those)) = (figures(row), figures(with)) else {
            return Value::Null;
        };
        let mut told = String::new();
        let mut ratios = Map::new();
        for this in &these.figures {
            let Some(that) = those.figures.iter().find(|one| one.name == this.name) else {
                continue;
            };
            let ratio = median(&this.rounds) / median(&that.rounds);
            // Of nothing there are no multiples.
            if !ratio.is_finite() {
                continue;
            }
            told += &format!("  {}: {}", this.name, shown(ratio));
            ratios.insert(this.name.clone(), json!(ratio));
        }
        println(&format!("  {row} / {with}:{told}"));
        json!({"of": row, "to": with, "figures": ratios})
    }
}

/// Three digits at least.
fn shown(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The commit that is measured, and whether it is all that is measured.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (
        git(&["rev-parse", "HEAD"]),
        git(&["status", "--porcelain", "--untracked-files=no"]),
    ) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit}, with changes"),
        _ => "unknown".to_owned(),
    }
}

/// How the programs were built, and how large Rowcall's is.
fn profile() -> String {
    let build = if cfg!(debug_assertions) {
        "not optimised: the figures mean nothing"
    } else {
        "optimised"
    };
    let bytes = std::fs::metadata(PROGRAM).map_or(0, |file| file.len());
    format!("{build}, {:.1} MB", bytes as f64 / 1e6)
}

#[expect(clippy::print_stdout, reason = "the report")]
fn println(line: &str) {
    println!("{line}");
}

/// Tells on standard error what happens.
#[expect(clippy::print_stderr, reason = "the report goes to standard output")]
pub(crate) fn progress(line: &str) {
    eprintln!("{line}");
}
