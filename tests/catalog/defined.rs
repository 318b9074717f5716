//! Object types of which only what is written down is captured.

use rowcall::catalog::model::Catalog;

use super::{applied, apply_text, database, problem_lines};

const TABLE: &str = "create table public.orders (id bigint primary key, status text)";

fn folder(settings: &str, more: &str) -> String {
    format!(
        "[namespace.s]\n[object_type.\"s.o\"]\ntable = \"public.orders\"\nkey = [\"id\"]\n{settings}\n\
         {more}\n"
    )
}

const RELEASED: &str = "[event_type.\"s.o.released\"]\nobject_type = \"s.o\"\non = [\"update\"]\n";

fn subscription(names: &str) -> String {
    format!(
        "[subscription.a]\n{names}\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"https://example.com/\" }}\n"
    )
}

#[tokio::test]
async fn a_when_clause_without_a_condition_is_refused() {
    let database = database(TABLE);
    let refused = apply_text(&database, &folder("when_clause = true", "")).await;
    assert_eq!(
        problem_lines(&refused.unwrap_err()),
        [
            "m.toml:5:15: `when_clause` judges what is captured, and `capture = \"all\"` captures every \
          change (write capture = \"defined\" as well, or leave `when_clause` out)"
        ]
    );
    applied(
        &database,
        &folder("capture = \"defined\"\nwhen_clause = true", RELEASED),
    )
    .await;
}

#[tokio::test]
async fn nothing_captured_is_told() {
    let database = database(TABLE);
    let (_, plan) = applied(&database, &folder("capture = \"defined\"", "")).await;
    let warning = "nothing of `s.o` is captured until an event type of it is written down";
    assert!(plan.contains(warning), "{plan}");
    let (_, plan) = applied(&database, &folder("capture = \"defined\"", RELEASED)).await;
    assert!(!plan.contains(warning), "{plan}");
}

#[tokio::test]
async fn the_standard_events_do_not_exist_and_who_names_one_is_told_what_to_do() {
    // GIVEN
    let database = database(TABLE);
    let defined = |more: &str| folder("capture = \"defined\"", &format!("{RELEASED}{more}"));
    for (entry, place) in [
        (subscription("event_types = [\"s.o.created\"]"), "m.toml:10:16"),
        (
            "[constraint.c]\napplies_to = { event_types = [\"s.o.created\"] }\n\
             window = { days = \"mon-fri\", from = \"08:00\", to = \"18:00\", time_zone = \"UTC\" }\n\
             otherwise = \"suppress\"\n"
                .to_owned(),
            "m.toml:10:31",
        ),
    ] {
        // WHEN
        let refused = apply_text(&database, &defined(&entry)).await.unwrap_err();
        // THEN
        assert_eq!(
            problem_lines(&refused),
            [format!(
                "{place}: `s.o` has no standard events, for only what its written-down event types \
                 can match is captured (capture = \"defined\"); write an event type down and name \
                 that, or set capture = \"all\""
            )]
        );
    }
    // AND patterns and object types match what there is
    let both = subscription("event_types = [\"s.o.*\"]\nobject_types = [\"s.o\"]");
    applied(&database, &defined(&both)).await;
    let catalog = Catalog::load(&mut database.connect()).unwrap();
    let known: Vec<String> = catalog.event_types().collect();
    assert_eq!(
        known,
        [
            "s.o.truncated",
            "s.o.existed",
            "rowcall.capture.gap",
            "rowcall.subscription.disabled",
            "s.o.released"
        ]
    );
}

#[tokio::test]
async fn a_standard_name_may_be_written_down_and_is_in_the_way_of_capturing_everything() {
    let database = database(TABLE);
    let created = "[event_type.\"s.o.created\"]\nobject_type = \"s.o\"\non = [\"create\"]\n\
                   when = \"row.status == 'open'\"\n";
    let named = format!(
        "{created}{}",
        subscription("event_types = [\"s.o.created\"]")
    );
    applied(&database, &folder("capture = \"defined\"", &named)).await;
    let refused = apply_text(&database, &folder("capture = \"all\"", &named)).await;
    let lines = problem_lines(&refused.unwrap_err());
    assert!(
        lines.len() == 1 && lines[0].contains("`s.o.created` is a standard event"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_subscription_of_the_api_keeps_its_standard_event() {
    // GIVEN a subscription that was registered elsewhere
    let database = database(TABLE);
    applied(
        &database,
        &folder("", &subscription("event_types = [\"s.o.updated\"]")),
    )
    .await;
    crate::support::postgres::execute(
        &database.url,
        "update rowcall.subscription set origin = 'api'",
    );
    // WHEN
    let refused = apply_text(&database, &folder("capture = \"defined\"", RELEASED)).await;
    // THEN
    let lines = problem_lines(&refused.unwrap_err());
    assert!(
        lines.len() == 1
            && lines[0].contains("the subscription `a` uses it: it names `s.o.updated`"),
        "{lines:?}"
    );
}
