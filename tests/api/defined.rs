//! Event types of an object type of which only what is written down is captured: with the answer
//! to an edit, the triggers judge by it.

use diesel::{QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};
use serde_json::json;

use crate::{
    harness::{ADMIN_KEY, Api},
    support::postgres::execute,
};

fn captured(api: &Api) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        change: String,
    }
    let rows: Vec<Row> = sql_query(
        "select op::text || ' ' || coalesce(coalesce(after, before)->>'id', '-') as change \
         from rowcall.change order by seq",
    )
    .load(&mut api.database.connect())
    .unwrap();
    rows.into_iter().map(|row| row.change).collect()
}

fn released(when: &str) -> serde_json::Value {
    json!({
        "name": "sales.order.released",
        "object_type": "sales.order",
        "on": ["update"],
        "when": when,
    })
}

#[tokio::test]
async fn what_is_captured_follows_the_event_types_at_once() {
    // GIVEN
    let api = Api::start();
    execute(
        &api.database.url,
        "update rowcall.catalog_item set definition = \
             '{\"table\": \"public.orders\", \"key\": [\"id\"], \"capture\": \"defined\"}' \
         where name = 'sales.order';
         insert into orders select i, 'open' from generate_series(1, 9) i",
    );
    let write = |sql: &str| execute(&api.database.url, sql);

    // WHEN an event type is made
    let made = api
        .post("/v1/event-types", &released("new.status == 'released'"))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    write(
        "update orders set status = 'released' where id = 1; update orders set status = 'held' where id = 2",
    );
    // THEN what it can match is captured
    assert_eq!(captured(&api), ["u 1"]);

    // WHEN it is replaced
    let path = "/v1/event-types/sales.order.released";
    let other = released("new.status == 'held'").to_string();
    let replaced = api.call(ADMIN_KEY, "PUT", path, &other).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    write(
        "update orders set status = 'released' where id = 3; update orders set status = 'held' where id = 4",
    );
    assert_eq!(captured(&api), ["u 1", "u 4"]);

    // WHEN it is removed
    let removed = api.call(ADMIN_KEY, "DELETE", path, "").await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    write("update orders set status = 'held'");
    assert_eq!(captured(&api), ["u 1", "u 4"]);

    // AND the standard events are not among those that exist
    let list = api.get("/v1/event-types").await;
    assert!(!list.text.contains("sales.order.created"), "{}", list.text);
    assert!(list.text.contains("sales.part.created"), "{}", list.text);
    assert_eq!(
        api.get("/v1/event-types/sales.order.created").await.status,
        404
    );
}
