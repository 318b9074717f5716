//! The examples of docs/METADATA.md, docs/DIGESTS.md and README.md are valid metadata against the
//! tables that they are written for.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;

use rowcall::{
    catalog::{
        apply::{ApplyError, plan},
        columns::columns_load_of,
        examine::Order,
        load::Folder,
        model::Catalog,
        plan::Plan,
    },
    db::Database,
    expr::{EventFacts, Expression, Facts, Row, Scope, Verdict},
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
    try_plan(database, name, toml)
        .await
        .unwrap_or_else(|error| panic!("{name}: {:?}", miette::Report::new(error)))
        .to_string()
}

async fn try_plan(database: &TestDatabase, name: &str, toml: &str) -> Result<Plan, ApplyError> {
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    let guard = AddressGuard::new(Vec::new());
    let mut order = Order::new(Folder::of_text(name, toml), guard, Some(Arc::new(key)));
    order.environment = |name| {
        let value = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let is_set = ["ERP_SECRET", "PARTNER_KEY", "PARTNER_PASSWORD"].contains(&name);
        is_set.then(|| SecretString::from(value))
    };
    plan(&Database::new(&database.url, 1), Arc::new(order)).await
}

#[tokio::test]
async fn every_example_is_valid() {
    let database = TestDatabase::create();
    let tables = blocks(METADATA, "sql");
    assert_eq!(tables.len(), 1);
    execute(&database.url, &tables[0].1);
    for (name, document, count) in [("METADATA", METADATA, 5), ("DIGESTS", DIGESTS, 2)] {
        let examples = blocks(document, "toml");
        assert_eq!(examples.len(), count, "an example of {name} was not found");
        for (line, toml) in examples {
            let plan = planned(&database, &format!("docs/{name}.md:{line}"), &toml).await;
            assert!(plan.contains("to add"), "{plan}");
            assert!(!plan.contains("warning"), "line {line}: {plan}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_told_as_it_is_written() {
    let database = TestDatabase::create();
    execute(&database.url, &blocks(METADATA, "sql")[0].1);
    let (refused, told) = (blocks(METADATA, "toml refused"), blocks(METADATA, "text"));
    assert_eq!((refused.len(), told.len()), (1, 1));
    let error = try_plan(&database, "orders.toml", &refused[0].1)
        .await
        .unwrap_err();
    let ApplyError::Metadata(error) = error else {
        panic!("{error:?}");
    };
    let lines: String = error
        .problems()
        .iter()
        .map(|problem| problem.line() + "\n")
        .collect();
    assert_eq!(lines, told[0].1);
}

/// The rows of the table that follows `heading`: before, after, and what the condition is.
fn cases(heading: &str) -> Vec<[&'static str; 3]> {
    let (_, rest) = METADATA.split_once(heading).unwrap();
    let rows = rest
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cell = |cell: &'static str| cell.trim().trim_matches('`');
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(cell).collect();
        cells.try_into().unwrap()
    })
    .collect()
}

#[tokio::test]
async fn the_conditions_of_the_examples_are_what_they_are_said_to_be() {
    let database = TestDatabase::create();
    execute(&database.url, &blocks(METADATA, "sql")[0].1);
    for (example, heading) in [
        (
            "sales.order.released",
            "`when` of the first event type above",
        ),
        (
            "large-orders",
            "`condition` of `large-orders` over some orders",
        ),
    ] {
        // GIVEN the condition as the page has it, compiled for the page's tables
        let found = blocks(METADATA, "toml").into_iter().find_map(|(_, toml)| {
            let folder = Folder::of_text("m.toml", &toml);
            let event_type = folder.event_types.iter().find(|item| item.name == example);
            let constraint = folder.constraints.iter().find(|item| item.name == example);
            let condition = event_type
                .and_then(|item| item.spec.when.clone())
                .or_else(|| constraint.and_then(|item| item.spec.condition.clone()))?;
            let mut catalog = Catalog::default();
            for item in folder.object_types {
                catalog.object_types.insert(item.name, item.spec);
            }
            Some((condition, catalog))
        });
        let (condition, catalog) = found.unwrap();
        let order = ["sales.order".to_owned()].into();
        let columns = columns_load_of(&mut database.connect(), &catalog, &order).unwrap();
        let scope = Scope::rows(columns["sales.order"].clone());
        let expression = Expression::compile(&condition, &scope).unwrap();

        // WHEN THEN
        let cases = cases(heading);
        assert_eq!(cases.len(), 4);
        for [before, after, expected] in cases {
            let row = |text: &'static str| (text != "null").then(|| Row::parse(text).unwrap());
            let (before, after) = (row(before), row(after));
            let verdict = expression.evaluate(&facts(before.as_ref(), after.as_ref()));
            let told = match verdict {
                Verdict::True => "true",
                Verdict::False => "false",
                Verdict::Failed(_) => "fails",
            };
            assert_eq!(told, expected, "{condition}: {before:?} {after:?}");
        }
    }
}

fn facts<'a>(before: Option<&'a Row<'a>>, after: Option<&'a Row<'a>>) -> Facts<'a> {
    let op = match (before, after) {
        (None, _) => "create",
        (_, None) => "delete",
        _ => "update",
    };
    Facts {
        before,
        after,
        changed: &[],
        op,
        event: EventFacts {
            id: "",
            event_type: "",
            object_type: Some("sales.order"),
            source: "/rowcall/default",
            subject: None,
            time: chrono::DateTime::UNIX_EPOCH,
            data: None,
        },
        subscription: None,
        now: chrono::DateTime::UNIX_EPOCH,
        actor: None,
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
