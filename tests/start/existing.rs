//! The rows that exist: each is told once, as it is when all changes before were told.

use rowcall::stage::{Progress, Stage as _};
use serde_json::{Value, json};

use crate::{
    shop::{
        Mirror, ask, event, mirror, progress, publish, publish_all, register, shop, start_of, told,
        told_sorted,
    },
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
    },
};

const TWENTY: &str = "insert into public.orders select n, 'old', n from generate_series(1, 20) n;";

fn orders_are_mirrored(app: &TestApp, receiver: &Receiver) {
    let table = Mirror::of_table(app, "public.orders", &["id"]);
    assert_eq!(Mirror::of(receiver), table);
}

#[tokio::test]
async fn each_row_is_told_once_and_then_its_changes() {
    // GIVEN twenty rows, of which Postgres has statistics, and a chunk of seven
    let receiver = Receiver::start().await;
    let mut app = shop(&format!("{TWENTY} analyze public.orders")).await;
    // WHEN somebody subscribes who starts with them
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    assert_eq!(progress(&app, &id).await, "running 0 0");
    app.run_until_idle().await;
    // THEN it is told each once, marked as what it is
    let expected: Vec<String> = (1..=20).map(|n| format!("snapshot {n}")).collect();
    assert_eq!(told_sorted(&receiver), {
        let mut expected = expected;
        expected.sort();
        expected
    });
    let first = event(&receiver.received()[0]);
    assert_eq!(first["type"], "sales.order.existed");
    let data = &first["data"];
    assert_eq!(
        (
            &data["before"],
            &data["changed"],
            &data["actor"],
            &data["xid"]
        ),
        (&Value::Null, &json!([]), &Value::Null, &json!("0"))
    );
    // AND that it is done, with an estimate of how much it was
    let start = start_of(&app, &id).await;
    assert_eq!(
        (
            &start["asked"],
            &start["state"],
            &start["told"],
            &start["estimate"]
        ),
        (&json!("existing"), &json!("done"), &json!(20), &json!(20))
    );
    assert!(start["ended_at"].is_string() && start.get("from").is_none());
    // AND changes are told as they always are
    app.sql("update public.orders set status = 'new' where id = 3; delete from public.orders where id = 4");
    app.run_until_idle().await;
    assert_eq!(told(&receiver)[20..], ["update 3", "delete 4"]);
    orders_are_mirrored(&app, &receiver);
}

#[tokio::test]
async fn one_chunk_is_read_with_each_batch_and_after_what_changed_before_it() {
    // GIVEN a start of three chunks, and changes ahead of and behind its first chunk
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    // The first look only finds out that there is a start.
    assert_eq!(publish(&mut app).await, Progress::Worked);
    app.sql("update public.orders set status = 'new' where id in (2, 19); insert into public.orders values (30)");
    // WHEN one batch is published
    assert_eq!(publish(&mut app).await, Progress::Worked);
    // THEN the changes come first, and of the chunk those rows are left out that they told
    assert_eq!(
        app.texts("select type || ' ' || object_key from rowcall.event order by position"),
        [
            "sales.order.updated 2",
            "sales.order.updated 19",
            "sales.order.created 30",
            "sales.order.existed 1",
            "sales.order.existed 3",
            "sales.order.existed 4",
            "sales.order.existed 5",
            "sales.order.existed 6",
            "sales.order.existed 7",
        ]
    );
    assert_eq!(progress(&app, &id).await, "running 7 6");
    // AND later chunks leave out what earlier batches told
    app.run_until_idle().await;
    assert_eq!(progress(&app, &id).await, "done 21 18");
    let told = told(&receiver);
    assert_eq!(told.len(), 21);
    for only_changed in ["2", "19", "30"] {
        assert!(
            !told.contains(&format!("snapshot {only_changed}")),
            "{told:?}"
        );
    }
    orders_are_mirrored(&app, &receiver);
}

