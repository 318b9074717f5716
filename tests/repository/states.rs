//! The states of a delivery are the same in the schema, in the code and in the drawing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{support::postgres::TestDatabase, texts};

const DRAWING: &str = include_str!("../../docs/STATES.md");

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

/// The rows of the table of steps: from, to, and the file that writes it.
fn steps() -> Vec<[String; 3]> {
    let (_, rest) = DRAWING.split_once("### What leads").unwrap();
    let section = rest.split("\n### ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        [cells[0], cells[1], cells[3]].map(ToOwned::to_owned)
    })
    .collect()
}

#[test]
fn every_state_is_reached_settled_ones_are_not_left_and_each_step_is_written_somewhere() {
    let (schema, steps) = (schema_states(), steps());
    // GIVEN the states that the schema calls settled
    let database = TestDatabase::create();
    let checks = texts(
        &mut database.connect(),
        "select pg_get_constraintdef(oid) as text from pg_constraint \
         where conrelid = 'rowcall.delivery'::regclass and contype = 'c' \
             and pg_get_constraintdef(oid) like '%settled_at IS NOT NULL%'",
    );
    let settled = quoted(&checks[0]);
    assert!(settled.len() >= 5, "{checks:?}");
    for [from, to, file] in &steps {
        // THEN no step begins in one, or leads from or to what is no state
        assert!(
            !settled.contains(from),
            "`{from}` is settled, and left for `{to}`"
        );
        assert!(from == "born" || schema.contains(from), "{from}");
        assert!(schema.contains(to), "{to}");
        // AND the code that is named knows the state that it leads to
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let [double, single] = [format!("\"{to}\""), format!("'{to}'")];
        assert!(
            text.contains(&double) || text.contains(&single),
            "{file} does not name `{to}`"
        );
    }
    // AND every state is reached from birth
    let mut reached = BTreeSet::from(["born".to_owned()]);
    while let Some([_, to, _]) = steps
        .iter()
        .find(|[from, to, _]| reached.contains(from) && !reached.contains(to))
    {
        reached.insert(to.clone());
    }
    reached.remove("born");
    assert_eq!(reached, schema, "reached (left), and states of the schema");
}

#[test]
fn schema_drawing_and_code_know_the_same_states() {
    let schema = schema_states();
    assert_eq!(
        schema,
        drawn_states(),
        "the CHECK (left) and docs/STATES.md (right) differ"
    );
    let unknown: Vec<_> = code_states().difference(&schema).cloned().collect();
    assert!(
        unknown.is_empty(),
        "the code names states that the schema refuses: {unknown:?}"
    );
}
