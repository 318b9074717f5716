//! What came from the folder and was edited through the API since.

use rowcall::catalog::{
    apply::{ApplyError, Outcome},
    conflict::Take,
    edit::{By, Definition, entry_create, entry_remove, entry_replace},
    model::Catalog,
    plan::Kind,
};
use serde_json::json;

use super::{
    applied, apply_order, apply_text, database,
    events::{FOLDER, TABLES},
    now, order, problem_lines,
};
use crate::support::postgres::TestDatabase;

fn by() -> By {
    By {
        author: "ada".to_owned(),
        reason: "in a hurry".to_owned(),
        now: now(),
    }
}

/// Other hours through the API, one event type removed, and one of the API's own.
fn edit(database: &TestDatabase) {
    let mut connection = database.connect();
    let hours = json!({"applies_to": {"object_types": ["sales.order"]}, "rate": "5/h",
        "otherwise": "suppress"});
    let hours = Definition::Constraint(serde_json::from_value(hours).unwrap());
    let edited = entry_replace(&mut connection, "office-hours", &hours, &by()).unwrap();
    assert!(
        !edited.is_new && edited.warnings[0].message.contains("--take"),
        "{edited:?}"
    );
    let campaign = "sales.campaign.started";
    entry_remove(&mut connection, Kind::EventType, campaign, &by()).unwrap();
    let mine = json!({"object_type": "sales.order"});
    let mine = Definition::EventType(serde_json::from_value(mine).unwrap());
    entry_create(&mut connection, "sales.order.mine", &mine, &by()).unwrap();
}

async fn taken(database: &TestDatabase, toml: &str, take: Take) -> Result<Outcome, ApplyError> {
    let mut order = order(toml);
    order.take = Some(take);
    apply_order(database, order).await
}

fn plan_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Applied { plan, .. } => plan.to_string(),
        Outcome::Unchanged { version } => panic!("unchanged at {version}"),
    }
}

fn catalog(database: &TestDatabase) -> Catalog {
    Catalog::load(&mut database.connect()).unwrap()
}

#[tokio::test]
async fn an_edit_elsewhere_is_kept_until_the_folder_says_something_else() {
    // GIVEN
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    edit(&database);

    // WHEN the same folder is applied THEN the edits stay
    let same = apply_text(&database, FOLDER).await.unwrap();
    assert!(
        matches!(same, Outcome::Unchanged { version: 4 }),
        "{same:?}"
    );

    // WHEN another is THEN both edits are told, and nothing is changed
    let other = format!("# later\n{FOLDER}");
    let refused = apply_text(&database, &other).await.unwrap_err();
    let help = "(write the same into the folder, or apply with `--take folder` to overwrite it, or \
                with `--take catalogue` to leave it as it is)";
    assert_eq!(
        problem_lines(&refused),
        [
            format!(
                "m.toml:17:13: the event type `sales.campaign.started` was removed through the API \
                 since the folder was applied (version 3 by ada, 2027-01-15T08:00:00Z) {help}"
            ),
            format!(
                "m.toml:23:13: the constraint `office-hours` was changed through the API since the \
                 folder was applied (version 2 by ada, 2027-01-15T08:00:00Z) {help}"
            ),
        ]
    );
    assert_eq!(catalog(&database).version, 4);

    // WHEN it no longer has them at all THEN what was changed is still a conflict
    let start = other.find("[constraint.office").unwrap();
    let end = other.find("[subscription.erp]").unwrap();
    let without = format!("{}{}", &other[..start], &other[end..]);
    let start = without.find("[event_type.\"sales.camp").unwrap();
    let end = without.find("[constraint.large").unwrap();
    let without = format!("{}{}", &without[..start], &without[end..]);
    let lines = problem_lines(&apply_text(&database, &without).await.unwrap_err());
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].starts_with("m.toml:1:1: the constraint `office-hours` was"),
        "{lines:?}"
    );

    // WHEN it says the same THEN it is applied
    let agreed = format!(
        "{without}[constraint.office-hours]\napplies_to = {{ object_types = [\"sales.order\"] }}\n\
         rate = \"5/h\"\notherwise = \"suppress\"\n"
    );
    let (_, text) = applied(&database, &agreed).await;
    assert_eq!(text, "0 to add, 0 to change, 0 to remove, 7 unchanged\n");
}

#[tokio::test]
async fn the_folders_word_overwrites() {
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    edit(&database);

    // Even the same folder again.
    let text = plan_of(taken(&database, FOLDER, Take::Folder).await.unwrap());
    assert!(
        text.contains("+ event_type sales.campaign.started\n"),
        "{text}"
    );
    assert!(text.contains("~ constraint office-hours\n"), "{text}");
    assert!(
        text.ends_with("1 to add, 1 to change, 0 to remove, 6 unchanged\n"),
        "{text}"
    );
    let runs = catalog(&database);
    assert!(runs.constraints["office-hours"].spec.window.is_some());
    assert!(runs.event_types.contains_key("sales.order.mine"));

    // And then there is no conflict any more.
    let again = taken(&database, FOLDER, Take::Folder).await.unwrap();
    assert!(
        matches!(again, Outcome::Unchanged { version: 5 }),
        "{again:?}"
    );
    applied(&database, &format!("# later\n{FOLDER}")).await;
}

#[tokio::test]
async fn the_catalogues_word_leaves_what_runs() {
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    edit(&database);

    let other = FOLDER.replace(">= 1000", ">= 2000");
    let text = plan_of(taken(&database, &other, Take::Catalogue).await.unwrap());

    assert!(
        text.ends_with("0 to add, 1 to change, 0 to remove, 5 unchanged\n"),
        "{text}"
    );
    let runs = catalog(&database);
    assert_eq!(
        runs.constraints["office-hours"].spec.rate.as_deref(),
        Some("5/h")
    );
    assert_eq!(runs.constraints["office-hours"].version, 2);
    assert!(!runs.event_types.contains_key("sales.campaign.started"));
    let large = runs.constraints["large-orders"].spec.condition.as_deref();
    assert_eq!(large, Some("row.amount >= 2000"));
}
