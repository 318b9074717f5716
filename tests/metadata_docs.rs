//! The examples of docs/METADATA.md, docs/DIGESTS.md and README.md are valid metadata against the
//! tables that they are written for.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;

use rowcall::{
    catalog::{apply::plan, examine::Order, load::Folder},
    db::Database,
    sink::AddressGuard,
    subscription::secret::SecretKey,
};
use secrecy::SecretString;
use support::postgres::{TestDatabase, execute};

const METADATA: &str = include_str!("../docs/METADATA.md");
const DIGESTS: &str = include_str!("../docs/DIGESTS.md");
const README: &str = include_str!("../README.md");

/// The blocks of a language, each with the number of its first line.
fn blocks(document: &str, language: &str) -> Vec<(usize, String)> {
    let fence = format!("```{language}");
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut is_inside = false;
    for (line, number) in document.lines().zip(1..) {
        if line == fence {
            is_inside = true;
            blocks.push((number + 1, String::new()));
        } else if line == "```" {
            is_inside = false;
        } else if is_inside {
            let (_, text) = blocks.last_mut().unwrap();
            text.push_str(line);
            text.push('\n');
        }
    }
    blocks
}

/// The plan of a folder of one file, or the report of what is wrong with it.
async fn planned(database: &TestDatabase, name: &str, toml: &str) -> String {
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    let guard = AddressGuard::new(Vec::new());
    let mut order = Order::new(Folder::of_text(name, toml), guard, Some(Arc::new(key)));
    order.environment = |name| {
        let value = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        (name == "ERP_SECRET").then(|| SecretString::from(value))
    };
    plan(&Database::new(&database.url, 1), Arc::new(order))
        .await
        .unwrap_or_else(|error| panic!("{name}: {:?}", miette::Report::new(error)))
        .to_string()
}

#[tokio::test]
async fn every_example_is_valid() {
    let database = TestDatabase::create();
    let tables = blocks(METADATA, "sql");
    assert_eq!(tables.len(), 1);
    execute(&database.url, &tables[0].1);
    for (name, document, count) in [("METADATA", METADATA, 3), ("DIGESTS", DIGESTS, 1)] {
        let examples = blocks(document, "toml");
        assert_eq!(examples.len(), count, "an example of {name} was not found");
        for (line, toml) in examples {
            let plan = planned(&database, &format!("docs/{name}.md:{line}"), &toml).await;
            assert!(plan.contains("to add"), "{plan}");
        }
    }
}

#[tokio::test]
async fn the_example_of_the_first_steps_is_valid() {
    let database = TestDatabase::create();
    let (_, rest) = README.split_once("create table").unwrap();
    let (table, _) = rest.split_once('"').unwrap();
    execute(&database.url, &format!("create table{table}"));
    let examples = blocks(README, "toml");
    assert_eq!(examples.len(), 1);
    let plan = planned(&database, "README.md", &examples[0].1).await;
    assert!(plan.starts_with("+ namespace sales"), "{plan}");
}
