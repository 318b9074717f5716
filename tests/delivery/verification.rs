//! A receiver that has to consent is sent nothing before, and everything after.

use std::time::Duration;

use chrono::TimeDelta;
use rowcall::{
    sink::Consent,
    stage::{Progress, Stage as _},
    subscription::state::{subscription_disable, subscription_pause, subscription_resume},
    verification::{WAITS, change::verification_answer, store::Asked},
};
use uuid::Uuid;

use crate::{
    shop::{deliver, deliveries, publish},
    support::{
        app::TestApp,
        receiver::{Answer, Gate, Receiver},
    },
};

/// More than a busy machine needs.
const SOON: Duration = Duration::from_secs(10);
/// More than the lease of tests.
const LEASE: TimeDelta = TimeDelta::seconds(11);

fn toml(url: &str) -> String {
    format!(
        "[namespace.sales]\n\
         [object_type.\"sales.order\"]\ntable = \"public.orders\"\nkey = [\"id\"]\n\
         [subscription.mirror]\nevent_types = [\"sales.order.*\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{url}\", verify = \"handshake\" }}\n"
    )
}

/// A shop whose orders one receiver, which has not been asked yet, is told of.
async fn asking(receiver: &Receiver) -> TestApp {
    let app = TestApp::start("create table orders (id integer primary key)").await;
    app.apply(&toml(receiver.url())).await;
    app
}

async fn ask(app: &mut TestApp) -> Progress {
    let now = app.clock.now();
    app.instance.verification.run_once(now).await.unwrap()
}

fn state(app: &TestApp) -> String {
    app.texts("select concat_ws(' ', state, left(state_reason, 10)) from rowcall.subscription")
        .remove(0)
}

fn verification(app: &TestApp) -> String {
    app.texts("select concat_ws(' ', state, attempts) from rowcall.verification")
        .remove(0)
}

fn subscription(app: &TestApp) -> Uuid {
    app.texts("select id from rowcall.subscription")[0]
        .parse()
        .unwrap()
}

fn posts(receiver: &Receiver) -> usize {
    receiver
        .received()
        .iter()
        .filter(|one| one.method == "POST")
        .count()
}

fn consent(origin: &str) -> Answer {
    Answer::with_header(200, "WebHook-Allowed-Origin", origin)
}

#[tokio::test]
async fn nothing_is_sent_before_consent_and_nothing_is_lost() {
    // GIVEN a receiver that has not consented, and what happens meanwhile
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    assert_eq!(state(&app), "paused unverified");
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    receiver.script([Answer::Status(200)]);
    assert_eq!(ask(&mut app).await, Progress::Worked);
    app.run_until_idle().await;
    assert_eq!(
        (verification(&app), posts(&receiver)),
        ("asking 1".to_owned(), 0)
    );

    // WHEN it is not time yet, it is not asked
    assert_eq!(ask(&mut app).await, Progress::Idle);

    // WHEN it is, and it consents
    app.sql("insert into orders values (2)");
    app.advance(TimeDelta::seconds(10)).await;
    receiver.script([consent("rowcall")]);
    ask(&mut app).await;
    app.run_until_idle().await;

    // THEN all of it comes, in order, and names who was consented to
    assert_eq!(
        (state(&app), verification(&app)),
        ("active".into(), "granted 2".into())
    );
    let sent: Vec<_> = receiver
        .received()
        .into_iter()
        .filter(|one| one.method == "POST")
        .collect();
    let bodies: Vec<String> = sent
        .iter()
        .map(|one| String::from_utf8(one.body.clone()).unwrap())
        .collect();
    assert_eq!(bodies.len(), 2);
    assert!(
        bodies[0].contains("{\"id\":1}") && bodies[1].contains("{\"id\":2}"),
        "{bodies:?}"
    );
    assert!(
        sent.iter()
            .all(|one| one.header("webhook-request-origin") == Some("rowcall"))
    );
    assert_eq!(ask(&mut app).await, Progress::Idle);
}

