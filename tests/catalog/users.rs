//! What the API made uses what the folder has: an apply that would break it is refused with its
//! name, and what is new and does not fit is told.

use rowcall::catalog::{
    edit::{By, Definition, entry_create},
    model::Catalog,
};
use serde_json::Value;

use super::{
    applied, apply_text, database,
    events::{FOLDER, TABLES},
    now, problem_lines,
    subscriptions::register_api,
};
use crate::support::postgres::{TestDatabase, execute};

/// Makes an event type or a constraint as the API does.
fn make(database: &TestDatabase, name: &str, json: Value) {
    let definition = if json.get("otherwise").is_some() {
        Definition::Constraint(serde_json::from_value(json).unwrap())
    } else {
        Definition::EventType(serde_json::from_value(json).unwrap())
    };
    let by = By {
        author: "ada".to_owned(),
        reason: String::new(),
        now: now(),
    };
    entry_create(&mut database.connect(), name, &definition, &by).unwrap();
}

const WEBHOOK: &str = r#""mode": "synchronous",
    "sink": {"kind": "webhook", "url": "https://crm.example.com/"}"#;

#[tokio::test]
async fn a_column_that_others_need_is_not_taken_away() {
    // GIVEN an event type, a constraint and a subscription of the API that look at a column
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    make(
        &database,
        "sales.order.grown",
        serde_json::json!({"object_type": "sales.order", "when": "new.amount > old.amount"}),
    );
    make(
        &database,
        "not-free",
        serde_json::json!({"applies_to": {"object_types": ["sales.order"]},
            "condition": "row.amount > 0", "otherwise": "suppress"}),
    );
    let crm = format!(r#"{{"object_types": ["*"], "filter": "row.id > 7", {WEBHOOK}}}"#);
    register_api(&database, "by-id", &crm);
    let crm =
        format!(r#"{{"event_types": ["sales.order.*"], "filter": "row.amount > 7", {WEBHOOK}}}"#);
    register_api(&database, "crm", &crm);

    // WHEN the folder hides it, or takes another table
    let folder = FOLDER.replace("\"row.amount >= 1000\"", "\"row.id >= 1000\"");
    let hidden = folder.replace("exclude = [\"note\"]", "exclude = [\"note\", \"amount\"]");
    execute(
        &database.url,
        "create table public.orders2 (id bigint primary key, status text, region text, note text, \
         card text)",
    );
    let moved = folder.replace("public.orders", "public.orders2");
    for changed in [hidden, moved] {
        let refused = apply_text(&database, &changed).await.unwrap_err();

        // THEN all three are named, and the one that does not look at it is not
        let lines = problem_lines(&refused);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        for (line, user) in lines.iter().zip([
            "the constraint `not-free` uses it: its condition: line 1, column 5: ",
            "the event type `sales.order.grown` uses it: its when: line 1, column 5: ",
            "the subscription `crm` uses it: its filter: line 1, column 5: ",
        ]) {
            let start = format!("m.toml:3:14: `sales.order` would change, and {user}");
            assert!(
                line.starts_with(&start) && line.contains("amount"),
                "{start}: {line}"
            );
            assert!(line.ends_with("through the API)"), "{line}");
        }
        let catalog = Catalog::load(&mut database.connect()).unwrap();
        assert!(catalog.object_types["sales.order"].exclude == ["note"]);
    }

    // WHEN the owner of the table drops it without asking
    execute(
        &database.url,
        "alter table public.orders drop column amount",
    );
    let (_, text) = applied(&database, &format!("# later\n{folder}")).await;

    // THEN the folder is not to blame
    assert!(
        text.contains("0 to add, 1 to change, 0 to remove"),
        "{text}"
    );
}

#[tokio::test]
async fn an_object_type_that_others_need_is_not_taken_away() {
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    make(
        &database,
        "sales.part.sold",
        serde_json::json!({"object_type": "sales.part"}),
    );
    let start = FOLDER.find("[object_type.\"sales.part\"]").unwrap();
    let end = FOLDER.find("[event_type.\"sales.order.rel").unwrap();
    let without = format!("{}{}", &FOLDER[..start], &FOLDER[end..]);
    let refused = apply_text(&database, &without).await.unwrap_err();
    assert_eq!(
        problem_lines(&refused),
        [
            "m.toml:2:12: `sales.part` would go, and the event type `sales.part.sold` uses it: it \
             names `sales.part` (keep it in the folder, or change or remove what uses it first, \
             through the API)"
        ]
    );

    // The folder's own are told at their place.
    let start = FOLDER.find("[object_type.\"sales.order\"]").unwrap();
    let end = FOLDER.find("[object_type.\"sales.part\"]").unwrap();
    let without = format!("{}{}", &FOLDER[..start], &FOLDER[end..]);
    let refused = apply_text(&database, &without).await.unwrap_err();
    let lines = problem_lines(&refused);
    assert!(
        lines
            .iter()
            .any(|line| line
                .starts_with("m.toml:8:15: the catalogue has no object type `sales.order`")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn what_is_new_and_does_not_fit_a_filter_is_told() {
    // GIVEN a filter that fits all there is
    let database = database(TABLES);
    execute(
        &database.url,
        "create table public.places (code text primary key)",
    );
    applied(&database, FOLDER).await;
    let crm = format!(r#"{{"object_types": ["sales.*"], "filter": "row.id > 7", {WEBHOOK}}}"#);
    register_api(&database, "crm", &crm);

    // WHEN an object type comes that it does not fit
    let place = "[object_type.\"sales.place\"]\ntable = \"public.places\"\nkey = [\"code\"]\n";
    let (_, text) = applied(&database, &format!("{FOLDER}{place}")).await;

    // THEN
    assert!(
        text.contains(
            "warning: the subscription `crm` is not told of `sales.place`, on which it can't be \
             judged (its filter: line 1, column 5: the rows have no column `id`"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn what_the_api_made_since_does_not_make_a_folder_invalid() {
    // GIVEN an event type of the API that the folder's patterns match
    let database = database(TABLES);
    applied(&database, FOLDER).await;
    make(
        &database,
        "sales.order.planned",
        serde_json::json!({"schema": {"type": "object"}}),
    );

    // WHEN the folder is changed somewhere else
    let (_, text) = applied(&database, &FOLDER.replace("mon-fri", "mon-sat")).await;

    // THEN it is applied, and told what does not fit
    let warnings: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("warning"))
        .collect();
    assert_eq!(warnings.len(), 2, "{text}");
    assert!(warnings[0].starts_with("warning: m.toml:20:14: "), "{text}");
    assert!(warnings[1].starts_with("warning: m.toml:30:11: "), "{text}");
    for warning in warnings {
        assert!(
            warning.ends_with("; what it does not fit is not matched by it"),
            "{text}"
        );
    }

    // AND its name and those of standard events are kept apart
    let mine = "[event_type.\"sales.order.planned\"]\nobject_type = \"sales.order\"\n";
    let refused = apply_text(&database, &format!("{FOLDER}{mine}"))
        .await
        .unwrap_err();
    let lines = problem_lines(&refused);
    assert!(
        lines[0].contains("was made through the API and is not the folder's"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_standard_event_does_not_take_a_name_that_is_given_away() {
    let database = database(TABLES);
    execute(
        &database.url,
        "create table public.places (code text primary key)",
    );
    applied(&database, FOLDER).await;
    make(
        &database,
        "sales.place.created",
        serde_json::json!({"schema": {"type": "object"}}),
    );
    let place = "[object_type.\"sales.place\"]\ntable = \"public.places\"\nkey = [\"code\"]\n";
    let refused = apply_text(&database, &format!("{FOLDER}{place}"))
        .await
        .unwrap_err();
    let lines = problem_lines(&refused);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("the event type `sales.place.created` was made through the API"),
        "{lines:#?}"
    );
}
