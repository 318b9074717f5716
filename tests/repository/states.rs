//! The states of a delivery are the same in the schema, in the code and in the drawing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{support::postgres::TestDatabase, texts};

const DRAWING: &str = include_str!("../../docs/ARCHITECTURE.md");

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('\'')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

fn schema_states() -> BTreeSet<String> {
    let database = TestDatabase::create();
    let checks = texts(
        &mut database.connect(),
        "select pg_get_constraintdef(oid) as text from pg_constraint \
         where conrelid = 'rowcall.delivery'::regclass and contype = 'c' \
             and pg_get_constraintdef(oid) like 'CHECK ((state = ANY (ARRAY[%])))'",
    );
    assert_eq!(checks.len(), 1, "{checks:?}");
    quoted(&checks[0])
}

/// The states that stand in square brackets in the drawing.
fn drawn_states() -> BTreeSet<String> {
    let (_, rest) = DRAWING.split_once("## The states of a delivery").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let drawing = section.lines().filter(|line| line.starts_with("    "));
    drawing
        .flat_map(|line| line.split('[').skip(1))
        .filter_map(|rest| rest.split(']').next())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The states that statements of `src/deliver` and `src/publish` compare with or set.
fn code_states() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["src/deliver", "src/publish", "src/upkeep"] {
        for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let text = fs::read_to_string(file).unwrap();
            for (mark, end) in [
                ("state = '", '\''),
                ("state <> '", '\''),
                ("state in ('", ')'),
                ("tried(\"", '"'),
            ] {
                for (at, _) in text.match_indices(mark) {
                    let rest = &text[at + mark.len()..];
                    let inside = rest.split(end).next().unwrap();
                    let words = inside.split(|c: char| !c.is_ascii_lowercase());
                    found.extend(words.filter(|word| word.len() > 3).map(ToOwned::to_owned));
                }
            }
        }
    }
    // The states of subscriptions, which the same statements look at.
    for state in ["active", "paused", "disabled", "deleted"] {
        found.remove(state);
    }
    found
}

#[test]
fn schema_drawing_and_code_know_the_same_states() {
    let schema = schema_states();
    assert_eq!(
        schema,
        drawn_states(),
        "the CHECK (left) and docs/ARCHITECTURE.md (right) differ"
    );
    let unknown: Vec<_> = code_states().difference(&schema).cloned().collect();
    assert!(
        unknown.is_empty(),
        "the code names states that the schema refuses: {unknown:?}"
    );
}