#[tokio::test]
async fn a_receiver_that_never_consents_is_given_up_and_asked_again_on_request() {
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    app.sql("insert into orders values (1)");
    receiver.answer_with(|_| Answer::Status(405));
    for wait in WAITS {
        app.advance(TimeDelta::from_std(wait).unwrap()).await;
        assert_eq!(ask(&mut app).await, Progress::Worked, "{wait:?}");
    }
    assert_eq!(
        (state(&app), verification(&app)),
        ("disabled unverified".into(), "given_up 9".into())
    );
    let reason = &app.texts("select state_reason from rowcall.subscription")[0];
    assert!(
        reason.contains("after 9 attempts") && reason.contains("OPTIONS"),
        "{reason}"
    );
    app.advance(TimeDelta::days(30)).await;
    assert_eq!((ask(&mut app).await, posts(&receiver)), (Progress::Idle, 0));

    // Resuming asks again, and is no way round.
    let (id, now) = (subscription(&app), app.clock.now());
    subscription_resume(&mut app.connect(), id, now).unwrap();
    assert_eq!(
        (state(&app), verification(&app)),
        ("paused unverified".into(), "asking 0".into())
    );
    receiver.answer_with(|got| match got.method.as_str() {
        "OPTIONS" => consent("*"),
        _ => Answer::Status(200),
    });
    ask(&mut app).await;
    app.run_until_idle().await;
    assert_eq!((state(&app), posts(&receiver)), ("active".into(), 1));
}

#[tokio::test]
async fn another_url_is_asked_anew_and_an_older_answer_counts_no_more() {
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let mut app = asking(&receiver).await;
    receiver.script([consent("*")]);
    ask(&mut app).await;
    assert_eq!(state(&app), "active");

    // WHEN the folder names another place, while the question to the first is still open
    app.apply(&toml(other.url())).await;
    assert_eq!(state(&app), "paused unverified");
    let stale = Asked {
        subscription_id: subscription(&app),
        round: 1,
        attempts: 0,
    };
    let granted = Consent::Granted {
        rate_per_minute: None,
    };
    verification_answer(&mut app.connect(), &stale, &granted, app.clock.now()).unwrap();

    // THEN only the other one's word counts
    assert_eq!(
        (state(&app), verification(&app)),
        ("paused unverified".into(), "asking 0".into())
    );
    app.sql("insert into orders values (1)");
    app.run_until_idle().await;
    other.script([consent("rowcall")]);
    ask(&mut app).await;
    app.run_until_idle().await;
    assert_eq!((posts(&receiver), posts(&other)), (0, 1));

    // WHEN something else changes, it is not asked again
    app.apply(&format!(
        "{}labels = {{ desk = \"eu\" }}\n",
        toml(other.url())
    ))
    .await;
    assert_eq!(state(&app), "active");
}

#[tokio::test]
async fn what_its_owner_paused_stays_paused_when_the_receiver_consents() {
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    app.sql("insert into orders values (1)");
    let (id, now) = (subscription(&app), app.clock.now());
    subscription_pause(&mut app.connect(), id, now).unwrap();
    receiver.script([consent("*")]);
    ask(&mut app).await;
    app.run_until_idle().await;
    assert_eq!(
        (state(&app), verification(&app)),
        ("paused".into(), "granted 1".into())
    );
    subscription_resume(&mut app.connect(), id, now).unwrap();
    app.run_until_idle().await;
    assert_eq!((state(&app), posts(&receiver)), ("active".into(), 1));
}

