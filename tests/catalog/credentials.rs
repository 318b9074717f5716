//! Headers, key pairs and consent of a folder's webhooks.

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};
use rowcall::{
    catalog::apply::Outcome,
    subscription::{list::store::subscription_load, secret::SecretKey},
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    ERP_SECRET, SHOP_SQL, SHOP_TOML, apply_order, apply_text, database, order, problem_lines,
};

fn folder(sink: &str) -> String {
    format!(
        "{SHOP_TOML}\n[subscription.erp]\nevent_types = [\"shop.order.*\"]\nmode = \"synchronous\"\n\
         [subscription.erp.sink]\nkind = \"webhook\"\nurl = \"https://erp.example.com/hooks\"\n{sink}\n"
    )
}

const SINK: &str = "signature = \"v1a\"\nverify = \"handshake\"\n\
    headers = { X-Api-Key = { env = \"ERP_SECRET\" } }\nbearer = { env = \"ERP_SECRET\" }";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

#[tokio::test]
async fn values_come_from_the_environment_and_are_kept_apart() {
    // GIVEN a folder whose headers come from variables
    let database = database(SHOP_SQL);
    let outcome = apply_text(&database, &folder(SINK)).await.unwrap();

    // THEN no secret is handed over, the definition has the names, and the sink has the values
    let Outcome::Applied { secrets, plan, .. } = outcome else {
        panic!("unchanged");
    };
    assert!(secrets.iter().all(|(name, _)| name != "erp"));
    assert!(!plan.to_string().contains(ERP_SECRET));
    let row: Row = sql_query(
        "select definition::text || state || state_reason as text from rowcall.subscription \
         where name = 'erp'",
    )
    .get_result(&mut database.connect())
    .unwrap();
    assert!(
        !row.text.contains(ERP_SECRET) && row.text.contains("ERP_SECRET"),
        "{}",
        row.text
    );
    assert!(row.text.contains("pausedunverified"), "{}", row.text);
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    let list = subscription_load(&mut database.connect(), &key).unwrap();
    let erp = list
        .subscriptions
        .iter()
        .find(|one| one.subscription.name == "erp")
        .unwrap();
    let kept = erp.kept.credentials.as_ref().unwrap().to_text();
    assert_eq!(kept.expose_secret().matches(ERP_SECRET).count(), 2);

    // WHEN nothing changed, THEN nothing is written
    let again = apply_text(&database, &folder(SINK)).await.unwrap();
    assert!(matches!(again, Outcome::Unchanged { .. }));
}

#[tokio::test]
async fn a_value_in_the_file_is_refused_and_not_repeated() {
    let database = database(SHOP_SQL);
    let sink = "headers = { X-Api-Key = \"hunter2\", Host = { env = \"ERP_SECRET\" } }\n\
        basic = { user = \"me\", password = \"hunter2\" }\nbearer = { env = \"NOT_SET\" }";
    let refused = apply_text(&database, &folder(sink)).await.unwrap_err();
    let lines = problem_lines(&refused);
    let report = format!("{:?}", miette::Report::new(refused));
    assert!(!report.contains("hunter2"), "{report}");
    for says in [
        "the value of `X-Api-Key` must not be written in a metadata file",
        "the value of `password` must not be written in a metadata file",
        "the environment variable `NOT_SET` is not set",
        "`host` is set by Rowcall",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(says)),
            "`{says}` is not in {lines:#?}"
        );
    }
    let wrong = "headers = { X = [\"hunter2\"] }";
    let refused = apply_text(&database, &folder(wrong)).await.unwrap_err();
    let report = format!("{:?}", miette::Report::new(refused));
    assert!(
        report.contains("{ env = \"NAME\" }") && !report.contains("hunter2"),
        "{report}"
    );
}

#[tokio::test]
async fn a_secret_that_a_folder_replaces_signs_for_a_while() {
    // GIVEN a folder that takes the secret from a variable
    let database = database(SHOP_SQL);
    let sink = "secret = { env = \"ERP_SECRET\" }";
    apply_text(&database, &folder(sink)).await.unwrap();

    // WHEN the variable has another value, and the folder is applied with a change
    let mut other = order(&folder(&format!("{sink}\nbearer = {{ env = \"TOKEN\" }}")));
    other.environment = |name| {
        let text = if name == "TOKEN" {
            "t"
        } else {
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        };
        Some(SecretString::from(text))
    };
    apply_order(&database, other).await.unwrap();

    // THEN both sign
    let key = SecretKey::parse(&"0f".repeat(32)).unwrap();
    let list = subscription_load(&mut database.connect(), &key).unwrap();
    let erp = list
        .subscriptions
        .iter()
        .find(|one| one.subscription.name == "erp")
        .unwrap();
    assert!(
        erp.secret
            .as_ref()
            .unwrap()
            .expose()
            .starts_with("whsec_MfKQ")
    );
    assert_eq!(erp.kept.previous.as_ref().unwrap().0.expose(), ERP_SECRET);
}
