//! What is not seen, because no trigger fires; and what makes it fire.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use rowcall::private_postgres::{Cluster, ClusterOptions};

use crate::{
    reading::{ByHand, ROWS, rows_app, run},
    support::{
        app::{Options, TestApp},
        postgres::{connect, execute},
    },
};

/// What the tables' owner may do, and Rowcall alone may not.
const ALWAYS: &str = "alter table rows enable always trigger \" rowcall\"; \
    alter table rows enable always trigger \" rowcall truncate\"";

#[tokio::test]
async fn a_session_in_the_role_of_a_replica_is_not_seen_unless_the_owner_says_always() {
    // GIVEN
    let app = rows_app("", Options::default()).await;
    let mut hand = ByHand::new(&app, 10);
    let write = |id: i32| {
        app.sql(&format!(
            "set session_replication_role = replica; insert into rows values ({id}, 'r'); \
             update rows set v = 's' where id = {id}; truncate rows"
        ));
    };
    // WHEN it writes THEN nothing is captured
    write(1);
    assert_eq!(hand.read_all().len(), 0);
    // AND when the triggers fire always, all is
    app.sql(ALWAYS);
    write(2);
    hand.read_all();
    assert_eq!(hand.seen()[..2], ["c 2:-->r", "u 2:r->s"]);
    assert_eq!(hand.changes[2].op, "t");
}

#[tokio::test]
async fn what_the_owner_set_is_kept_when_the_function_is_written_anew() {
    // GIVEN triggers that fire always
    let mut app = rows_app("", Options::default()).await;
    app.sql(ALWAYS);
    // WHEN the table changes and upkeep writes the function anew
    app.sql("alter table rows add column at timestamptz, add column b bytea");
    let now = app.clock.now();
    rowcall::stage::Stage::run_once(&mut app.instance.upkeep, now)
        .await
        .unwrap();
    // THEN they do so still
    let states = app.texts(
        "select tgenabled from pg_trigger where tgrelid = 'rows'::regclass and not tgisinternal",
    );
    assert_eq!(states, ["A", "A"]);
}

#[tokio::test]
async fn a_disabled_trigger_sees_nothing_and_is_not_enabled_behind_its_owners_back() {
    let mut app = rows_app("", Options::default()).await;
    let mut hand = ByHand::new(&app, 10);
    app.sql("alter table rows disable trigger \" rowcall\"; insert into rows values (1, 'a')");
    let now = app.clock.now();
    rowcall::stage::Stage::run_once(&mut app.instance.upkeep, now)
        .await
        .unwrap();
    app.sql("insert into rows values (2, 'b'); alter table rows enable trigger \" rowcall\"");
    app.sql("insert into rows values (3, 'c')");
    hand.read_all();
    assert_eq!(hand.seen(), ["c 3:-->c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logical_replication_is_not_seen_unless_the_owner_says_always() {
    // GIVEN a table whose rows come from another cluster
    let publisher = tokio::task::spawn_blocking(Publisher::start).await.unwrap();
    let app = rows_app("", Options::default()).await;
    let mut hand = ByHand::new(&app, 1_000);
    let subscriber = Subscriber::start(&app, &publisher);
    // WHEN rows arrive, first as a copy of what is there and then one by one
    publisher.run("insert into rows values (2, 'b'); update rows set v = 'c' where id = 1");
    subscriber.until(
        "select count(*) from rows where (id, v) in ((1, 'c'), (2, 'b'))",
        2,
    );
    // THEN nothing was captured
    assert_eq!(hand.read_all().len(), 0);
    // AND when the triggers fire always, what arrives is
    app.sql(ALWAYS);
    publisher.run(
        "insert into rows values (3, 'd'); update rows set v = 'e' where id = 1; \
         delete from rows where id = 2",
    );
    publisher.run("begin; insert into rows values (4, 'x'); rollback");
    publisher.run("truncate rows; insert into rows values (5, 'last')");
    subscriber.until("select count(*) from rows where id = 5", 1);
    drop(subscriber);
    hand.read_all();
    let mut seen = hand.seen();
    assert_eq!(seen.remove(3), "t null:-->-");
    assert_eq!(seen, ["c 3:-->d", "u 1:c->e", "d 2:b->-", "c 5:-->last"]);
}

/// Another cluster, whose `rows` are published.
struct Publisher {
    cluster: Cluster,
}

impl Publisher {
    fn start() -> Self {
        let mut options = ClusterOptions::temporary().with_setting("wal_level", "logical");
        options.pg_bin = std::env::var_os("PG_BIN").map(Into::into);
        let publisher = Self {
            cluster: Cluster::start(options).unwrap_or_else(|error| panic!("{error}")),
        };
        publisher.run(&format!(
            "{ROWS}; insert into rows values (1, 'a'); create publication p for table rows"
        ));
        publisher
    }

    fn run(&self, sql: &str) {
        execute(&self.cluster.url("postgres"), sql);
    }
}

/// The subscription to it; dropped with this value, or the database could not be dropped.
struct Subscriber {
    url: String,
}

impl Subscriber {
    fn start(app: &TestApp, publisher: &Publisher) -> Self {
        let mut connection = app.connect();
        let url = publisher.cluster.url("postgres").replace('\'', "''");
        run(
            &mut connection,
            &format!("create subscription s connection '{url}' publication p"),
        );
        Self {
            url: app.database.url.clone(),
        }
    }

    fn until(&self, sql: &str, expected: i64) {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let (mut connection, begun) = (connect(&self.url), Instant::now());
        loop {
            let row: Row =
                diesel::RunQueryDsl::get_result(diesel::sql_query(sql), &mut connection).unwrap();
            if row.count == expected {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{sql}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let dropped = connect(&self.url).batch_execute("drop subscription s");
        assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
    }
}
