//! The folder's subscriptions, and how they keep out of the way of the API's.

use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use rowcall::{
    catalog::{
        apply::{ApplyError, Outcome},
        model::Catalog,
    },
    subscription::{
        register::{Origin, Registration, register},
        secret::SecretKey,
    },
};
use secrecy::ExposeSecret;

use super::{
    ERP_SECRET, SHOP_SQL, SHOP_TOML, applied, apply_order, apply_text, database, now, order,
    problem_lines,
};
use crate::support::postgres::TestDatabase;

const ERP: &str = r#"
[subscription.erp]
event_types = ["shop.order.*"]
mode = "synchronous"
sink = { kind = "webhook", url = "https://erp.example.com/hooks", secret = { env = "ERP_SECRET" } }
"#;

#[derive(Debug, PartialEq, QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    definition: String,
}

fn rows(database: &TestDatabase) -> Vec<Row> {
    sql_query(
        "select name, state, definition::text as definition from rowcall.subscription \
         order by name, created_at, id",
    )
    .load(&mut database.connect())
    .unwrap()
}

/// Registers what the API would.
pub(crate) fn register_api(database: &TestDatabase, name: &str, json: &str) {
    let mut connection = database.connect();
    let catalog = Catalog::load(&mut connection).unwrap();
    let registration = Registration {
        name: name.to_owned(),
        spec: serde_json::from_str(json).unwrap(),
        origin: Origin::Api,
        owner: Some("ops".to_owned()),
    };
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    register(&mut connection, &key, &catalog, registration, now()).unwrap();
}

#[tokio::test]
async fn a_subscription_of_the_folder_is_registered_changed_and_removed() {
    // GIVEN
    let database = database(SHOP_SQL);
    let folder = format!("{SHOP_TOML}{ERP}");

    // WHEN it is new
    let (_, text) = applied(&database, &folder).await;

    // THEN it is registered, and its secret is nowhere to be read
    assert!(text.contains("+ subscription erp\n"), "{text}");
    assert!(
        text.contains("    sink.secret.env = \"ERP_SECRET\"\n"),
        "{text}"
    );
    let found = rows(&database);
    assert_eq!((found.len(), found[0].state.as_str()), (1, "active"));
    assert!(!text.contains(ERP_SECRET) && !found[0].definition.contains(ERP_SECRET));

    // WHEN it changes
    let moved = folder.replace("erp.example.com", "new.example.com");
    let (_, text) = applied(&database, &moved).await;

    // THEN the plan shows the change alone
    assert_eq!(
        text,
        "~ subscription erp\n    sink.url: \"https://erp.example.com/hooks\" -> \
         \"https://new.example.com/hooks\"\n0 to add, 1 to change, 0 to remove, 7 unchanged\n"
    );
    assert!(rows(&database)[0].definition.contains("new.example.com"));

    // WHEN it goes
    let (_, text) = applied(&database, SHOP_TOML).await;

    // THEN
    assert!(text.contains("- subscription erp\n"), "{text}");
    assert_eq!(rows(&database)[0].state, "deleted");
}

#[tokio::test]
async fn a_generated_secret_is_handed_over_once() {
    // GIVEN a subscription without a secret
    let database = database(SHOP_SQL);
    let folder = format!("{SHOP_TOML}{ERP}").replace(", secret = { env = \"ERP_SECRET\" }", "");

    // WHEN
    let outcome = apply_text(&database, &folder).await.unwrap();

    // THEN
    let Outcome::Applied { plan, secrets, .. } = outcome else {
        panic!("nothing was applied");
    };
    assert_eq!(secrets[0].0, "erp");
    assert!(secrets[0].1.expose_secret().starts_with("whsec_"));
    assert!(!plan.to_string().contains(secrets[0].1.expose_secret()));

    // AND later applies neither change nor tell it
    let changed = folder.replace("shop.order.*", "shop.item.*");
    match apply_text(&database, &changed).await.unwrap() {
        Outcome::Applied { secrets, .. } => assert!(secrets.is_empty()),
        Outcome::Unchanged { .. } => panic!("nothing was applied"),
    }
}

