//! What the tests of digests share: batch subscriptions, and events that are written by SQL.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{Connection as _, PgConnection, RunQueryDsl as _, sql_types};
use rowcall::{
    deliver::lane::store::lane_release,
    digest::{
        gather::{Gathered, Gathering, NewMember, digest_gather},
        schedule::Schedule,
    },
    publish::detect::Ids,
    stage::{Progress, Stage as _},
    subscription::model::DigestSchedule,
};
use serde_json::Value;
use uuid::Uuid;

use crate::support::app::TestApp;

const SHOP: &str = r#"
    [namespace.sales]
    [object_type."sales.order"]
    table = "public.orders"
    key = ["id"]
"#;

/// An instance with a batch subscription `news` with this schedule (the inside of a TOML table);
/// `more` are further lines of it.
pub(crate) async fn news(schedule: &str, more: &str) -> TestApp {
    let app = TestApp::start("create table public.orders (id integer primary key)").await;
    resubscribe(&app, schedule, more).await;
    app
}

/// Applies another schedule, and other lines.
pub(crate) async fn resubscribe(app: &TestApp, schedule: &str, more: &str) {
    resubscribe_to(app, schedule, more, "http://127.0.0.1:9/").await;
}

/// The same, with a receiver.
pub(crate) async fn resubscribe_to(app: &TestApp, schedule: &str, more: &str, url: &str) {
    app.apply(&format!(
        r#"{SHOP}
        [subscription.news]
        object_types = ["sales.order"]
        mode = "batch"
        schedule = {{ {schedule} }}
        sink = {{ kind = "webhook", url = "{url}", secret = {{ env = "SIGNING_SECRET" }} }}
        {more}
        "#
    ))
    .await;
}

/// The subscription's id.
pub(crate) fn news_id(app: &TestApp) -> Uuid {
    app.texts("select id from rowcall.subscription where name = 'news'")[0]
        .parse()
        .unwrap()
}

/// A compiled schedule of TOML.
pub(crate) fn schedule(toml: &str) -> Schedule {
    let spec: DigestSchedule = toml::from_str(&toml.replace(", ", "\n")).unwrap();
    Schedule::compile(&spec).unwrap()
}

/// An event of an order, as a test has it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) verb: &'static str,
    pub(crate) key: i64,
    pub(crate) previous: Option<i64>,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl Made {
    pub(crate) fn created(key: i64, note: &str) -> Self {
        Self {
            verb: "created",
            key,
            previous: None,
            before: None,
            after: Some(image(key, note)),
        }
    }

    pub(crate) fn updated(key: i64, before: &str, after: &str) -> Self {
        Self {
            verb: "updated",
            before: Some(image(key, before)),
            ..Self::created(key, after)
        }
    }

    pub(crate) fn deleted(key: i64, note: &str) -> Self {
        Self {
            verb: "deleted",
            before: Some(image(key, note)),
            after: None,
            ..Self::created(key, note)
        }
    }

    pub(crate) fn renamed(from: i64, to: i64, note: &str) -> Self {
        Self {
            verb: "updated",
            previous: Some(from),
            before: Some(image(from, note)),
            ..Self::created(to, note)
        }
    }

    fn body(&self, id: Uuid) -> String {
        let text = |image: &Option<String>| image.clone().unwrap_or_else(|| "null".to_owned());
        let (verb, key) = (self.verb, self.key);
        format!(
            concat!(
                r#"{{"specversion":"1.0","id":"{id}","source":"/rowcall/default","#,
                r#""type":"sales.order.{verb}","subject":"{key}","#,
                r#""time":"2026-03-02T09:00:00.000000Z","datacontenttype":"application/json","#,
                r#""data":{{"object_type":"sales.order","key":{{"id":{key}}},"op":"{op}","#,
                r#""before":{before},"after":{after},"changed":[],"actor":null,"xid":"7"}}}}"#,
            ),
            id = id,
            verb = verb,
            key = key,
            op = &verb[..6],
            before = text(&self.before),
            after = text(&self.after),
        )
    }
}