#[tokio::test]
async fn what_was_claimed_before_the_url_changed_waits_for_the_new_receivers_consent() {
    // GIVEN a receiver that consented, and an instance that has seen the next registration list, in
    // which another place is named, before its claim sees that the subscription is not active
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let mut app = asking(&receiver).await;
    receiver.script([consent("*")]);
    ask(&mut app).await;
    app.apply(&toml(other.url())).await;
    app.run_until_idle().await;
    app.sql("insert into orders values (1)");
    app.sql("update rowcall.subscription set state = 'active', state_reason = null");

    // WHEN it sends what is due
    publish(&mut app).await;
    app.sql("update rowcall.delivery set due_at = created_at where due_at = 'infinity'");
    for _ in 0..3 {
        deliver(&mut app).await;
    }

    // THEN neither is told of it, and it is kept
    app.sql(
        "update rowcall.subscription set state = 'paused', state_reason = 'unverified: by hand'",
    );
    app.run_until_idle().await;
    assert_eq!((posts(&receiver), posts(&other)), (0, 0));
    assert_eq!(deliveries(&app), ["pending/0"]);

    // WHEN the other consents
    other.script([consent("*")]);
    ask(&mut app).await;
    app.run_until_idle().await;
    assert_eq!((posts(&receiver), posts(&other)), (0, 1));
}

#[tokio::test]
async fn the_rate_that_a_receiver_allows_is_kept_to() {
    // GIVEN a receiver that allows sixty requests a minute, of a subscription without a rate
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    receiver.script([Answer::StatusWith {
        status: 200,
        headers: vec![
            ("WebHook-Allowed-Origin".to_owned(), "*".to_owned()),
            ("WebHook-Allowed-Rate".to_owned(), "60".to_owned()),
        ],
        body: Vec::new(),
    }]);
    ask(&mut app).await;
    assert_eq!(state(&app), "active");

    // WHEN it is owed thirty
    app.sql("insert into orders select g from generate_series(1, 30) g");
    app.run_until_idle().await;
    let at_once = posts(&receiver);
    for _ in 0..10 {
        app.advance(TimeDelta::seconds(1)).await;
    }

    // THEN they come one a second, behind a tenth of a minute's
    assert_eq!(at_once, 6);
    assert!(
        (15..=16).contains(&posts(&receiver)),
        "{}",
        posts(&receiver)
    );
    app.advance(TimeDelta::seconds(60)).await;
    while posts(&receiver) < 30 {
        app.advance(TimeDelta::seconds(1)).await;
    }
}

#[tokio::test]
async fn a_receiver_whose_name_looks_like_the_reason_is_none_that_was_not_asked() {
    // GIVEN a subscription that has to be asked, and was disabled by a receiver of an odd name
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    receiver.script([consent("*")]);
    ask(&mut app).await;
    let (id, now) = (subscription(&app), app.clock.now());
    let reason = "unverified:8080 answered 410: it wants no more of this";
    subscription_disable(&mut app.connect(), id, reason, None, now).unwrap();
    app.run_until_idle().await;
    // WHEN nobody need be asked any more THEN it stays as it is
    app.apply(&toml(receiver.url()).replace("handshake", "none"))
        .await;
    assert_eq!(state(&app), "disabled unverified");
}

#[tokio::test]
async fn of_two_instances_one_asks_and_what_it_does_not_answer_the_other_asks_again() {
    // GIVEN an instance whose question is not answered yet
    let receiver = Receiver::start().await;
    let mut app = asking(&receiver).await;
    let mut sibling = app.sibling().await;
    let gate = Gate::default();
    receiver.script([Answer::Held(gate.clone(), 503), consent("*")]);
    let (clock, now) = (app.clock.clone(), app.clock.now());
    let other = async {
        receiver.wait_for(1, SOON).await;
        // WHEN another looks, THEN it asks nothing
        assert_eq!(ask(&mut sibling).await, Progress::Idle);
        // WHEN the first has not said anything for as long as its lease, THEN it asks
        clock.advance(LEASE);
        assert_eq!(ask(&mut sibling).await, Progress::Worked);
        assert_eq!(state(&sibling), "active");
        gate.open();
    };
    let (first, ()) = tokio::join!(app.instance.verification.run_once(now), other);
    // AND the late answer of the first takes nothing back
    assert_eq!(first.unwrap(), Progress::Worked);
    assert_eq!(
        (
            state(&sibling),
            verification(&sibling),
            receiver.received().len()
        ),
        ("active".into(), "granted 1".into(), 2)
    );
}
