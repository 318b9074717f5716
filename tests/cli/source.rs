//! `rowcall source` as an operator uses it: it is stopped, shown, rebased; detached and attached;
//! uninstalled without a trace.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use diesel::{Connection as _, PgConnection, connection::SimpleConnection as _};
use rowcall::private_postgres::{Cluster, ClusterOptions};
use serde_json::Value;

use crate::{
    Place, directory,
    support::{
        app::SECRET_KEY,
        postgres::{connect, execute},
        program::{Ended, Serving, rowcall, run},
    },
};

const METADATA: &str = "[namespace.shop]\n\n[object_type.\"shop.order\"]\n\
     table = \"public.orders\"\nkey = [\"id\"]\n";
const TABLE: &str = "create table public.orders (id integer primary key)";

impl Place {
    fn captured() -> Self {
        let place = Self::new();
        place.execute(TABLE);
        place.declare(METADATA);
        let ended = place.run(&["metadata", "apply", "metadata"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        place
    }

    fn serve(&self) -> (Serving, String) {
        let serving = Serving::start(&mut self.command(&["serve", "--listen", "127.0.0.1:0"]));
        let address = serving.address();
        (serving, address)
    }

    fn read_up_to(&self, position: i64) {
        until("published", || {
            (self.source()["position"] == position).then_some(())
        });
    }

    fn source(&self) -> Value {
        let ended = self.run(&["source", "list", "--json"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let sources: Value = serde_json::from_str(&ended.stdout).unwrap();
        sources[0].clone()
    }
}

fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// What an instance does by itself is done within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks until there is an answer that will do.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(answer) = ask() {
            return answer;
        }
    }
    panic!("not within {LIMIT:?}: {what}");
}

/// The answer of /readyz that contains `text`.
fn ready_until(address: &str, text: &str) -> String {
    until(text, || {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.contains(text).then_some(answer)
    })
}

#[test]
fn a_stopped_source_is_shown_everywhere_and_rebased() {
    // GIVEN an instance that serves
    let place = Place::captured();
    let (serving, address) = place.serve();
    ready_until(&address, "200 OK");
    place.execute("insert into orders select generate_series(1, 5)");
    place.read_up_to(5);
    // WHEN the sequence of changes is set back
    place.execute("select setval('rowcall.change_seq', 1); insert into orders values (6)");
    // THEN /readyz is 503 with the reason and what to run
    let answer = ready_until(&address, "HTTP/1.1 503");
    assert!(answer.contains("was set back"), "{answer}");
    assert!(answer.contains("rowcall source rebase default"), "{answer}");
    // AND the list says the same
    let source = place.source();
    assert_eq!(source["state"], "stopped");
    assert_eq!(source["changes_unread"], 1);
    let text = succeeded(place.run(&["source", "list"]));
    assert!(text.contains(": stopped since "), "{text}");
    assert!(
        text.contains("to go on: rowcall source rebase default"),
        "{text}"
    );
    // WHEN it is rebased
    let text = succeeded(place.run(&["source", "rebase", "default"]));
    assert!(
        text.contains("it is read on; 1 unread changes are published first"),
        "{text}"
    );
    // THEN the running instance reads on by itself
    ready_until(&address, "200 OK");
    place.read_up_to(6);
    let source = place.source();
    assert_eq!(
        (&source["state"], &source["changes_unread"]),
        (&"reading".into(), &0.into())
    );
    assert_eq!(
        succeeded(place.run(&["source", "rebase", "default"])),
        "nothing to do: source default is not stopped\n"
    );
    assert_eq!(serving.stop().0, Some(0));
}

#[test]
fn a_source_is_detached_and_attached_while_an_instance_serves() {
    let place = Place::captured();
    let (serving, _) = place.serve();
    assert_eq!(
        succeeded(place.run(&["source", "detach", "default"])),
        "shop.order is no longer captured\n"
    );
    place.execute("insert into orders values (1)");
    let text = succeeded(place.run(&["source", "list"]));
    assert!(
        text.contains(": detached since ") && text.contains("gap:      detached, shop.order, "),
        "{text}"
    );
    let text =
        succeeded(place.run(&["source", "attach", "default", "--object-type", "shop.order"]));
    assert!(text.starts_with("shop.order is captured again"), "{text}");
    place.execute("insert into orders values (2)");
    // The gap, and the row after it.
    place.read_up_to(2);
    assert_eq!(place.source()["state"], "reading");
    assert_eq!(serving.stop().0, Some(0));
    // AND what is not there is told
    place
        .run(&["source", "detach", "defualt"])
        .assert_refused(&["there is no source `defualt`; did you mean `default`?"]);
    place
        .run(&["source", "attach", "default", "--object-type", "shop.ordr"])
        .assert_refused(&["has no object type `shop.ordr`; did you mean `shop.order`?"]);
}

/// A cluster of its own, whose database `shop` was never touched by Rowcall.
struct Shop {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let mut options = ClusterOptions::temporary();
        options.pg_bin = std::env::var_os("PG_BIN").map(Into::into);
        let cluster = Cluster::start(options).unwrap();
        execute(&cluster.url("postgres"), "create database shop");
        execute(
            &cluster.url("shop"),
            "create table public.orders (id integer primary key) partition by range (id);
             create table public.orders_1 partition of public.orders for values from (0) to (100);
             create table public.events (id integer primary key);
             create table public.clicks () inherits (public.events)",
        );
        let directory = directory();
        let folder = directory.path().join("metadata");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "{METADATA}\n[object_type.\"shop.event\"]\ntable = \"public.events\"\nkey = [\"id\"]\n"
        );
        std::fs::write(folder.join("shop.toml"), text).unwrap();
        Self { cluster, directory }
    }

    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        let url = self
            .cluster
            .url("shop")
            .replace("user=rowcall", &format!("user={user}"));
        let mut command = rowcall(self.directory.path(), arguments);
        command
            .env("DATABASE_URL", url)
            .env("ROWCALL_SECRET_KEY", SECRET_KEY);
        command
    }

    fn run(&self, user: &str, arguments: &[&str]) -> Ended {
        run(&mut self.command(user, arguments))
    }

    /// What the database and the cluster's roles are, as statements.
    fn dumped(&self) -> String {
        let output = |program: &str, arguments: &[&str]| {
            let url = self.cluster.url("shop");
            let output = Command::new(self.cluster.bin(program))
                .arg(format!("--dbname={url}"))
                .args(arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            // From some versions on, each dump has a random word in it.
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .filter(|line| !line.contains("restrict"))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        output("pg_dump", &["--schema-only"]) + &output("pg_dumpall", &["--roles-only"])
    }

    fn connect(&self) -> PgConnection {
        connect(&self.cluster.url("shop"))
    }
}

#[test]
fn uninstalling_leaves_no_trace() {
    // GIVEN a database, and Rowcall installed in it
    let shop = Shop::new();
    let before = shop.dumped();
    succeeded(shop.run("rowcall", &["metadata", "apply", "metadata"]));
    let mut writer = shop.connect();
    writer
        .batch_execute("insert into public.orders values (1); insert into public.clicks values (1)")
        .unwrap();
    assert_ne!(shop.dumped(), before);
    // WHEN it is to be removed while an instance serves, it is refused
    let serving =
        Serving::start(&mut shop.command("rowcall", &["serve", "--listen", "127.0.0.1:0"]));
    let uninstall = ["source", "uninstall", "default", "--yes"];
    let ended = shop.run("rowcall", &uninstall);
    ended.assert_refused(&[
        "sessions of Rowcall are connected",
        "stop every `rowcall serve`",
    ]);
    assert_eq!(serving.stop().0, Some(0));
    // AND without being confirmed
    let ended = shop.run("rowcall", &uninstall[..3]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.assert_says(&["no terminal to confirm at; nothing was removed", "--yes"]);
    assert!(
        ended
            .stdout
            .starts_with("This removes 7 triggers on 4 tables, and the schema rowcall"),
        "{ended:?}"
    );
    // AND while something of another's depends on it
    execute(
        &shop.cluster.url("shop"),
        "create view public.told as select id from rowcall.event",
    );
    let ended = shop.run("rowcall", &uninstall);
    ended.assert_says(&["view public.told depends on table rowcall.event"]);
    execute(
        &shop.cluster.url("shop"),
        "insert into public.orders values (2)",
    );
    execute(&shop.cluster.url("shop"), "drop view public.told");
    // THEN when it is, nothing is left, and writers go on
    let text = succeeded(shop.run("rowcall", &uninstall));
    assert!(
        text.ends_with("removed; nothing of Rowcall is left\n"),
        "{text}"
    );
    assert_eq!(shop.dumped(), before);
    writer
        .batch_execute("insert into public.orders values (3); insert into public.clicks values (3)")
        .unwrap();
    // AND there is nothing more to remove
    shop.run("rowcall", &uninstall)
        .assert_says(&["has no repository"]);
}

#[test]
fn who_owns_no_table_uninstalls_in_two_steps_and_no_writer_fails() {
    // GIVEN Rowcall with the trigger privilege alone
    let shop = Shop::new();
    execute(
        &shop.cluster.url("shop"),
        "create role service login; create role rowcall_capture; grant rowcall_capture to service;
         grant create on database shop to service; grant trigger on all tables in schema public to service",
    );
    let before = shop.dumped();
    succeeded(shop.run("service", &["metadata", "apply", "metadata"]));
    // WHEN it is uninstalled
    let uninstall = ["source", "uninstall", "default", "--yes"];
    let ended = shop.run("service", &uninstall);
    // THEN the owner is told what to run, and writers go on
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.assert_says(&[
        "7 triggers belong to tables of others",
        "DROP TRIGGER \" rowcall\" ON public.orders; -- as rowcall",
    ]);
    let mut owner = shop.connect();
    owner
        .batch_execute("insert into public.orders values (1); truncate public.events")
        .unwrap();
    // AND when the owner has run it, the rest goes
    for (table, triggers) in [
        ("orders", &["\" rowcall\"", "\" rowcall truncate\""][..]),
        ("orders_1", &["\" rowcall truncate\""]),
        ("events", &["\" rowcall\"", "\" rowcall truncate\""]),
        ("clicks", &["\" rowcall\"", "\" rowcall truncate\""]),
    ] {
        for trigger in triggers {
            let statement = format!("drop trigger if exists {trigger} on public.{table}");
            owner.batch_execute(&statement).unwrap();
        }
    }
    let text = succeeded(shop.run("service", &uninstall));
    assert!(
        text.contains("an administrator may run: DROP ROLE rowcall_capture;"),
        "{text}"
    );
    assert_eq!(shop.dumped(), before);
    owner
        .transaction(|connection| connection.batch_execute("insert into public.orders values (2)"))
        .unwrap();
}