#[tokio::test]
async fn subscriptions_of_the_api_are_left_alone_and_keep_their_names() {
    // GIVEN a subscription of the API that has the name the folder wants
    let database = database(SHOP_SQL);
    applied(&database, SHOP_TOML).await;
    let json = r#"{"event_types": ["shop.stock.updated"], "mode": "synchronous",
        "sink": {"kind": "webhook", "url": "https://shop.example.com/"}}"#;
    register_api(&database, "erp", json);
    let before = rows(&database);

    // WHEN
    let refused = apply_text(&database, &format!("{SHOP_TOML}{ERP}"))
        .await
        .unwrap_err();

    // THEN the folder is refused with the way out
    let lines = problem_lines(&refused);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(
            "the name `erp` belongs to a subscription that was registered through the API with the \
             key ops (choose another name, or delete that subscription first (its id is "
        ),
        "{}",
        lines[0]
    );

    // WHEN the object type that it names goes
    let start = SHOP_TOML.find("[object_type.\"shop.stock\"]").unwrap();
    let refused = apply_text(&database, &SHOP_TOML[..start])
        .await
        .unwrap_err();

    // THEN that is refused with the subscription's name, and nothing is changed
    assert_eq!(
        problem_lines(&refused),
        [
            "m.toml:3:12: `shop.stock.updated` would go, and the subscription `erp` uses it: it \
             names `shop.stock.updated` (keep it in the folder, or change or remove what uses it \
             first, through the API)"
        ]
    );
    assert_eq!(rows(&database), before);
}

#[tokio::test]
async fn what_a_subscription_lacks_is_told_at_its_place() {
    let database = database(SHOP_SQL);
    let lines = SHOP_TOML.lines().count();
    for (from, to, place, expected) in [
        (
            "ERP_SECRET",
            "OTHER",
            (5, 84),
            "the environment variable `OTHER` is not set",
        ),
        (
            "shop.order.*",
            "shop.ordr.*",
            (3, 16),
            "no event type of the catalogue matches",
        ),
        (
            "mode =",
            "object_keys = [{ id = 1 }]\nmode =",
            (4, 15),
            "name exactly one in `object_types`",
        ),
    ] {
        let folder = format!("{SHOP_TOML}{}", ERP.replace(from, to));
        let refused = apply_text(&database, &folder).await.unwrap_err();
        let found = problem_lines(&refused);
        let place = format!("m.toml:{}:{}: ", lines + place.0, place.1);
        assert!(
            found.len() == 1 && found[0].starts_with(&place) && found[0].contains(expected),
            "{place}{expected}: {found:?}"
        );
    }

    // Only Postgres can say whether a key column holds a value; that has a place too.
    let erp = ERP.replace(
        "event_types = [\"shop.order.*\"]",
        "object_types = [\"shop.order\"]\nobject_keys = [{ id = \"x\" }]",
    );
    let refused = apply_text(&database, &format!("{SHOP_TOML}{erp}"))
        .await
        .unwrap_err();
    let found = problem_lines(&refused);
    assert!(
        found[0].starts_with(&format!("m.toml:{}:23: ", lines + 4)),
        "{found:?}"
    );
}

#[tokio::test]
async fn without_a_secret_key_only_a_folder_without_subscriptions_is_applied() {
    let database = database(SHOP_SQL);
    let keyless = |toml: &str| {
        let mut order = order(toml);
        order.secret_key = None;
        order
    };
    let refused = apply_order(&database, keyless(&format!("{SHOP_TOML}{ERP}"))).await;
    assert!(
        matches!(refused, Err(ApplyError::NoSecretKey)),
        "{refused:?}"
    );
    apply_order(&database, keyless(SHOP_TOML)).await.unwrap();
}
