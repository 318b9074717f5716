//! `/v1/constraints`.

use rowcall::catalog::model::Catalog;
use serde_json::{Value, json};

use crate::harness::{ADMIN_KEY, Api, order_subscription};

const CALM: &str = "/v1/constraints/calm";

fn calm() -> Value {
    json!({
        "name": "calm",
        "applies_to": {"event_types": ["sales.order.*"], "labels": {"desk": "eu"}},
        "condition": "row.status != 'draft'",
        "window": {"days": "mon-fri", "from": "08:00", "to": "18:00", "time_zone": "Europe/Berlin"},
        "rate": "100/h",
        "judge": "at_send",
        "otherwise": "hold",
        "hold_at_most": "3days",
    })
}

fn version_of(api: &Api, name: &str) -> Option<i64> {
    let catalog = Catalog::load(&mut api.database.connect()).unwrap();
    catalog
        .constraints
        .get(name)
        .map(|constraint| constraint.version)
}

#[tokio::test]
async fn a_constraint_is_made_shown_replaced_and_removed() {
    // GIVEN
    let api = Api::start();

    // WHEN
    let made = api.post("/v1/constraints", &calm()).await;

    // THEN what is shown is what was sent, and where it comes from
    assert_eq!(
        (made.status, version_of(&api, "calm")),
        (201, Some(2)),
        "{}",
        made.text
    );
    let mut expected = calm();
    for (name, value) in [
        ("standard", json!(false)),
        ("state", json!("active")),
        ("origin", json!("api")),
        ("version", json!(2)),
        ("changed_at", json!("2026-01-31T08:00:00Z")),
        ("author", json!("bootstrap")),
        ("reason", json!("")),
    ] {
        expected[name] = value;
    }
    assert_eq!(made.json, expected);
    assert_eq!(api.get(CALM).await.json, expected);
    assert_eq!(
        api.get("/v1/constraints").await.json["items"],
        json!([expected])
    );

    // WHEN it is put with the body that was shown THEN its own fields are needed alone
    let shown = api
        .call(ADMIN_KEY, "PUT", CALM, &expected.to_string())
        .await;
    shown.is_problem(422, "invalid-body", &["there is no such field"]);
    let mut other = calm();
    other["rate"] = json!("5/m");
    let put = api
        .call(
            ADMIN_KEY,
            "PUT",
            &format!("{CALM}?reason=slower"),
            &other.to_string(),
        )
        .await;
    assert_eq!(
        (
            put.status,
            &put.json["rate"],
            &put.json["reason"],
            version_of(&api, "calm")
        ),
        (200, &json!("5/m"), &json!("slower"), Some(3))
    );

    // WHEN THEN
    let removed = api.call(ADMIN_KEY, "DELETE", CALM, "").await;
    assert_eq!((removed.status, version_of(&api, "calm")), (204, None));
    api.get(CALM)
        .await
        .is_problem(404, "not-found", &["there is no constraint calm"]);
    api.call(ADMIN_KEY, "DELETE", CALM, "")
        .await
        .is_problem(404, "not-found", &[]);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_pointer_and_nothing_is_changed() {
    let api = Api::start();
    let revision = api.stored().revision;
    for (changes, pointer, says) in [
        (json!({"name": "Calm hours"}), "/name", "lower-case letters"),
        (json!({"applies_to": {}}), "/applies_to", "apply to nothing"),
        (
            json!({"applies_to": {"event_types": ["sales.ordr.*"]}}),
            "/applies_to/event_types/0",
            "did you mean `sales.order.",
        ),
        (
            json!({"applies_to": {"object_types": ["sales.order", "sales.orders"]}}),
            "/applies_to/object_types/1",
            "did you mean `sales.order`?",
        ),
        (
            json!({"applies_to": {"events": ["*"]}}),
            "/applies_to/events",
            "there is no such field",
        ),
        (
            json!({"condition": null, "window": null, "rate": null, "otherwise": "suppress",
                   "hold_at_most": null}),
            "",
            "nothing that must pass",
        ),
        (
            json!({"condition": "row.statu == 'x'"}),
            "/condition",
            "line 1, column 5: ",
        ),
        (
            json!({"condition": "row.status"}),
            "/condition",
            "line 1, column ",
        ),
        (
            json!({"condition": "1 == 2"}),
            "/condition",
            "can never pass",
        ),
        (
            json!({"applies_to": {"labels": {"desk": "eu"}}}),
            "/condition",
            "on `sales.part`: ",
        ),
        (
            json!({"window": {"from": "08:00", "to": "08:00"}}),
            "/window/to",
            "",
        ),
        (
            json!({"window": {"days": "mon-frei", "from": "08:00", "to": "18:00"}}),
            "/window/days",
            "",
        ),
        (
            json!({"window": {"from": "08:00", "to": "18:00", "time_zone": "Europe/Berln"}}),
            "/window/time_zone",
            "Europe/Berlin",
        ),
        (
            json!({"window": {"from": "08:00"}}),
            "/window/to",
            "missing",
        ),
        (json!({"rate": "100"}), "/rate", ""),
        (
            json!({"judge": "at_sent"}),
            "/judge",
            "did you mean `at_send`?",
        ),
        (
            json!({"otherwise": "holds"}),
            "/otherwise",
            "did you mean `hold`?",
        ),
        (json!({"hold_at_most": null}), "/hold_at_most", "72h"),
        (
            json!({"hold_at_most": "99days"}),
            "/hold_at_most",
            "out of bounds",
        ),
        (
            json!({"window": null, "rate": null}),
            "/otherwise",
            "what does not pass now never will",
        ),
    ] {
        // WHEN
        let mut body = calm();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = api.post("/v1/constraints", &body).await;

        // THEN
        refused.is_problem(422, "invalid-body", &[says]);
        assert!(
            refused.pointers().contains(&pointer),
            "{changes}: {}",
            refused.text
        );
    }
    assert_eq!(
        (api.stored().revision, version_of(&api, "calm")),
        (revision, None)
    );
}

#[tokio::test]
async fn what_is_probably_not_meant_is_a_warning() {
    let api = Api::start();
    let mut body = calm();
    body["condition"] = json!("true");
    body["applies_to"] = json!({"subscriptions": ["erp", "nobody", "*_x", "er*"]});
    let subscription = order_subscription("erp");
    assert_eq!(
        api.post("/v1/subscriptions", &subscription).await.status,
        201
    );

    let made = api.post("/v1/constraints", &body).await;

    assert_eq!(made.status, 201, "{}", made.text);
    let mut warnings: Vec<(&str, &str)> = made.json["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| {
            (
                warning["pointer"].as_str().unwrap(),
                warning["message"].as_str().unwrap(),
            )
        })
        .collect();
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            (
                "/applies_to/subscriptions/1",
                "no subscription is called `nobody`; the constraint waits for one"
            ),
            (
                "/applies_to/subscriptions/2",
                "no subscription is called `*_x`; the constraint waits for one"
            ),
            (
                "/condition",
                "this is always true; leave `condition` out if that is meant"
            ),
        ]
    );
}
