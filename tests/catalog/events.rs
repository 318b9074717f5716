//! Event types, constraints and filters of a folder.

use rowcall::catalog::model::Catalog;

use super::{applied, apply_text, database, problem_lines};

pub(crate) const TABLES: &str = "
    create domain public.money_amount as numeric(10, 2);
    create table public.orders (id bigint primary key, status text, region text, note text,
        card text, amount public.money_amount);
    create table public.parts (id bigint primary key, sku text);
";

pub(crate) const FOLDER: &str = r#"
[namespace.sales]
[object_type."sales.order"]
table = "public.orders"
key = ["id"]
exclude = ["note"]
mask = ["card"]
[object_type."sales.part"]
table = "public.parts"
key = ["id"]
[event_type."sales.order.released"]
description = "It may be shipped"
object_type = "sales.order"
on = ["update"]
when = "old.status != 'released' && new.status == 'released'"
[event_type."sales.campaign.started"]
schema = { type = "object", required = ["budget"], properties = { budget = { type = "number" } } }
[constraint.large-orders]
applies_to = { event_types = ["sales.order.*"], labels = { desk = "eu" } }
condition = "row.amount >= 1000"
otherwise = "suppress"
[constraint.office-hours]
applies_to = { object_types = ["sales.order"] }
window = { days = "mon-fri", from = "08:00", to = "18:00", time_zone = "Europe/Berlin" }
judge = "at_send"
otherwise = "hold"
hold_at_most = "72h"
[subscription.erp]
event_types = ["sales.order.*"]
filter = "row.region == 'EU'"
mode = "synchronous"
labels = { desk = "eu" }
sink = { kind = "webhook", url = "https://erp.example.com/hooks", secret = { env = "ERP_SECRET" } }
"#;

