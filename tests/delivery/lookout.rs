//! The lookout rings those for whom somebody else left something to do, and nobody else.

use chrono::TimeDelta;
use rowcall::{
    config::Limits,
    db::Database,
    lookout::{Bells, Lookout},
    stage::{Nudge, Progress, Stage as _},
};

use crate::{
    shop::{ORDERS, subscribe, subscription},
    support::{app::TestApp, receiver::Receiver},
};

/// The lookout of another instance than the one that does the work.
struct Elsewhere {
    lookout: Lookout,
    bells: Bells,
}

impl Elsewhere {
    fn on(app: &TestApp) -> Self {
        let bells = Bells {
            deliver: Nudge::default(),
            digest: Nudge::default(),
            heartbeat: Nudge::default(),
            replay: Nudge::default(),
            verification: Nudge::default(),
        };
        let database = Database::new(&app.database.url, 1);
        let lookout = Lookout::new(database, bells.clone(), &Limits::default());
        Self { lookout, bells }
    }

    /// Who is rung by one look.
    async fn rings(&mut self, app: &TestApp) -> Vec<&'static str> {
        let looked = self.lookout.run_once(app.clock.now()).await.unwrap();
        assert_eq!(looked, Progress::Idle);
        self.rung().await
    }

    async fn rung(&self) -> Vec<&'static str> {
        let Bells {
            deliver,
            digest,
            heartbeat,
            replay,
            verification,
        } = &self.bells;
        let mut rung = Vec::new();
        for (name, bell) in [
            ("deliver", deliver),
            ("digest", digest),
            ("heartbeat", heartbeat),
            ("replay", replay),
            ("verification", verification),
        ] {
            tokio::select! {
                biased;
                () = bell.rung() => rung.push(name),
                () = std::future::ready(()) => {}
            }
        }
        rung
    }
}

#[tokio::test]
async fn it_rings_those_for_whom_another_instance_left_something() {
    // GIVEN a subscription with a heartbeat, one of digests, and an instance at rest elsewhere
    let receiver = Receiver::start().await;
    let mut app = TestApp::start(ORDERS).await;
    let mirror = subscription("mirror", receiver.url(), "heartbeat = \"1h\"");
    let digest = subscription("digest", receiver.url(), "schedule = { max_wait = \"2h\" }")
        .replace("\"synchronous\"", "\"batch\"");
    let both = [mirror, digest];
    subscribe(&app, &both).await;
    let now = app.clock.now();
    app.instance.beats.run_once(now).await.unwrap();
    let mut elsewhere = Elsewhere::on(&app);
    // WHEN it looks first THEN all look who know the registration list: it may have been edited
    let edited = ["deliver", "digest", "heartbeat"];
    assert_eq!(elsewhere.rings(&app).await, edited);
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    // WHEN this instance edits it THEN they look again
    subscribe(&app, &both[..1]).await;
    subscribe(&app, &both).await;
    assert_eq!(elsewhere.rings(&app).await, edited);
    // WHEN it publishes and dies before it delivers THEN nobody is rung while its lease holds
    app.sql("insert into orders values (1)");
    app.instance.publish.run_once(now).await.unwrap();
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    // AND whoever delivers is rung so that it is there when that is
    app.clock.advance(TimeDelta::seconds(9));
    assert_eq!(elsewhere.rings(&app).await, ["deliver"]);
    app.run_until_idle().await;
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    // AND the same with heartbeats
    app.clock
        .advance(TimeDelta::hours(1) - TimeDelta::seconds(12));
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(elsewhere.rings(&app).await, ["heartbeat"]);
    // AND with digests, until their parts are made
    app.sql("delete from rowcall.heartbeat");
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(elsewhere.rings(&app).await, ["digest"]);
    app.sql(
        "update rowcall.digest set state = 'closed', number = 1, closed_at = close_at, \
         closed_by = close_by",
    );
    assert_eq!(elsewhere.rings(&app).await, ["digest"]);
    app.run_until_idle().await;
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    // AND with receivers that are to be asked, not before it is time
    let at = app.clock.now() + TimeDelta::seconds(1);
    app.sql(&format!(
        "insert into rowcall.verification (subscription_id, state, asked_at, due_at) \
         select id, 'asking', '{at}', '{at}' from rowcall.subscription where name = 'mirror'"
    ));
    assert_eq!(elsewhere.rings(&app).await, [""; 0]);
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(elsewhere.rings(&app).await, ["verification"]);
    app.sql("delete from rowcall.verification");
    // AND with replays, as long as one is under way
    app.sql(
        "insert into rowcall.replay (id, subscription_id, asked_by, selection, rate, interval_us, \
             state, created_at, looked_at, looked_upto, paced_until, due_at) \
         select gen_random_uuid(), id, 'somebody', '{}', '1/s', 1, 'searching', now(), id, id, \
             'infinity', 'infinity' \
         from rowcall.subscription where name = 'mirror'",
    );
    assert_eq!(elsewhere.rings(&app).await, ["replay"]);
    app.sql("delete from rowcall.replay");
}

#[tokio::test]
async fn if_it_cannot_look_all_find_out_for_themselves() {
    // GIVEN a repository that is not to be reached
    let app = TestApp::start(ORDERS).await;
    let mut elsewhere = Elsewhere::on(&app);
    elsewhere.rings(&app).await;
    app.sql("alter table rowcall.registry rename to gone");
    // WHEN it looks THEN that is its failure, and everybody looks
    assert!(elsewhere.lookout.run_once(app.clock.now()).await.is_err());
    assert_eq!(elsewhere.rung().await.len(), 5);
    app.sql("alter table rowcall.gone rename to registry");
}
