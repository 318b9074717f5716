//! The way of a change of another database when nothing breaks.

use rowcall::account::account_read;

use crate::{METADATA, Two, V, count, support::receiver::Receiver};

#[tokio::test]
async fn changes_of_both_databases_arrive_and_say_where_they_are_from() {
    // GIVEN a table here and one of the same name there, and a subscriber of both
    let receiver = Receiver::start().await;
    let metadata = format!(
        "{METADATA}\n[subscription.all]\nobject_types = [\"t.row\", \"crm.row\"]\n\
         mode = \"synchronous\"\nfilter = \"row.id < 9\"\n\
         sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    let mut two = Two::start_with(crate::ROWS, &metadata, Default::default()).await;
    // WHEN rows are written in both, those there by a writer who says who it is
    two.app.sql("insert into rows values (1, 'here')");
    two.there(
        "set rowcall.actor = 'maria'; set rowcall.traceparent = '00-1'; \
         insert into rows values (1, 'there'); update rows set v = 'again'; delete from rows; \
         insert into rows values (10, 'not wanted')",
    );
    two.run().await;
    // THEN each arrives once
    let bodies: Vec<serde_json::Value> = receiver
        .received()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let of = |source: &str| -> Vec<String> {
        let found = bodies.iter().filter(|body| body["source"] == source);
        found
            .map(|body| body["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("/rowcall/default"), ["t.row.created"]);
    assert_eq!(
        of("/rowcall/crm"),
        ["crm.row.created", "crm.row.updated", "crm.row.deleted"]
    );
    // AND carries what its writer's transaction said there
    let body = bodies
        .iter()
        .find(|body| body["type"] == "crm.row.updated")
        .unwrap();
    assert_eq!(body["data"]["actor"], "maria");
    assert_eq!(body["traceparent"], "00-1");
    assert_eq!(body["data"]["after"]["v"], "again");
    let xid: i64 = body["data"]["xid"].as_str().unwrap().parse().unwrap();
    let next = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    assert!(
        xid < count(&two.crm.url, next),
        "{xid} is not of the source"
    );
    assert!(xid > two.app.count(next), "{xid} is of the repository");
    assert_eq!(
        two.app.count(&format!(
            "select count(*) from rowcall.event where source = 'crm' and xid = '{xid}'"
        )),
        4
    );
    // AND the account knows them all
    let account = two.app.instance_account().await;
    assert!(account.adds_up() && account.captured == 5, "{account:?}");
}

#[tokio::test]
async fn conditions_and_filters_know_where_an_event_is_from() {
    let metadata = format!(
        "{METADATA}\n[event_type.\"crm.row.named\"]\nobject_type = \"crm.row\"\n\
         when = \"event.source == '/rowcall/crm' && new.v == 'x'\""
    );
    let mut two = Two::start_with(crate::ROWS, &metadata, Default::default()).await;
    two.there("insert into rows values (1, 'x'), (2, 'y')");
    two.run().await;
    assert_eq!(
        two.events("concat(e->>'type', ' ', e->>'subject')"),
        ["crm.row.created 1", "crm.row.named 1", "crm.row.created 2"]
    );
}

#[tokio::test]
async fn a_change_before_the_object_type_was_applied_and_one_rolled_back_are_not_copied() {
    let mut two = Two::start_with(
        &format!("{}; insert into rows values (1, 'before')", crate::ROWS),
        METADATA,
        Default::default(),
    )
    .await;
    two.there("begin; insert into rows values (2, 'no'); rollback");
    two.there("insert into rows values (3, 'yes')");
    two.run().await;
    assert_eq!(two.events(V), ["->yes"]);
}

impl crate::support::app::TestApp {
    async fn instance_account(&self) -> rowcall::account::Account {
        let database = rowcall::db::Database::new(&self.database.url, 1);
        let read = |connection: &mut rowcall::db::Connection| {
            Ok::<_, rowcall::db::DbError>(account_read(connection, "default")?)
        };
        database.transaction(read).await.unwrap()
    }
}
