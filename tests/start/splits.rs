//! Batches that are too large for one transaction, while a chunk of rows waits for their end.

use diesel::connection::SimpleConnection as _;
use rowcall::stage::{Progress, Stage as _};
use serde_json::json;

use crate::{
    shop::{Mirror, mirror, progress, publish, register, shop, told},
    support::receiver::Receiver,
};

const TWENTY: &str = "insert into public.orders select n, 'old', n from generate_series(1, 20) n;";

#[tokio::test]
async fn a_chunk_waits_for_the_end_of_a_batch_that_is_split() {
    // GIVEN a start, and a transaction of more changes than one batch takes
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    app.sql(
        "insert into public.orders select n from generate_series(101, 350) n; \
         update public.orders set status = 'new' where id = 5",
    );
    // WHEN its first parts are published, THEN no row is told
    for _ in 0..2 {
        assert_eq!(publish(&mut app).await, Progress::Worked);
        assert_eq!(
            app.count("select count(*) from rowcall.event where type = 'sales.order.existed'"),
            0
        );
        // Changes after the snapshot of the chunk are of a later batch.
        app.sql("update public.orders set status = status || '+' where id = 2");
    }
    // AND with the last one they are, as they were before the changes that are not published yet
    publish(&mut app).await;
    assert_eq!(progress(&app, &id).await, "running 7 6");
    let body = app.texts(
        "select body from rowcall.event where type = 'sales.order.existed' and object_key = '2'",
    );
    assert!(body[0].contains(r#""status":"old""#), "{}", body[0]);
    app.run_until_idle().await;
    assert_eq!(
        Mirror::of(&receiver),
        Mirror::of_table(&app, "public.orders", &["id"])
    );
    let told = told(&receiver);
    let of_2: Vec<&String> = told.iter().filter(|text| text.ends_with(" 2")).collect();
    assert_eq!(of_2, ["snapshot 2", "update 2", "update 2"]);
}

#[tokio::test]
async fn a_chunk_that_was_lost_with_its_instance_is_read_anew() {
    // GIVEN a batch of several parts, whose first part was published by an instance that died
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    // It leaves what it publishes to others.
    app.instance.outbox.close();
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    app.sql("insert into public.orders select n from generate_series(101, 350) n");
    publish(&mut app).await;
    let mut sibling = app.sibling().await;
    drop(app);
    // WHEN another one goes on, while rows change
    sibling.sql("update public.orders set status = 'new' where id in (1, 2)");
    sibling.run_until_idle().await;
    // THEN nothing is missed and nothing doubled
    assert_eq!(
        progress(&sibling, &id).await.split(' ').next(),
        Some("done")
    );
    assert_eq!(
        Mirror::of(&receiver),
        Mirror::of_table(&sibling, "public.orders", &["id"])
    );
    assert_eq!(told(&receiver).len(), 20 + 250);
}

#[tokio::test]
async fn a_chunk_is_not_told_by_a_batch_that_another_instance_published() {
    // GIVEN an instance that holds a chunk for the end of a batch
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    // It leaves what it publishes to others.
    app.instance.outbox.close();
    register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    app.sql("insert into public.orders select n from generate_series(101, 350) n");
    publish(&mut app).await;
    // WHEN its session is lost, another finishes the batch and all rows, and they change
    app.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%advisory%' \
         and pid <> pg_backend_pid() and datname = current_database()",
    );
    let mut sibling = app.sibling().await;
    sibling.run_until_idle().await;
    sibling.sql("update public.orders set status = 'new' where id <= 7");
    sibling.run_until_idle().await;
    let count = told(&receiver).len();
    // THEN the first one tells nothing of what it holds
    let now = app.clock.now();
    let _ = app.instance.publish.run_once(now).await;
    let _ = app.instance.publish.run_once(now).await;
    app.run_until_idle().await;
    assert_eq!(told(&receiver).len(), count);
    assert_eq!(
        Mirror::of(&receiver),
        Mirror::of_table(&app, "public.orders", &["id"])
    );
    drop(sibling);
}

#[tokio::test]
async fn a_chunk_that_waits_while_a_column_is_excluded_is_read_anew() {
    // GIVEN a chunk that waits for the end of a batch
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    app.sql("insert into public.orders select n from generate_series(101, 350) n");
    publish(&mut app).await;
    // WHEN a column of it is excluded before the batch ends
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
         key = [\"id\"]\nexclude = [\"amount\"]",
    )
    .await;
    app.run_until_idle().await;
    // THEN no row is told with it
    let told = app.texts("select body from rowcall.event where type = 'sales.order.existed'");
    assert_eq!(told.len(), 20);
    assert!(told.iter().all(|body| !body.contains("amount")));
}

#[tokio::test]
async fn an_edit_while_the_publisher_waits_for_its_lock_has_the_rows_read_anew() {
    // GIVEN a start, and an edit that excludes nothing but pauses it, and is not committed yet
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    let mut editor = app.connect();
    editor
        .batch_execute(
            "begin; update rowcall.registry set revision = revision + 1; \
             update rowcall.subscription set state = 'paused'",
        )
        .unwrap();
    // WHEN the publisher has read rows, and the edit is committed while it waits for the lock
    let database = std::sync::Arc::clone(&app.database);
    let edit = std::thread::spawn(move || {
        let waits = "do $$ begin if not exists (select from pg_stat_activity where \
            wait_event_type = 'Lock' and datname = current_database()) then raise 'not yet'; \
            end if; end $$";
        let mut watcher = database.connect();
        while watcher.batch_execute(waits).is_err() {}
        editor.batch_execute("commit").unwrap();
    });
    publish(&mut app).await;
    edit.join().unwrap();
    // THEN they are not told
    assert_eq!(progress(&app, &id).await, "running 0 0");
    app.run_until_idle().await;
    assert_eq!(app.count("select count(*) from rowcall.event"), 0);
}
