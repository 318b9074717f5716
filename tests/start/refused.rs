//! What is refused at registration, and what is told then.

use serde_json::{Value, json};

use crate::{
    shop::{ask, mirror, publish, register, shop, shop_with, start_of, told_sorted},
    support::{
        app::{Options, TestApp},
        postgres::{Kind, execute},
        receiver::Receiver,
    },
};

/// The problem of a registration that is refused: pointer and message.
async fn refused(app: &TestApp, body: &Value) -> (String, String) {
    let (status, answer) = ask(app, "POST", "/v1/subscriptions", body).await;
    assert_eq!(status, 422, "{answer}");
    let problem = &answer["errors"][0];
    let text = |name: &str| problem[name].as_str().unwrap().to_owned();
    (text("pointer"), text("message"))
}

#[tokio::test]
async fn a_start_that_can_not_be_is_refused_with_what_to_do() {
    let receiver = Receiver::start().await;
    let app = shop("").await;
    for (more, expected) in [
        (
            json!({"start": "yesterday"}),
            "`yesterday` is no start: write `now`, `existing`, or a time",
        ),
        (
            json!({"start": "2200-01-01T00:00:00Z"}),
            "is in the future; write a time that is past",
        ),
        (
            json!({"object_types": null, "event_types": ["sales.order.created"]}),
            "no such type is named: add `sales.order.existed` to `event_types`",
        ),
    ] {
        let (pointer, message) = refused(&app, &mirror(&receiver, &more)).await;
        assert_eq!(pointer, "/start");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(app.count("select count(*) from rowcall.subscription"), 0);
}

#[tokio::test]
async fn a_start_stays_as_it_was_registered() {
    // GIVEN subscriptions with and without a start
    let receiver = Receiver::start().await;
    let mut app = shop("").await;
    let started = register(&app, &mirror(&receiver, &json!({}))).await;
    let plain = register(
        &app,
        &mirror(&receiver, &json!({"name": "plain", "start": null})),
    )
    .await;
    app.run_until_idle().await;
    // WHEN somebody changes it, THEN that is refused
    for (id, start, stays) in [
        (&started, json!("now"), "existing"),
        (&plain, json!("existing"), "now"),
    ] {
        let (status, answer) = ask(
            &app,
            "PATCH",
            &format!("/v1/subscriptions/{id}"),
            &json!({ "start": start }),
        )
        .await;
        assert_eq!(status, 422, "{answer}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(&format!("stays `{stays}`")), "{message}");
    }
    // AND the same, and everything else, is taken
    let path = format!("/v1/subscriptions/{started}");
    let same = json!({"start": "existing", "labels": {"a": "b"}});
    let (status, answer) = ask(&app, "PATCH", &path, &same).await;
    assert_eq!(
        (status, &answer["start"]["state"]),
        (200, &json!("done")),
        "{answer}"
    );
    let (_, answer) = ask(
        &app,
        "GET",
        &format!("/v1/subscriptions/{plain}"),
        &Value::Null,
    )
    .await;
    assert!(answer.get("start").is_none());
}

#[tokio::test]
async fn rows_that_rowcall_may_not_read_are_refused_with_the_grant() {
    // GIVEN a service role that may capture the changes of a table of another role, and no more
    let receiver = Receiver::start().await;
    let app = shop_with(
        "",
        "",
        Options {
            kind: Kind::Standard,
            ..Options::default()
        },
    )
    .await;
    let name = app.texts("select current_database()").remove(0);
    let role = format!("service_{name}");
    app.sql(&format!(
        "create role {role} login superuser password 'x'; create schema hidden;
         create table hidden.parts (id integer primary key);
         revoke all on schema hidden from public"
    ));
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\nkey = [\"id\"]\n\
         [object_type.\"sales.part\"]\ntable = \"hidden.parts\"\nkey = [\"id\"]",
    )
    .await;
    let admin = app.texts("select current_user").remove(0);
    app.sql(&format!(
        "grant all on schema rowcall to {role}; grant all on all tables in schema rowcall to {role};
         grant all on all sequences in schema rowcall to {role}; grant trigger on public.orders to {role};
         revoke all on public.orders from public; alter role {role} nosuperuser"
    ));
    // The instance goes on as that role.
    app.sql(&format!("alter database {name} set role = '{role}'"));
    let mut service = app.sibling().await;
    drop(app);
    let path = mirror(&receiver, &json!({}));

    // WHEN it is asked to start with rows, THEN it says what the owner is to run
    let (pointer, message) = refused(&service, &path).await;
    assert_eq!(pointer, "/start");
    assert!(
        message.ends_with(&format!(
            "as its owner: GRANT SELECT ON public.orders TO {role}"
        )),
        "{message}"
    );
    let parts = mirror(&receiver, &json!({"object_types": ["sales.part"]}));
    let (_, message) = refused(&service, &parts).await;
    let expected =
        format!("GRANT USAGE ON SCHEMA hidden TO {role}; GRANT SELECT ON hidden.parts TO {role}");
    assert!(message.ends_with(&expected), "{message}");

    // AND row-level security that would hide rows is refused, too
    let database = std::sync::Arc::clone(&service.database);
    let owner = |sql: &str| execute(&database.url, &format!("set role {admin}; {sql}"));
    owner(&format!(
        "grant select on public.orders to {role}; alter table public.orders enable row level security"
    ));
    let (_, message) = refused(&service, &path).await;
    assert!(
        message.contains(&format!("ALTER ROLE {role} BYPASSRLS")),
        "{message}"
    );

    // AND with what it asked for it starts, and fails when the right is taken away
    owner(
        "alter table public.orders disable row level security; insert into public.orders values (1)",
    );
    let id = register(&service, &path).await;
    owner(&format!("revoke select on public.orders from {role}"));
    service.run_until_idle().await;
    let start = start_of(&service, &id).await;
    assert_eq!(start["state"], "failed", "{start}");
    assert!(
        start["reason"]
            .as_str()
            .unwrap()
            .contains("GRANT SELECT ON public.orders"),
        "{start}"
    );
    owner(&format!("alter database {name} reset role"));
}

#[tokio::test]
async fn a_table_that_goes_fails_its_start_and_nothing_else() {
    // GIVEN a start that is under way
    let receiver = Receiver::start().await;
    let metadata = "[object_type.\"sales.part\"]\ntable = \"public.parts\"\nkey = [\"id\"]";
    let sql = "create table public.parts (id integer primary key);
        insert into public.orders select n from generate_series(1, 20) n;";
    let mut app = shop_with(sql, metadata, Options::default()).await;
    let id = register(
        &app,
        &mirror(&receiver, &json!({"object_types": ["sales.*"]})),
    )
    .await;
    publish(&mut app).await;
    publish(&mut app).await;
    // WHEN its table is dropped
    app.sql("drop table public.orders; insert into public.parts values (1)");
    app.run_until_idle().await;
    // THEN it says so, and the subscription is told of everything else
    let start = start_of(&app, &id).await;
    assert_eq!(start["state"], "failed", "{start}");
    assert_eq!(start["reason"], "the table public.orders is gone");
    assert!(told_sorted(&receiver).contains(&"create 1".to_owned()));
}

#[tokio::test]
async fn the_folder_may_say_where_a_subscription_begins() {
    // GIVEN a folder with a new table and a subscription that starts with its rows
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(
        "create table public.orders (id integer primary key); insert into public.orders values (1), (2)",
    )
    .await;
    let folder = |start: &str| {
        format!(
            r#"
            [namespace.sales]
            [object_type."sales.order"]
            table = "public.orders"
            key = ["id"]
            [subscription.mirror]
            object_types = ["sales.order"]
            mode = "synchronous"
            start = "{start}"
            sink = {{ kind = "webhook", url = "{}", secret = {{ env = "SIGNING_SECRET" }} }}
            "#,
            receiver.url()
        )
    };
    // WHEN it is applied, and again with another comment
    app.apply(&folder("existing")).await;
    app.run_until_idle().await;
    app.apply(&format!("# again\n{}", folder("existing"))).await;
    app.run_until_idle().await;
    // THEN the rows are told once
    assert_eq!(told_sorted(&receiver), ["snapshot 1", "snapshot 2"]);
}