#[tokio::test]
async fn event_types_and_constraints_are_added_changed_and_removed() {
    // GIVEN
    let database = database(TABLES);
    let mut connection = database.connect();

    // WHEN they are new
    let (version, text) = applied(&database, FOLDER).await;

    // THEN the plan shows them with their settings, before the subscription
    assert_eq!(version, 1);
    for part in [
        "+ event_type sales.campaign.started\n    schema.properties.budget.type = \"number\"\n",
        "+ event_type sales.order.released\n    description = \"It may be shipped\"\n    \
         object_type = \"sales.order\"\n    on = [\"update\"]\n    when = \"old.status != \
         'released' && new.status == 'released'\"\n",
        "+ constraint large-orders\n    applies_to.event_types = [\"sales.order.*\"]\n    \
         applies_to.labels.desk = \"eu\"\n    condition = \"row.amount >= 1000\"\n    judge = \
         \"at_event\"\n    otherwise = \"suppress\"\n+ constraint office-hours\n",
        "+ subscription erp\n    event_types = [\"sales.order.*\"]\n    filter = \"row.region == \
         'EU'\"\n",
        "8 to add, 0 to change, 0 to remove, 0 unchanged\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(!text.contains("warning"), "{text}");
    let catalog = Catalog::load(&mut connection).unwrap();
    assert!(catalog.is_api_event_type("sales.campaign.started"));
    assert!(!catalog.is_api_event_type("sales.order.released"));
    assert!(!catalog.is_api_event_type("sales.order.created"));
    assert_eq!(catalog.event_types().count(), 2 * 5 + 2 + 2);
    assert_eq!(catalog.constraints["large-orders"].version, 1);

    // WHEN some change and others go
    let changed = FOLDER.replace(">= 1000", ">= 2000").replace(
        "to = \"18:00\", time_zone = \"Europe/Berlin\"",
        "to = \"20:00\"",
    );
    let start = changed.find("[event_type.\"sales.campaign").unwrap();
    let end = changed.find("[constraint.large").unwrap();
    let changed = format!("{}{}", &changed[..start], &changed[end..]);
    let (version, text) = applied(&database, &changed).await;

    // THEN each is told, and only what changed has the new version
    assert_eq!(version, 2);
    assert_eq!(
        text,
        "- event_type sales.campaign.started\n~ constraint large-orders\n    condition: \
         \"row.amount >= 1000\" -> \"row.amount >= 2000\"\n~ constraint office-hours\n    \
         window.time_zone: \"Europe/Berlin\" -> (not set)\n    window.to: \"18:00\" -> \
         \"20:00\"\n0 to add, 2 to change, 1 to remove, 5 unchanged\n"
    );
    let catalog = Catalog::load(&mut connection).unwrap();
    assert_eq!(catalog.constraints["large-orders"].version, 2);
    assert!(!catalog.event_types.contains_key("sales.campaign.started"));
    let (version, text) = applied(&database, &format!("# again\n{changed}")).await;
    assert_eq!(version, 3);
    assert!(text.starts_with("0 to add, 0 to change"), "{text}");
    let catalog = Catalog::load(&mut connection).unwrap();
    assert_eq!(catalog.constraints["large-orders"].version, 2);
}

#[tokio::test]
async fn what_does_not_fit_is_told_at_its_place_inside_the_expression() {
    let database = database(TABLES);
    let mut wrong = Vec::new();
    // What is replaced by what, where in that the place is, and what the message says.
    for (from, to, at, says) in [
        (
            "new.status ==",
            "new.statu ==",
            "statu ",
            "did you mean `status`?",
        ),
        (
            "new.status == 'released'",
            "new.note == 'x'",
            "note",
            "excluded",
        ),
        (
            "new.status == 'released'",
            "new.card == 'x'",
            "card",
            "masked",
        ),
        ("row.amount >= 1000", "row.amount >= 'x'", "'x'", "number"),
        (
            "row.amount >= 1000",
            "row.amount",
            "amount",
            "true or false",
        ),
        ("\"row.amount >= 1000", "\"1 > 2", "\"", "can never pass"),
        (
            "row.region == 'EU'",
            "row.regon == 'EU'",
            "regon",
            "did you mean `region`?",
        ),
        ("row.region == 'EU'", "row.region ==", "", "m.toml"),
        ("\"row.region == 'EU'", "\"1 > 2", "\"", "never true"),
        (
            "row.region == 'EU'",
            "subscription.labels.desk",
            "desk",
            "true or false",
        ),
        (
            "\"row.region == 'EU'\"",
            "\"\"\"\nrow.region == 'EU' ||\n  row.regon == 'x'\"\"\"",
            "regon",
            "did you mean `region`?",
        ),
        // Where each character is can't be told here, and the message says so itself.
        (
            "\"row.region == 'EU'\"",
            "\"row.region == '\\u0045U' || row.regon == 'x'\"",
            "\"",
            "line 1, column 27: ",
        ),
        (
            "\"sales.order.released\"",
            "\"sales.order.updated\"",
            "\"",
            "is a standard event",
        ),
        (
            "\"sales.order.released\"",
            "\"slaes.order.released\"",
            "\"",
            "did you mean `sales`?",
        ),
        (
            "\"sales.order.released\"",
            "\"sales.released\"",
            "\"",
            "is too short",
        ),
        (
            "\"sales.order.released\"",
            "\"sales.Order.released\"",
            "\"",
            "`Order` is not a name",
        ),
        (
            "[\"update\"]",
            "[\"delete\", \"delete\"]",
            "\"delete\"]",
            "named twice",
        ),
        (
            "description = \"It may be shipped\"",
            "schema = { type = \"object\" }",
            "{",
            "leave `schema` out",
        ),
        ("\"number\"", "\"numbr\"", "\"numbr", "no JSON Schema"),
        (
            "[\"sales.order.*\"], lab",
            "[\"sales.ordr.*\"], lab",
            "\"",
            "`sales.order.*`?",
        ),
        (
            "{ object_types = [\"sales.order\"] }",
            "{}",
            "{}",
            "apply to nothing",
        ),
        (
            "from = \"08:00\"",
            "from = \"18:00\"",
            "\"18:00\", time",
            "window is empty",
        ),
        ("Europe/Berlin", "Europe/Berln", "", "Europe/Berlin"),
        ("mon-fri", "mon-frei", "", "frei"),
        ("hold_at_most = \"72h\"", "#", "", "must not wait for ever"),
    ] {
        // GIVEN
        assert_eq!(FOLDER.matches(from).count(), 1, "{from}");
        let start = FOLDER.find(from).unwrap();
        let folder = FOLDER.replace(from, to);

        // WHEN
        let refused = apply_text(&database, &folder).await.unwrap_err();

        // THEN
        let lines = problem_lines(&refused);
        let offset = start + folder[start..].find(at).unwrap();
        let line = folder[..offset].matches('\n').count() + 1;
        let column = offset - folder[..offset].rfind('\n').unwrap();
        let place = match at {
            "" => "m.toml:".to_owned(),
            _ => format!("m.toml:{line}:{column}: "),
        };
        let is_told = lines.len() == 1 && lines[0].starts_with(&place) && lines[0].contains(says);
        if !is_told {
            wrong.push(format!("{to}: {place}{says}: {lines:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(Catalog::load(&mut database.connect()).unwrap().version, 0);
}

#[tokio::test]
async fn what_is_probably_not_meant_is_a_warning_with_its_place() {
    let database = database(TABLES);
    let folder = FOLDER
        .replace("row.region == 'EU'", "true")
        .replace("row.amount >= 1000", "1 < 2")
        .replace(
            "old.status != 'released' && new.status == 'released'",
            "true",
        )
        .replace(
            "applies_to = { object_types = [\"sales.order\"] }",
            "applies_to = { subscriptions = [\"erp\", \"er*\", \"crm\"] }",
        );
    let (_, text) = applied(&database, &folder).await;
    let warnings: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("warning"))
        .collect();
    assert_eq!(
        warnings,
        [
            "warning: m.toml:15:8: this is always true; leave `when` out if that is meant",
            "warning: m.toml:20:13: this is always true; leave `condition` out if that is meant",
            "warning: m.toml:30:10: this is always true; leave `filter` out if that is meant",
            "warning: m.toml:23:47: no subscription is called `crm`; the constraint waits for one",
        ]
    );
}

#[tokio::test]
async fn all_is_told_together() {
    let database = database(TABLES);
    let folder = FOLDER
        .replace("public.parts", "public.part")
        .replace("row.region == 'EU'", "row.regon == 'EU'")
        .replace("row.amount >= 1000", "row.amunt >= 1000")
        .replace(
            "object_type = \"sales.order\"",
            "object_type = \"sales.ordr\"",
        );
    let refused = apply_text(&database, &folder).await.unwrap_err();
    let lines = problem_lines(&refused);
    let places: Vec<&str> = lines
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["m.toml:9:9", "m.toml:13:15", "m.toml:20:18", "m.toml:30:15"],
        "{lines:#?}"
    );
}
