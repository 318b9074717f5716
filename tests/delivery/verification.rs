//! A receiver that has to consent is sent nothing before, and everything after.

use chrono::TimeDelta;
use rowcall::{
    sink::Consent,
    stage::{Progress, Stage as _},
    subscription::state::{subscription_pause, subscription_resume},
    verification::{WAITS, change::verification_answer, store::Asked},
};
use uuid::Uuid;

use crate::support::{
    app::TestApp,
    receiver::{Answer, Receiver},
};

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