fn image(key: i64, note: &str) -> String {
    format!(r#"{{"id":{key}, "note":"{note}"}}"#)
}

/// Writes events, in the transaction of `connection`, and gives them as members of a digest.
/// `position` is the last one before them.
pub(crate) fn write_events(
    connection: &mut PgConnection,
    made: &[Made],
    position: i64,
    now: DateTime<Utc>,
) -> Vec<NewMember> {
    let (ids, mut members) = (Ids::new(), Vec::new());
    for (one, position) in made.iter().zip(position + 1..) {
        let event_id = ids.next(now);
        diesel::sql_query(
            "insert into rowcall.event (id, source, position, type, object_type, object_key, \
                 previous_key, \"time\", published_at, change_seq, xid, body) \
             values ($1, 'default', $2, $3, 'sales.order', $4, $5, $6, $6, $2, '7', $7)",
        )
        .bind::<sql_types::Uuid, _>(event_id)
        .bind::<sql_types::BigInt, _>(position)
        .bind::<sql_types::Text, _>(format!("sales.order.{}", one.verb))
        .bind::<sql_types::Text, _>(one.key.to_string())
        .bind::<sql_types::Nullable<sql_types::Text>, _>(one.previous.map(|key| key.to_string()))
        .bind::<sql_types::Timestamptz, _>(now)
        .bind::<sql_types::Text, _>(one.body(event_id))
        .execute(connection)
        .unwrap();
        members.push(NewMember {
            event_id,
            position,
            event_type: format!("sales.order.{}", one.verb),
            object_type: Some("sales.order".to_owned()),
            object_key: Some(one.key.to_string()),
            previous_key: one.previous.map(|key| key.to_string()),
            time: now,
            body: None,
        });
    }
    members
}

/// Publishes events for `news`: writes them and gathers them, in one transaction.
pub(crate) fn publish(app: &TestApp, schedule: &Schedule, made: &[Made]) -> Gathered {
    let (id, now) = (news_id(app), app.clock.now());
    let position = app.count("select coalesce(max(position), 0) from rowcall.event");
    app.connect()
        .transaction(|connection| {
            let members = write_events(connection, made, position, now);
            // As publishing counts what it matches.
            diesel::sql_query(
                "update rowcall.subscription_sequence set matched = matched + $2 \
                 where subscription_id = $1",
            )
            .bind::<sql_types::Uuid, _>(id)
            .bind::<sql_types::BigInt, _>(made.len() as i64)
            .execute(connection)?;
            let gathering = Gathering {
                subscription_id: id,
                schedule,
                grouping: None,
                members,
            };
            digest_gather(connection, &[gathering], now)
        })
        .unwrap()
}

/// `count` events of as many orders.
pub(crate) fn orders(count: i64) -> Vec<Made> {
    (1..=count).map(|key| Made::created(key, "new")).collect()
}

/// `state events closed_by` of each digest, in their order.
pub(crate) fn digests(app: &TestApp) -> Vec<String> {
    app.texts(
        "select concat_ws(' ', state, events, closed_by) from rowcall.digest \
         order by number nulls last",
    )
}

/// Runs the digest stage until it finds nothing to do at the present time.
pub(crate) async fn digest(app: &mut TestApp) {
    let now = app.clock.now();
    while app.instance.digest.run_once(now).await.unwrap() == Progress::Worked {}
}

/// Moves the clock, then runs the digest stage until it is idle.
pub(crate) async fn advance(app: &mut TestApp, step: TimeDelta) {
    app.clock.advance(step);
    digest(app).await;
}

/// The bodies of all parts, in the order of digests and parts.
pub(crate) fn bodies(app: &TestApp) -> Vec<Value> {
    app.texts(
        "select p.body from rowcall.digest_part p join rowcall.digest d on d.id = p.digest_id \
         order by d.number, p.part",
    )
    .iter()
    .map(|body| serde_json::from_str(body).unwrap())
    .collect()
}

/// `number.part state due` of each delivery of a part, in the order of their sequence.
pub(crate) fn parts(app: &TestApp) -> Vec<String> {
    app.texts(
        "select d.number || '.' || l.part || ' ' || l.state || ' ' || case \
             when l.due_at is null then 'blocked' when l.due_at = 'infinity' then 'parked' \
             else 'due' end \
         from rowcall.delivery l join rowcall.digest d on d.id = l.digest_id order by l.sequence",
    )
}

/// Marks what is due as delivered, and releases what is behind it: as the deliver stage would.
pub(crate) fn deliver_all(app: &TestApp) {
    let now = app.clock.now();
    loop {
        let mut connection = app.connect();
        let delivered = diesel::sql_query(
            "update rowcall.delivery set state = 'delivered', attempts = 1, due_at = null, \
                 settled_at = greatest($1, created_at) where state = 'pending' and due_at <= $1",
        )
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(&mut connection)
        .unwrap();
        if delivered == 0 {
            return;
        }
        let lanes: Vec<(Uuid, i64)> = app
            .texts("select distinct subscription_id || ' ' || lane from rowcall.delivery")
            .iter()
            .filter_map(|text| text.split_once(' '))
            .map(|(id, lane)| (id.parse().unwrap(), lane.parse().unwrap()))
            .collect();
        lane_release(&mut connection, &lanes, now, now).unwrap();
    }
}
