//! What is where in `src`, and how it is written.

use crate::{
    Faults,
    sources::{File, files, read},
};

const LINES_MAX: usize = 400;
/// rustfmt's width; comments keep to it as well.
const COLUMNS_MAX: usize = 100;
/// A text in quotes can't always be broken; SQL in files of its own is read beside its Rust.
const COLUMNS_OF_TEXT_MAX: usize = 120;
/// What a newcomer reads to know how Rowcall works.
const READING_LINES_MAX: usize = 1_500;

/// A thing and the only places where it may be.
struct Rule {
    marks: &'static [&'static str],
    names: &'static [&'static str],
    places: &'static [&'static str],
    rule: &'static str,
    advice: &'static str,
}

const RULES: [Rule; 6] = [
    Rule {
        marks: &["diesel::", "use diesel", "sql_query("],
        names: &["store.rs", "db.rs", "schema.rs"],
        places: &["src/db/"],
        rule: "diesel is used only in store.rs files and db.rs",
        advice: "move the SQL into the store.rs beside this file, and use crate::db::Connection \
                 and crate::db::QueryError here",
    },
    Rule {
        marks: &[
            "TcpStream::connect",
            "hyper_util::client",
            "hickory_resolver",
        ],
        names: &[],
        places: &["src/sink/"],
        rule: "connections to the outside are made only in src/sink, behind the address guard",
        advice: "send through a Sink",
    },
    Rule {
        marks: &["Utc::now", "SystemTime::now", "Local::now"],
        names: &[],
        places: &["src/clock.rs"],
        rule: "only src/clock.rs reads the wall clock",
        advice: "take `now` as an argument, from clock::Clock",
    },
    Rule {
        marks: &["StatusCode"],
        names: &[],
        // The demo's receivers are HTTP servers for show.
        places: &[
            "src/api/",
            "src/admin/",
            "src/sink/",
            "src/cli/demo/receivers.rs",
        ],
        rule: "HTTP status codes are known only to src/api, src/admin and src/sink",
        advice: "return an enum of your own and map it at the edge",
    },
    Rule {
        marks: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        names: &[],
        places: &["src/capture/listen_socket.rs"],
        rule: "`unsafe` is written only in src/capture/listen_socket.rs",
        advice: "find a safe function for it",
    },
    Rule {
        marks: &[".run_once("],
        names: &[],
        places: &["src/stage.rs", "src/app.rs", "src/cli/serve.rs"],
        rule: "the one loop is in src/stage.rs; at start-up a stage may be run once",
        advice: "let stage::drive run the stage",
    },
];

/// The lines that are code outside of the file's own tests, without comments.
fn code(file: &File) -> impl Iterator<Item = (String, &str)> {
    file.lines()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test_module(file: &File) -> bool {
    file.name() == "tests.rs"
}

#[test]
fn things_are_where_they_belong() {
    let mut faults = Faults::default();
    for file in files(&["src"], &[".rs"]) {
        if is_test_module(&file) {
            continue;
        }
        for rule in &RULES {
            if rule.names.contains(&file.name()) || file.is_in(rule.places) {
                continue;
            }
            for (place, line) in code(&file) {
                if rule.marks.iter().any(|mark| line.contains(mark)) {
                    faults.add(&place, rule.rule, rule.advice);
                }
            }
        }
    }
    faults.none();
}

#[test]
fn files_and_lines_are_short() {
    let mut faults = Faults::default();
    for file in files(&["src", "tests", "benches", "migrations"], &[".rs", ".sql"]) {
        let lines = file.text.lines().count();
        if file.is_in(&["src/"]) && lines > LINES_MAX {
            let rule = format!("{lines} lines; a file is one idea of at most {LINES_MAX}");
            faults.add(&file.path, &rule, "split it by idea");
        }
        let is_sql = file.path.ends_with(".sql");
        for (place, line) in file.lines() {
            // rustfmt sees to code; what it leaves longer is a text.
            let has_text = is_sql || !line.trim_start().starts_with("//");
            let max = if has_text {
                COLUMNS_OF_TEXT_MAX
            } else {
                COLUMNS_MAX
            };
            let columns = line.chars().count();
            if columns > max {
                let rule = format!("{columns} columns; a line has at most {max}");
                faults.add(&place, &rule, "break it");
            }
        }
    }
    faults.none();
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    // Put together, so that this file does not name them itself.
    let marks = ["todo!", "unimplemented!", "#[ignore", "FIXME", "XXX"]
        .map(|mark| (mark, "finish it, or take it out"));
    let mut faults = Faults::default();
    let all = files(
        &["src", "tests", "benches", "migrations", "scripts"],
        &[".rs", ".sql", ".sh"],
    );
    for file in all.iter().filter(|file| file.path != "tests/tidy/house.rs") {
        for (place, line) in file.lines() {
            for (mark, advice) in marks {
                if line.contains(mark) {
                    faults.add(&place, &format!("`{mark}` is left in the code"), advice);
                }
            }
        }
        for start in ["#[allow(", "#![allow("] {
            for (at, _) in file.text.match_indices(start) {
                let attribute = file.text[at..].split(")]").next().unwrap_or_default();
                if !attribute.contains("reason = ") {
                    let line = file.text[..at].lines().count().max(1);
                    let place = format!("{}:{line}", file.path);
                    let advice = "write #[expect(lint, reason = \"...\")], or mend what it says";
                    faults.add(&place, "a lint is silenced without a reason", advice);
                }
            }
        }
    }
    faults.none();
}

#[test]
fn modules_are_nouns_of_the_domain() {
    const BANNED: [&str; 8] = [
        "utils", "util", "common", "types", "models", "helpers", "manager", "misc",
    ];
    let mut faults = Faults::default();
    for file in files(&["src"], &[".rs"]) {
        let parts = file.path.trim_end_matches(".rs").split('/');
        for banned in parts.filter(|part| BANNED.contains(part)) {
            let rule = format!("a module named `{banned}` says nothing of what is in it");
            faults.add(
                &file.path,
                &rule,
                "name it by the thing of the domain that it is",
            );
        }
    }
    faults.none();
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut faults = Faults::default();
    let folders = [
        "src",
        "tests",
        "migrations",
        "scripts",
        "docs",
        "metadata",
        "Makefile",
    ];
    let mut all = files(
        &folders,
        &[".rs", ".sql", ".sh", ".md", ".toml", "Makefile", ".py"],
    );
    all.extend(["README.md", "CONTRIBUTING.md", "Cargo.toml"].map(read));
    for file in all.iter().filter(|file| file.path != "tests/tidy/house.rs") {
        for (place, line) in file.lines() {
            for home in ["/home/", "/Users/", "/root/"] {
                if line.contains(home) {
                    let rule = format!("`{home}` is on one machine only");
                    faults.add(&place, &rule, "name a path inside the repository, or none");
                }
            }
        }
    }
    faults.none();
}

#[test]
fn the_way_in_is_short_enough_to_be_read() {
    let way = [
        "lib",
        "app",
        "stage",
        "capture/mod",
        "publish/mod",
        "deliver/mod",
        "upkeep/mod",
    ];
    let lines: usize = way
        .iter()
        .map(|name| read(&format!("src/{name}.rs")).text.lines().count())
        .sum();
    assert!(
        lines < READING_LINES_MAX,
        "src/lib.rs, app.rs, stage.rs and the stages' mod.rs have {lines} lines together; they are \
         what a newcomer reads first: keep them under {READING_LINES_MAX} by moving detail into the \
         modules they name"
    );
}
