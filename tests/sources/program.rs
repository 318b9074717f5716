//! The program as an operator runs it, with a source from the environment.

use std::time::Duration;

use crate::{
    METADATA, ROWS,
    support::{
        app::{SECRET_KEY, SIGNING_SECRET},
        postgres::{Kind, TestDatabase, execute},
        program::{Serving, rowcall, run},
        receiver::Receiver,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_from_the_environment_is_applied_and_served() {
    // GIVEN two databases and a folder that names both
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (
        TestDatabase::create(),
        TestDatabase::create_in(Kind::Elsewhere),
    );
    execute(&here.url, ROWS);
    execute(&there.url, ROWS);
    let toml = format!(
        "{METADATA}\n[subscription.all]\nobject_types = [\"crm.row\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"{}\", secret = {{ env = \"SIGNING_SECRET\" }} }}",
        receiver.url()
    );
    std::fs::write(directory.path().join("m.toml"), toml).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = rowcall(directory.path(), arguments);
        command
            .env("DATABASE_URL", &here.url)
            .env("ROWCALL_SECRET_KEY", SECRET_KEY)
            .env("ROWCALL_ALLOW_NETS", "127.0.0.0/8")
            .env("SIGNING_SECRET", SIGNING_SECRET);
        command
    };
    // WHEN nobody says where the other one is
    run(&mut command(&["metadata", "plan", "."])).assert_refused(&[
        "the source `crm` is not configured",
        "[source.crm] in rowcall.toml, or ROWCALL_SOURCE_CRM_URL",
        "m.toml:10:10",
    ]);
    // AND a name that can't be is told with its variable and without its value
    let ended = run(command(&["metadata", "plan", "."])
        .env("ROWCALL_SOURCE_DEFAULT_URL", "postgres://u:hush@h/d"));
    ended.assert_refused(&["ROWCALL_SOURCE_DEFAULT_URL: ", "`default`"]);
    assert!(!ended.stderr.contains("hush"), "{ended:?}");
    // AND then somebody does
    let applied =
        run(command(&["metadata", "apply", "."]).env("ROWCALL_SOURCE_CRM_URL", &there.url));
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(applied.stdout.contains("source = \"crm\""), "{applied:?}");
    // THEN what is written there arrives
    let serving = tokio::task::block_in_place(|| {
        Serving::start(
            command(&["serve", "--listen", "127.0.0.1:0"])
                .env("ROWCALL_SOURCE_CRM_URL", &there.url),
        )
    });
    execute(&there.url, "insert into rows values (1, 'x')");
    receiver.wait_for(1, Duration::from_secs(30)).await;
    // AND nobody guesses what is unread there
    let listed = run(command(&["source", "list"]).env("ROWCALL_SOURCE_CRM_URL", &there.url)).stdout;
    assert!(
        listed.contains("counted only in its own database"),
        "{listed}"
    );
    let (code, log) = tokio::task::block_in_place(|| serving.stop());
    assert_eq!(code, Some(0), "{log}");
    // AND an instance that is not told where it is says so
    let mut serving = tokio::task::block_in_place(|| {
        Serving::start(&mut command(&["serve", "--listen", "127.0.0.1:0"]))
    });
    let log = serving.log();
    assert!(log.contains("the source `crm` is not configured"), "{log}");
    let (code, log) = tokio::task::block_in_place(|| serving.stop());
    assert_eq!(code, Some(0), "{log}");
}
