//! Large bodies take more of the memory than small ones.

use rowcall::deliver::chain::PLACE_BYTES;

use crate::{
    shop::{deliver, mirrored_to, rows},
    support::receiver::{Answer, Gate, Receiver},
};

#[tokio::test]
async fn memory_holds_few_large_bodies_and_all_are_delivered() {
    // GIVEN 200 deliveries, each of which takes three places, and 400 places; none is born claimed
    let receiver = Receiver::start().await;
    let retry = r#"retry = { schedule = ["1s", "1s"] }"#;
    let mut app = mirrored_to(&receiver, retry).await;
    let note = PLACE_BYTES * 5 / 2;
    app.sql("insert into orders values (0)");
    app.run_until_idle().await;
    app.clock.advance(chrono::TimeDelta::seconds(1));
    app.run_until_idle().await;
    app.sql(&format!(
        "insert into orders select g, 1, repeat('x', {note}) from generate_series(1, 200) g"
    ));
    app.run_until_idle().await;
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), 200));
    app.clock.advance(chrono::TimeDelta::seconds(1));
    // WHEN all are due, and nobody answers
    for _ in 0..20 {
        deliver(&mut app).await;
        // THEN a claim takes no more than there is room for, but for the last body
        let taken = app.instance.outbox.in_memory();
        assert!(taken <= 400 + 3, "{taken}");
    }
    // AND no more are in memory than have their places
    let sending = app.count("select count(*) from rowcall.delivery where state = 'sending'");
    assert!((30..=400 / 3).contains(&sending), "{sending}");
    assert!(app.instance.outbox.in_memory() > sending as usize);
    // WHEN it answers THEN each of them is received, and no place is lost
    gate.open();
    app.run_until_idle().await;
    for _ in 0..100 {
        app.advance(chrono::TimeDelta::seconds(1)).await;
    }
    let mut received = rows(&receiver.received());
    received.sort();
    received.dedup();
    assert_eq!(received.len(), 201);
    assert_eq!(app.instance.outbox.in_memory(), 0);
}
