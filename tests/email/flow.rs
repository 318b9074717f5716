//! A subscription of mails, from the folder or the API to the mail.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use rowcall::{
    catalog::{
        apply::{ApplyError, plan},
        examine::Order,
        load::Folder,
    },
    db::Database,
    sink::{AddressGuard, MailSettings},
    subscription::secret::SecretKey,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    aiosmtpd::Aiosmtpd,
    script::{END, Script, Turn},
    settings,
    support::app::{ADMIN_KEY, Options, SECRET_KEY, TestApp},
};

const SHOP: &str = "create table public.orders (id bigint primary key, note text)";
const METADATA: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]

    [subscription.desk]
    object_types = ["sales.order"]
    mode = "synchronous"
    sink = { kind = "email", to = ["ada@example.org"], subject = "Order {{ event.subject }}" }
    retry = { schedule = ["0s", "5s"] }
"#;

async fn app(mail: Option<MailSettings>) -> TestApp {
    let options = Options {
        mail,
        ..Options::default()
    };
    TestApp::start_with(SHOP, options).await
}

async fn call(app: &TestApp, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN_KEY}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = app.instance.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn a_committed_row_becomes_a_mail() {
    // GIVEN a subscription of the folder
    let mut server = Aiosmtpd::start(&[]);
    let url = format!("smtp://127.0.0.1:{}?tls=none", server.port);
    let mut app = app(Some(settings(&url))).await;
    app.apply(METADATA).await;

    // WHEN a row is committed
    app.sql("insert into public.orders values (42, 'Grüße')");
    app.run_until_idle().await;

    // THEN it is a mail, and the delivery is settled
    let mail = server.mail();
    assert_eq!(mail.header("Subject"), "Order 42");
    assert!(
        mail.parts[0].text.contains("note: Grüße"),
        "{:?}",
        mail.parts
    );
    let states = app.texts("select state from rowcall.delivery");
    assert_eq!(states, ["delivered"]);
    let attempts = app.texts("select status from rowcall.attempt");
    assert_eq!(attempts, ["250"]);
}

#[tokio::test]
async fn an_acknowledgement_that_is_lost_is_asked_for_again() {
    // GIVEN
    let script = Script::start().await;
    let mut app = app(Some(settings(&script.url()))).await;
    app.apply(METADATA).await;
    script.on(END, [Turn::Drop, Turn::Say("554 5.6.0 no\r\n")]);

    // WHEN a mail's acknowledgement is lost, and the repeat refused for good
    app.sql("insert into public.orders values (42, 'x')");
    app.run_until_idle().await;
    app.advance(chrono::TimeDelta::seconds(10)).await;

    // THEN both were the same mail, and the delivery is given up and kept
    let mails = script.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].data, mails[1].data);
    assert_eq!(app.texts("select state from rowcall.delivery"), ["dead"]);
}

