//! What is fresh and synchronous is sent before a backlog, however large.

use rowcall::{config::Limits, deliver::outbox::Outbox, stage::Stage as _};

use crate::{
    shop::{ORDERS, deliver, publish, row, subscribe, subscription},
    support::{
        app::{Options, TestApp},
        receiver::{Answer, Gate, Receiver},
    },
};

/// Writes 20,000 deliveries that are due, of events that are copies of the one that was delivered:
/// retries, first attempts that have waited for long, and delayed ones.
fn owe_a_backlog(app: &TestApp) {
    app.sql(
        "create table public.backlog as select gen_random_uuid() as event, g \
         from generate_series(1, 20000) g",
    );
    app.sql(
        "insert into rowcall.event (id, source, position, type, object_type, object_key, \"time\", \
             published_at, change_seq, xid, body) \
         select b.event, e.source, e.position, e.type, e.object_type, e.object_key, e.\"time\", \
             e.published_at, e.change_seq, e.xid, e.body \
         from rowcall.event e, public.backlog b",
    );
    app.sql(
        "insert into rowcall.delivery (id, subscription_id, event_id, position, lane, sequence, \
             urgency, state, attempts, due_at, created_at) \
         select gen_random_uuid(), d.subscription_id, b.event, d.position, b.g, 1000 + b.g, \
             case when b.g % 3 = 0 then 1 else 0 end, 'pending', b.g % 2, \
             d.created_at - interval '1 hour' + b.g * interval '1 millisecond', \
             d.created_at - interval '1 day' \
         from rowcall.delivery d, public.backlog b where d.state = 'delivered'",
    );
}

/// How many others were received between what was there, and the order `id`.
async fn received_before(app: &mut TestApp, receiver: &Receiver, from: usize, id: &str) -> usize {
    loop {
        let place = receiver
            .received()
            .iter()
            .skip(from)
            .position(|one| row(one) == id);
        if let Some(place) = place {
            return place;
        }
        app.instance
            .deliver
            .run_once(app.clock.now())
            .await
            .unwrap();
        app.instance.deliver.rest(app.clock.now()).await;
    }
}

/// An instance with a backlog, to a receiver whose further answers wait for the gate.
async fn with_a_backlog(receiver: &Receiver) -> (TestApp, Gate) {
    let mut limits = Limits::for_testing();
    // It is not to be taken for slow.
    (limits.slow_after_ms, limits.request_timeout_ms) = (60_000, 60_000);
    limits.lease_ms = 120_000;
    let options = Options {
        limits,
        ..Options::default()
    };
    let mut app = TestApp::start_with(ORDERS, options).await;
    subscribe(&app, &[subscription("mirror", receiver.url(), "")]).await;
    app.sql("insert into orders values (0)");
    app.run_until_idle().await;
    owe_a_backlog(&app);
    let gate = Gate::default();
    let held = gate.clone();
    receiver.answer_with(move |_| Answer::Held(held.clone(), 200));
    (app, gate)
}

/// Works until its memory holds much of the backlog.
async fn work_on_the_backlog(app: &mut TestApp) {
    app.instance.outbox.look();
    for _ in 0..6 {
        deliver(app).await;
    }
    assert!(app.instance.outbox.in_memory() > 100);
}

/// Nobody waits for the rest.
fn forget_the_backlog(app: &TestApp) {
    app.sql("update rowcall.delivery set due_at = 'infinity' where state = 'pending'");
}

async fn finish(app: &mut TestApp) {
    forget_the_backlog(app);
    let left = |outbox: &Outbox| outbox.in_memory() + outbox.senders();
    while left(&app.instance.outbox) > 0 {
        deliver(app).await;
        forget_the_backlog(app);
        app.instance.deliver.rest(app.clock.now()).await;
    }
    forget_the_backlog(app);
}

#[tokio::test]
async fn a_fresh_delivery_goes_before_a_backlog_to_the_same_receiver() {
    // GIVEN 20,000 retries and old deliveries that are due, and as many in memory as may be
    let receiver = Receiver::start().await;
    let (mut app, gate) = with_a_backlog(&receiver).await;
    work_on_the_backlog(&mut app).await;
    // WHEN a row is written
    app.sql("insert into orders values (7)");
    publish(&mut app).await;
    let from = receiver.received().len();
    gate.open();
    // THEN what is under way goes before it, and one turn of the backlog
    let before = received_before(&mut app, &receiver, from, "7:1").await;
    assert!(before <= 32, "{before}");
    assert!(receiver.received().len() < 2_000);
    finish(&mut app).await;
}

#[tokio::test]
async fn a_fresh_delivery_that_has_to_be_claimed_goes_before_the_backlog() {
    // GIVEN the same in one instance, and another one that publishes and does not deliver
    let receiver = Receiver::start().await;
    let (mut publisher, gate) = with_a_backlog(&receiver).await;
    let mut app = publisher.sibling().await;
    work_on_the_backlog(&mut app).await;
    publisher.instance.outbox.close();
    // WHEN a row is written THEN it is claimed soon, and goes before what was claimed sooner
    app.sql("insert into orders values (7)");
    publish(&mut publisher).await;
    let from = receiver.received().len();
    gate.open();
    app.instance.outbox.look();
    let before = received_before(&mut app, &receiver, from, "7:1").await;
    assert!(before <= 100, "{before}");
    finish(&mut app).await;
}
