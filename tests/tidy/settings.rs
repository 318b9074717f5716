//! docs/CONFIGURATION.md names every setting, with its default.

use rowcall::config::{Config, Flags, Limits};

use crate::{
    Faults,
    sources::{File, files, read},
};

fn configuration() -> File {
    read("docs/CONFIGURATION.md")
}

/// The row of the table that begins with this name.
fn row<'a>(document: &'a File, name: &str) -> Option<&'a str> {
    let start = format!("| `{name}`");
    document.text.lines().find(|line| line.starts_with(&start))
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let document = configuration();
    // Derived, so it names every field: `Limits { connections_max: 10, ... }`.
    let shown = format!("{:?}", Limits::default());
    let fields = shown
        .trim_start_matches("Limits {")
        .trim_end_matches('}')
        .split(',')
        .filter_map(|field| field.trim().split_once(": "));
    let mut faults = Faults::default();
    let mut count = 0;
    for (name, default) in fields {
        count += 1;
        let cell = format!("| {default} |");
        match row(&document, name) {
            None => faults.add(&document.path, &format!("no row for `{name}`"), "write one"),
            Some(row) if !row.replace(' ', "").contains(&cell.replace(' ', "")) => {
                let rule = format!("the default of `{name}` is {default}");
                faults.add(&document.path, &rule, "correct its row");
            }
            Some(_) => {}
        }
    }
    assert!(count > 10, "the fields of Limits were not found in {shown}");
    faults.none();
}

#[test]
fn every_environment_variable_is_documented() {
    let document = configuration();
    let mut faults = Faults::default();
    let mut count = 0;
    for file in files(&["src"], &[".rs"]) {
        let code = file
            .lines()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        for (place, line) in code {
            let names = ["env = \"", "with_env_var(\""]
                .iter()
                .filter_map(|mark| line.split(mark).nth(1))
                .filter_map(|rest| rest.split('"').next())
                .filter(|name| {
                    !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_uppercase())
                });
            // NAME stands for one in messages.
            for name in names.filter(|name| name.len() > 4) {
                count += 1;
                if !document.text.contains(&format!("`{name}`")) {
                    let rule = format!(
                        "the environment variable {name} is not in {}",
                        document.path
                    );
                    faults.add(&place, &rule, "write a row for it");
                }
            }
        }
    }
    assert!(count > 8, "the environment variables were not found");
    faults.none();
}

#[test]
fn the_example_is_a_valid_file() {
    let document = configuration();
    let (_, rest) = document.text.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowcall.toml");
    std::fs::write(&path, example).unwrap();
    let config = Config::load(Flags {
        config: Some(path),
        // The example leaves the database to the environment.
        embedded: Some(folder.path().to_owned()),
        ..Flags::default()
    });
    assert_eq!(config.unwrap().limits.lease_ms, 20_000);
}