#[tokio::test]
async fn the_api_registers_shows_and_changes_it_without_a_secret() {
    // GIVEN
    let script = Script::start().await;
    let mut app = app(Some(settings(&script.url()))).await;
    app.apply(METADATA).await;
    let body = json!({
        "name": "mails", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "email", "to": ["bob@example.org"], "text": "{{ event.subject }}"},
    });

    // WHEN it is registered
    let (status, made) = call(&app, "POST", "/v1/subscriptions", &body).await;

    // THEN
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made.get("secret"), None, "{made}");
    assert_eq!(made["sink"], body["sink"]);
    let path = format!("/v1/subscriptions/{}", made["id"].as_str().unwrap());
    let (_, shown) = call(&app, "GET", &path, &Value::Null).await;
    assert_eq!(shown["sink"], body["sink"]);

    // AND a change is checked and used
    let (status, refused) = call(
        &app,
        "PATCH",
        &path,
        &json!({"sink": {"text": "{{ a ~ a }}"}}),
    )
    .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert_eq!(refused["errors"][0]["pointer"], "/sink/text");
    let (status, changed) = call(
        &app,
        "PATCH",
        &path,
        &json!({"sink": {"to": ["eve@example.org"]}}),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    app.sql("insert into public.orders values (1, 'x')");
    app.run_until_idle().await;
    let to: Vec<String> = script
        .mails()
        .into_iter()
        .flat_map(|mail| mail.to)
        .collect();
    assert!(to.contains(&"<eve@example.org>".to_owned()), "{to:?}");

    // AND it becomes a webhook only with a secret, which goes when it is mails again
    let hook = json!({"kind": "webhook", "url": "http://127.0.0.1:9/", "to": null, "text": null});
    let (status, refused) = call(&app, "PATCH", &path, &json!({"sink": hook})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert_eq!(refused["errors"][0]["pointer"], "/sink/secret");
    let mut hook = hook;
    hook["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let (status, changed) = call(&app, "PATCH", &path, &json!({"sink": hook})).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let secrets = "select count(*) from rowcall.subscription where secret is not null";
    assert_eq!(app.count(secrets), 1);
    let mails = json!({"kind": "email", "url": null, "to": ["bob@example.org"]});
    let (status, changed) = call(&app, "PATCH", &path, &json!({"sink": mails})).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(app.count(secrets), 0);
}

#[tokio::test]
async fn without_a_mail_server_it_is_refused_and_what_is_there_waits() {
    // GIVEN
    let script = Script::start().await;
    let mut with = app(Some(settings(&script.url()))).await;
    with.apply(METADATA).await;

    // WHEN an instance without a mail server has to send, and to register
    let mut without = with.sibling_with(Options::default()).await;
    with.sql("insert into public.orders values (1, 'x')");
    without.run_until_idle().await;
    let body = json!({
        "name": "mails", "object_types": ["sales.order"], "mode": "synchronous",
        "sink": {"kind": "email", "to": ["bob@example.org"]},
    });
    let (status, refused) = call(&without, "POST", "/v1/subscriptions", &body).await;

    // THEN
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert_eq!(refused["errors"][0]["pointer"], "/sink");
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("set ROWCALL_SMTP_URL"), "{message}");
    let details = without.texts("select detail from rowcall.attempt");
    assert!(details[0].contains("set ROWCALL_SMTP_URL"), "{details:?}");
    drop(without);
    with.advance(chrono::TimeDelta::seconds(10)).await;
    assert_eq!(script.mails().len(), 1);
}

#[tokio::test]
async fn a_password_is_in_no_log_or_attempt() {
    let script = Script::start().await;
    let url = format!("smtp://ada:hunter2@127.0.0.1:{}?tls=none", script.port);
    let mut app = app(Some(
        MailSettings::parse(&SecretString::from(url), Some("a@example.com")).unwrap(),
    ))
    .await;
    app.apply(METADATA).await;
    app.sql("insert into public.orders values (1, 'x')");
    app.run_until_idle().await;
    let details = app.texts("select detail from rowcall.attempt");
    assert!(details[0].contains("AUTH PLAIN"), "{details:?}");
    assert!(!details[0].contains("hunter2"), "{details:?}");
    // The second and last attempt.
    app.advance(chrono::TimeDelta::seconds(10)).await;
}

/// The report on a folder of one file, a line a problem.
async fn refused(app: &TestApp, sink: &str) -> Vec<String> {
    let toml = METADATA.replace(
        r#"sink = { kind = "email", to = ["ada@example.org"], subject = "Order {{ event.subject }}" }"#,
        sink,
    );
    assert!(toml.contains(sink));
    let key = Arc::new(SecretKey::parse(SECRET_KEY).unwrap());
    let folder = Folder::of_text("desk.toml", &toml);
    let mut order = Order::new(folder, AddressGuard::new(Vec::new()), Some(key));
    order.mail = Some(settings("smtps://mail.example.com"));
    let database = Database::new(&app.database.url, 1);
    match plan(&database, Arc::new(order)).await {
        Err(ApplyError::Metadata(error)) => error
            .problems()
            .iter()
            .map(|problem| problem.line())
            .collect(),
        other => panic!("{sink}: {other:?}"),
    }
}

#[tokio::test]
async fn the_folder_is_refused_with_line_and_column() {
    let app = app(None).await;
    for (sink, place, says) in [
        (
            r#"sink = { kind = "email", to = ["a@example.org", "b\nc@example.org"] }"#,
            "desk.toml:10:53",
            "has a line break",
        ),
        (
            r#"sink = { kind = "email", to = [] }"#,
            "desk.toml:10:35",
            "write 1 to 50",
        ),
        (
            r#"sink = { kind = "email", to = ["a@example.org"], html = "{{ a ~ a }}" }"#,
            "desk.toml:10:61",
            "make values grow",
        ),
        (
            r#"sink = { kind = "email", to = ["a@example.org"], cc = ["b@example.org"] }"#,
            "desk.toml:10:54",
            "`cc` is not a setting",
        ),
        (
            r#"sink = { kind = "email" }"#,
            "desk.toml:10:12",
            "`to` is missing",
        ),
        (
            r#"sink = { kind = "mail", to = ["a@example.org"] }"#,
            "desk.toml:10:21",
            "`mail` is not a value of `kind`",
        ),
    ] {
        let lines = refused(&app, sink).await;
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(place) && line.contains(says)),
            "{place}: {says} is not in {lines:?}"
        );
    }
}

#[tokio::test]
async fn the_api_says_which_setting_is_wrong() {
    let app = app(Some(settings("smtps://mail.example.com"))).await;
    app.apply(METADATA).await;
    for (sink, pointer) in [
        (json!({"kind": "email"}), "/sink/to"),
        (json!({"kind": "email", "to": "a@example.org"}), "/sink/to"),
        (json!({"kind": "email", "to": [1]}), "/sink/to"),
        (
            json!({"kind": "email", "to": ["a\r\nb@example.org"]}),
            "/sink/to/0",
        ),
        (
            json!({"kind": "email", "to": ["a@example.org"], "text": 1}),
            "/sink/text",
        ),
        (
            json!({"kind": "email", "to": ["a@example.org"], "url": "x"}),
            "/sink/url",
        ),
    ] {
        let body = json!({"name": "m", "object_types": ["sales.order"], "mode": "synchronous",
                          "sink": sink});
        let (status, refused) = call(&app, "POST", "/v1/subscriptions", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}