#[tokio::test]
async fn a_row_whose_key_moves_is_neither_missed_nor_told_twice() {
    // GIVEN a start that has told the rows up to 7
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    publish(&mut app).await;
    // WHEN rows jump over its place in both directions, a row comes back, and two swap
    app.sql("update public.orders set id = 100 where id = 3; update public.orders set id = -1 where id = 15");
    app.sql(
        "delete from public.orders where id = 16; insert into public.orders values (16, 'again')",
    );
    app.sql(
        "begin; update public.orders set id = 1000 where id = 5;
         update public.orders set id = 5 where id = 18; update public.orders set id = 18 where id = 1000; commit",
    );
    app.run_until_idle().await;
    // THEN the mirror is the table, and no object is told as there after it was told by a change
    orders_are_mirrored(&app, &receiver);
    let told = told(&receiver);
    for moved in ["100", "-1", "16", "18"] {
        assert!(!told.contains(&format!("snapshot {moved}")), "{told:?}");
    }
}

#[tokio::test]
async fn what_a_change_did_not_tell_the_subscription_is_told_as_it_is() {
    // GIVEN a subscription of large orders' releases and deletions, not of all changes
    let receiver = Receiver::start().await;
    let metadata = r#"
        [event_type."sales.order.released"]
        object_type = "sales.order"
        on = ["update"]
        when = "new.status == 'released'"
        [constraint.no-nine]
        applies_to = { event_types = ["sales.order.released"] }
        condition = "row.id != 9"
        otherwise = "suppress"
    "#;
    let mut app =
        crate::shop::shop_with(TWENTY, metadata, crate::support::app::Options::default()).await;
    let asks = json!({
        "object_types": null, "filter": "row.amount > 5",
        "event_types": ["sales.order.released", "sales.order.deleted", "sales.order.existed"],
    });
    register(&app, &mirror(&receiver, &asks)).await;
    publish(&mut app).await;
    // WHEN rows change in ways that it asked for and in others, before they are read
    app.sql("update public.orders set status = 'released' where id in (1, 8, 9)");
    app.sql("update public.orders set amount = 50 where id = 2; update public.orders set amount = 1 where id = 10");
    app.sql("delete from public.orders where id = 11; insert into public.orders values (11, 'again', 11)");
    app.sql("insert into public.orders values (40, 'new', 40)");
    app.run_until_idle().await;
    // THEN 8 was told by its release; 9's was suppressed, 2 grew unseen, and 11 came back unseen:
    // they are told as they are; 10 is too small now; 40 is there, too
    let mut expected: Vec<String> = [2, 6, 7, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 40]
        .map(|n| format!("snapshot {n}"))
        .into();
    expected.extend(["update 8".to_owned(), "delete 11".to_owned()]);
    expected.sort();
    assert_eq!(told_sorted(&receiver), expected);
    // AND what is told last of 11 is that it is there
    let of_11: Vec<String> = told(&receiver)
        .into_iter()
        .filter(|text| text.ends_with(" 11"))
        .collect();
    assert_eq!(of_11, ["delete 11", "snapshot 11"]);
}

#[tokio::test]
async fn a_start_goes_on_where_it_was_when_its_instance_died() {
    // GIVEN a start whose second chunk was read by an instance that could not commit it
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    publish(&mut app).await;
    app.sql(
        "create function public.refuse() returns trigger language plpgsql as \
             $$ begin raise 'not now'; end $$;
         create trigger refuse before insert on rowcall.event execute function public.refuse()",
    );
    let now = app.clock.now();
    app.instance.publish.run_once(now).await.unwrap_err();
    assert_eq!(progress(&app, &id).await, "running 7 7");
    app.sql("drop trigger refuse on rowcall.event; update public.orders set status = 'new' where id = 9");
    // WHEN another instance takes over
    let mut sibling = app.sibling().await;
    drop(app);
    sibling.run_until_idle().await;
    // THEN it goes on, and nothing was told twice
    assert_eq!(progress(&sibling, &id).await, "done 20 19");
    assert_eq!(told(&receiver).len(), 20);
    orders_are_mirrored(&sibling, &receiver);
}

