//! What the documents say exists.

use clap::{Parser as _, error::ErrorKind};
use rowcall::cli::Cli;

use crate::{
    Faults,
    sources::{documents, exists, files, read},
};

/// The folders that a path may begin with.
const FOLDERS: [&str; 8] = [
    "src/",
    "tests/",
    "docs/",
    "migrations/",
    "scripts/",
    "metadata/",
    "benches/",
    ".ci/",
];

/// The paths that a line names. A pattern such as `docs/*.md` counts as its folder.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || "_./-".contains(c)))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .map(|word| word.trim_end_matches(['.', '-']))
}

#[test]
fn every_path_that_is_named_exists() {
    let mut faults = Faults::default();
    let mut check = |place: &str, line: &str| {
        for path in paths(line).filter(|path| !exists(path)) {
            let rule = format!("`{path}` does not exist");
            faults.add(place, &rule, "name it as it is now");
        }
    };
    for file in documents() {
        for (place, line) in file.lines() {
            check(&place, line);
        }
    }
    let folders = [
        "src",
        "tests",
        "migrations",
        "scripts",
        "Makefile",
        "Cargo.toml",
    ];
    for file in files(&folders, &[".rs", ".sql", ".sh", "Makefile", "Cargo.toml"]) {
        for (place, line) in file.lines() {
            if let Some((_, comment)) = line.split_once(comment_mark(&file.path)) {
                check(&place, comment);
            }
        }
    }
    faults.none();
}

fn comment_mark(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("rs") => "//",
        Some("sql") => "--",
        _ => "#",
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Faults::default();
    for file in documents() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (place, line) in file.lines() {
            for link in line.split("](").skip(1) {
                let target = link.split([')', '#']).next().unwrap_or_default();
                if target.is_empty() || target.contains("://") {
                    continue;
                }
                if !exists(format!("{folder}/{target}").trim_start_matches('/')) {
                    let rule = format!("the link `{target}` leads nowhere");
                    faults.add(&place, &rule, "a link is relative to the file it is in");
                }
            }
        }
    }
    faults.none();
}

#[test]
fn every_command_that_is_shown_can_be_run() {
    let makefile = read("Makefile");
    let mut faults = Faults::default();
    for file in documents() {
        // Commands stand in blocks that are indented by four.
        for (place, line) in file.lines().filter(|(_, line)| line.starts_with("    ")) {
            let words = shell_words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["make", target, ..] if !makefile.text.contains(&format!("\n{target}:")) => {
                    let rule = format!("`make {target}` is no target of the Makefile");
                    faults.add(&place, &rule, "see `make help`");
                }
                [program, ..] if program.rsplit('/').next() == Some("rowcall") => {
                    if let Some(fault) = command_fault(&words) {
                        faults.add(&place, &fault, "see `rowcall help`");
                    }
                }
                _ => {}
            }
        }
    }
    faults.none();
}

/// A command line without its comment; what is in quotes is one word.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in line.trim().chars() {
        match c {
            '#' if quote.is_none() && words.last().is_some_and(String::is_empty) => break,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            c if quote == Some(c) => quote = None,
            c if c.is_whitespace() && quote.is_none() => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What is wrong with this command line. Its values may be placeholders.
fn command_fault(words: &[&str]) -> Option<String> {
    let words = words.iter().filter(|word| !matches!(**word, "\\" | "&"));
    let error = Cli::try_parse_from(words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ => Some(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
    }
}
