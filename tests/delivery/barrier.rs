//! The barrier, whatever happens: a trigger on the deliveries notes each delayed one that is
//! claimed for the first time while a synchronous one of its event could start and was not tried.
//! The same claim may hold both: their order is that of an instance's memory then, and the
//! receivers note it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use rowcall::config::Limits;
use uuid::Uuid;

use crate::{
    interleavings::Random,
    shop::{ORDERS, deliver, publish, subscribe, subscription},
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
    },
};

/// Receiver and event of each request, in the order in which they came.
type Log = Arc<Mutex<Vec<(usize, String)>>>;

const ROUNDS: u64 = 30;
const STEPS: u64 = 40;
const RETRY: &str = r#"retry = { schedule = ["0s", "0s", "1s", "5s", "1m", "1m", "1m", "1m"] }"#;

/// The claim's time is the lease's end less the lease.
fn watch(limits: &Limits) -> String {
    format!(
        "create table public.early (event_id uuid, untried bigint); \
         create function public.note_early() returns trigger language plpgsql as $$ \
         declare \
             at timestamptz := new.lease_until - interval '{} milliseconds'; \
             untried bigint; \
         begin \
             select count(*) into untried from rowcall.delivery s \
             where s.event_id = new.event_id and s.urgency = 0 and s.attempts = 0 \
                 and s.lost_leases < 2 \
                and s.lease_holder is distinct from new.lease_holder \
                 and (s.state = 'sending' or s.state = 'pending' and s.due_at <= at); \
             if tg_op = 'UPDATE' and old.state = 'sending' then return null; end if; \
             if untried > 0 then insert into public.early values (new.event_id, untried); end if; \
             return null; \
         end $$; \
         create trigger early after insert or update on rowcall.delivery for each row \
         when (new.urgency = 1 and new.state = 'sending' and new.attempts = 0) \
         execute function public.note_early()",
        limits.lease_ms
    )
}

fn write(random: &mut Random, app: &TestApp) {
    let key = random.below(3);
    app.sql(&match random.below(6) {
        0..=2 => format!(
            "insert into orders values ({key}) on conflict (id) do update set revision = \
             orders.revision + 1"
        ),
        3 => format!("update orders set revision = revision + 1 where id = {key}"),
        4 => format!("delete from orders where id = {key}"),
        _ => format!(
            "update orders set id = {key} + 10 where id = {key} and not exists \
             (select from orders where id = {key} + 10)"
        ),
    });
}

/// Events that a delayed receiver got before the synchronous one that waits for no lane. What could
/// not start there, or has lost two leases, counts as tried.
fn early(app: &TestApp, log: &Log) -> Vec<String> {
    let mut first: HashMap<(bool, String), usize> = HashMap::new();
    for (place, (receiver, id)) in log.lock().unwrap().iter().enumerate() {
        let who = match receiver {
            1 => false,
            2 => true,
            _ => continue,
        };
        first.entry((who, id.clone())).or_insert(place);
    }
    let excused = app.texts(
        "select d.event_id from rowcall.delivery d join rowcall.subscription s \
         on s.id = d.subscription_id where s.name = 'loose' and (lost_leases > 1 or is_deferred)",
    );
    let is_early = |id: &String| {
        let of = |who| first.get(&(who, id.clone()));
        of(false).is_none_or(|loose| of(true).is_some_and(|later| later < loose))
    };
    first
        .keys()
        .filter(|(who, id)| *who && is_early(id) && !excused.contains(id))
        .map(|(_, id)| id.clone())
        .collect()
}

#[tokio::test]
async fn no_delayed_delivery_starts_before_the_synchronous_ones_are_tried() {
    let receivers = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    let limits = Limits::for_testing();
    let mut app = TestApp::start(ORDERS).await;
    app.sql(&watch(&limits));
    let delayed = |name: &str, url: &str, more: &str| {
        subscription(name, url, more).replace("\"synchronous\"", "\"synchronous_delayed\"")
    };
    let loose = format!("{RETRY}\nordering = \"none\"");
    subscribe(
        &app,
        &[
            subscription("first", receivers[0].url(), RETRY),
            subscription("loose", receivers[1].url(), &loose),
            delayed("later", receivers[2].url(), RETRY),
            delayed("later-loose", receivers[2].url(), &loose),
        ],
    )
    .await;
    let base = Uuid::new_v4().as_u64_pair().0;
    let (mut waited, mut aside) = (0, 0);
    let log = Log::default();
    for round in 0..ROUNDS {
        let seed = base.wrapping_add(round);
        let mut random = Random(seed);
        for (number, receiver) in receivers.iter().enumerate() {
            let mut random = Random(random.next());
            let log = Arc::clone(&log);
            receiver.answer_with(move |request| {
                log.lock().unwrap().push((number, request.id.clone()));
                match random.below(6) {
                    0 => Answer::Status(503),
                    1 => Answer::Reset,
                    _ => Answer::Status(200),
                }
            });
        }
        for _ in 0..STEPS {
            match random.below(8) {
                0..=2 => write(&mut random, &app),
                3..=4 => {
                    publish(&mut app).await;
                    aside += app.count(
                        "select count(*) from rowcall.delivery s join rowcall.delivery d \
                         on d.event_id = s.event_id and d.lease_holder = s.lease_holder \
                         where s.urgency = 0 and d.urgency = 1",
                    );
                }
                5 => deliver(&mut app).await,
                6 => {
                    // Whoever held leases vanished, or only its answers are late.
                    if random.below(4) == 0 {
                        let lost = "update rowcall.delivery set lease_until = created_at \
                            where state = 'sending'";
                        app.sql(lost);
                    }
                    app.clock
                        .advance(TimeDelta::milliseconds(random.below(3_000) as i64));
                }
                _ => {
                    let state = ["active", "paused"][random.below(2) as usize];
                    app.sql(&format!(
                        "update rowcall.subscription set state = '{state}' where name = 'first'; \
                         update rowcall.registry set revision = revision + 1; \
                         update rowcall.delivery set due_at = created_at where due_at = 'infinity'"
                    ));
                }
            }
        }
        waited += app.count(
            "select count(*) from rowcall.delivery where urgency = 1 and due_at > created_at",
        );
        app.sql(
            "update rowcall.subscription set state = 'active'; \
             update rowcall.registry set revision = revision + 1; \
             update rowcall.delivery set due_at = created_at where due_at = 'infinity'",
        );
        // What was written last may not have been published in any of the steps.
        app.run_until_idle().await;
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while app.count("select count(*) from rowcall.delivery where settled_at is null") > 0 {
            app.run_until_idle().await;
            app.clock.advance(TimeDelta::seconds(11));
            assert!(
                tokio::time::Instant::now() < end,
                "left behind, seed {seed}: {:#?}",
                app.texts(
                    "select d::text from rowcall.delivery d where settled_at is null order by position"
                )
            );
        }
        // THEN none was early
        let early = app.texts("select event_id || ' ' || untried from public.early");
        assert_eq!(
            early, [""; 0],
            "round {round} with seed {seed} of base {base}"
        );
        let early = self::early(&app, &log);
        assert_eq!(
            early, [""; 0],
            "received early: round {round} with seed {seed} of base {base}"
        );
    }
    assert!(waited > 0, "the barrier was never up");
    assert!(aside > 0, "nobody waited in memory");
}