#[tokio::test]
async fn a_start_waits_while_too_much_is_undelivered_and_does_not_keep_others_waiting() {
    // GIVEN a receiver that answers nothing yet, more rows than may be undelivered, and a second
    // subscription that starts
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.answer_with(|_| Answer::Status(503));
    let mut app = shop("insert into public.orders select n from generate_series(1, 200) n;").await;
    let id = register(&app, &mirror(&slow, &json!({}))).await;
    let other = register(&app, &mirror(&fast, &json!({"name": "other"}))).await;
    // WHEN the stages run
    app.run_until_idle().await;
    // THEN the one stands still with no more than the limit and a chunk, and the other is done
    let start = start_of(&app, &id).await;
    let told = start["told"].as_i64().unwrap();
    assert!((50..57).contains(&told), "{start}");
    assert_eq!(progress(&app, &other).await, "done 200 200");
    // AND it goes on when its receiver does, and changes are published meanwhile
    app.sql("update public.orders set status = 'new' where id = 200");
    app.run_until_idle().await;
    assert_eq!(crate::shop::told(&fast).last().unwrap(), "update 200");
    slow.answer_with(|_| Answer::Status(200));
    while progress(&app, &id).await != "done 200 199" {
        app.advance(chrono::TimeDelta::minutes(10)).await;
    }
    app.run_until_idle().await;
    orders_are_mirrored(&app, &fast);
    assert_eq!(
        app.count("select count(*) from rowcall.delivery where state <> 'delivered'"),
        0
    );
}

#[tokio::test]
async fn starts_take_turns() {
    // GIVEN two starts of twenty rows each
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let mut ids = Vec::new();
    for name in ["one", "two"] {
        ids.push(register(&app, &mirror(&receiver, &json!({ "name": name }))).await);
    }
    publish(&mut app).await;
    // WHEN chunks are published, THEN they are of the one and of the other
    for expected in [[7, 0], [7, 7], [14, 7], [14, 14]] {
        publish(&mut app).await;
        let mut told = Vec::new();
        for id in &ids {
            told.push(start_of(&app, id).await["told"].as_i64().unwrap());
        }
        told.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(told, expected);
    }
    app.run_until_idle().await;
}

#[tokio::test]
async fn pausing_stops_a_start_and_deleting_ends_it() {
    // GIVEN a start that was paused after its first chunk
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    let id = register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    publish(&mut app).await;
    let path = format!("/v1/subscriptions/{id}");
    ask(&app, "PATCH", &path, &json!({"state": "paused"})).await;
    // WHEN the stages run, THEN it goes no further
    app.run_until_idle().await;
    app.sql("update public.orders set status = 'new' where id = 20");
    app.run_until_idle().await;
    assert_eq!(progress(&app, &id).await, "running 7 7");
    // AND goes on when it is resumed
    ask(&app, "PATCH", &path, &json!({"state": "active"})).await;
    publish(&mut app).await;
    assert_eq!(progress(&app, &id).await, "running 14 14");
    // AND ends when it is deleted
    let (status, _) = ask(&app, "DELETE", &path, &Value::Null).await;
    assert_eq!(status, 204);
    publish_all(&mut app).await;
    assert_eq!(app.count("select done from rowcall.start"), 14);
    app.instance.upkeep.run_once(app.clock.now()).await.unwrap();
    app.run_until_idle().await;
}

#[tokio::test]
async fn an_edit_between_reading_and_publishing_has_the_rows_read_anew() {
    // GIVEN a start, and somebody who excludes a column while it is under way
    let receiver = Receiver::start().await;
    let mut app = shop(TWENTY).await;
    register(&app, &mirror(&receiver, &json!({}))).await;
    publish(&mut app).await;
    publish(&mut app).await;
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
         key = [\"id\"]\nexclude = [\"amount\"]",
    )
    .await;
    // WHEN the rest is told
    app.run_until_idle().await;
    // THEN no row that was told after it has the column
    let received = receiver.received();
    let has = |n: usize| event(&received[n])["data"]["after"].get("amount").is_some();
    assert_eq!(received.len(), 20);
    let of = |id: &str| {
        (0..20)
            .find(|n| event(&received[*n])["subject"] == id)
            .unwrap()
    };
    assert!(has(of("7")) && !has(of("8")) && !has(of("20")));
}
