//! Valid metadata with something wrong: whatever it is, the refusal has a place in the file, and
//! what runs goes on running.

use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use rowcall::catalog::apply::{ApplyError, Outcome};
use uuid::Uuid;

use super::{
    applied, apply_text, database,
    events::{FOLDER, TABLES},
    problem_lines,
};
use crate::support::postgres::TestDatabase;

const ROUNDS: u64 = 150;

/// A small generator (SplitMix64): the seed alone gives what happens.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) as usize % bound
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// `FOLDER` with one thing changed, and what that was.
fn mutated(random: &mut Random) -> (String, String) {
    let lines: Vec<&str> = FOLDER.lines().collect();
    let settings: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].contains(" = "))
        .collect();
    let at = random.of(&settings);
    let (name, value) = lines[at].split_once(" = ").unwrap();
    let (what, line) = match random.below(6) {
        0 => ("dropped", String::new()),
        1 => (
            "a name misspelt",
            format!("{} = {value}", misspelt(name, random)),
        ),
        2 => {
            let others = [
                "7",
                "true",
                "\"x\"",
                "[\"x\"]",
                "[7]",
                "{ x = 1 }",
                "\"\"",
                "[]",
                "{}",
            ];
            ("another type", format!("{name} = {}", random.of(&others)))
        }
        3 => (
            "a value misspelt",
            format!("{name} = {}", misspelt(value, random)),
        ),
        4 => ("given twice", format!("{0}\n{0}", lines[at])),
        _ => {
            // A header, so that what is below belongs to another entry.
            let headers: Vec<usize> = (0..lines.len())
                .filter(|at| lines[*at].starts_with('['))
                .collect();
            let at = random.of(&headers);
            let mut lines = lines.clone();
            let header = misspelt(lines[at], random);
            lines[at] = &header;
            return (format!("line {}: {header}", at + 1), lines.join("\n"));
        }
    };
    let mut lines = lines;
    lines[at] = &line;
    (format!("line {}: {what}: {line}", at + 1), lines.join("\n"))
}

/// A letter left out, doubled, or another one.
fn misspelt(text: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = random.below(letters.len());
    match random.below(3) {
        0 => {
            letters.remove(at);
        }
        1 => letters.insert(at, letters[at]),
        _ => letters[at] = random.of(&['x', 'é', '9', ' ', '"', '.', '*', '\'', '=', '(']),
    }
    letters.into_iter().collect()
}

/// All that runs.
fn running(database: &TestDatabase) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        state: String,
    }
    let row: Row = sql_query(
        "select concat(
            (select json_agg(v order by version) from rowcall.catalog_version v),
            (select json_agg(i order by kind, name) from rowcall.catalog_item i),
            (select json_agg(s order by id) from rowcall.subscription s),
            (select revision from rowcall.registry)) as state",
    )
    .get_result(&mut database.connect())
    .unwrap();
    row.state
}

#[tokio::test]
async fn whatever_is_wrong_has_a_place_and_disturbs_nothing() {
    // GIVEN
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    let seed = Uuid::new_v4().as_u64_pair().0;
    let mut random = Random(seed);
    let mut refusals = 0;
    for round in 0..ROUNDS {
        let (what, folder) = mutated(&mut random);
        let before = running(&database);

        // WHEN
        let outcome = apply_text(&database, &folder).await;

        // THEN
        let told = format!("seed {seed}, round {round}, {what}");
        match outcome {
            Ok(Outcome::Applied { .. } | Outcome::Unchanged { .. }) => continue,
            Err(error @ ApplyError::Metadata(_)) => {
                refusals += 1;
                let lines = problem_lines(&error);
                assert!(!lines.is_empty(), "{told}");
                for line in &lines {
                    check_place(line, &folder, &told);
                }
            }
            Err(error) => panic!("{told}: {error:?}"),
        }
        assert_eq!(running(&database), before, "{told}");
    }
    // Some changes are no faults: a description left out, another letter in a text.
    assert!(
        refusals > ROUNDS / 2,
        "seed {seed}: only {refusals} were refused"
    );
}

#[track_caller]
fn check_place(problem: &str, folder: &str, told: &str) {
    let mut parts = problem.splitn(4, ':');
    assert_eq!(parts.next(), Some("m.toml"), "{told}: {problem}");
    let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
    let (line, column) = (number(), number());
    let text = line.and_then(|line| folder.lines().nth(line.checked_sub(1)?));
    // The end of the file is a place, too.
    let length = match text {
        Some(text) => text.chars().count(),
        None => {
            assert_eq!(line, Some(folder.lines().count() + 1), "{told}: {problem}");
            0
        }
    };
    let is_in_line = column.is_some_and(|column| (1..=length + 1).contains(&column));
    assert!(is_in_line, "{told}: {problem}");
    let message = parts.next().unwrap_or_default();
    assert!(message.trim().len() > 10, "{told}: {problem}");
}
