//! What can't be, told with its place and what to do.

use rowcall::{
    catalog::apply::plan,
    config::Sources,
    db::Database,
    stage::{Stage as _, chain},
};
use std::sync::Arc;

use crate::{
    METADATA, ROWS, Two, applied, count, order, problem_lines, sources,
    support::{
        app::{Options, TestApp},
        postgres::{Kind, TestDatabase, cluster, execute, start_own},
    },
};

#[tokio::test]
async fn a_source_that_is_not_configured_is_told_with_its_place_and_the_nearest() {
    let app = TestApp::start(ROWS).await;
    let toml = METADATA.replace("source = \"crm\"", "source = \"cmr\"");
    let error = applied(&app, &toml, sources("postgres://h/d"))
        .await
        .unwrap_err();
    assert_eq!(
        problem_lines(&error),
        [
            "test.toml:10:10: the source `cmr` is not configured (did you mean `crm`? expected one \
             of `crm`, `default`; say where it is in [source.cmr] in rowcall.toml, or \
             ROWCALL_SOURCE_CMR_URL)"
        ]
    );
    assert_eq!(app.count("select count(*) from rowcall.catalog_version"), 0);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_told_with_the_names_that_are() {
    let two = Two::start().await;
    two.there("create table public.customers (id integer primary key)");
    let toml = METADATA.replace(
        "\"public.rows\"\nkey = [\"id\"]\nsource",
        "\"public.customer\"\nkey = [\"id\"]\nsource",
    );
    let error = applied(&two.app, &toml, sources(&two.crm.url))
        .await
        .unwrap_err();
    assert_eq!(
        problem_lines(&error),
        ["test.toml:8:9: there is no table `public.customer` (did you mean `public.customers`?)"]
    );
    // Which changes are written down can't be chosen there.
    let toml = format!("{METADATA}capture = \"defined\"");
    let error = applied(&two.app, &toml, sources(&two.crm.url))
        .await
        .unwrap_err();
    assert!(problem_lines(&error)[0].starts_with("test.toml:11:11: `capture = \"defined\"`"));
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_told_and_its_password_is_not() {
    let app = TestApp::start(ROWS).await;
    let there = cluster(Kind::Elsewhere);
    let socket = there.socket_dir().display().to_string();
    for (url, expected) in [
        (
            "postgres://u:hush@127.0.0.1:1/crm".to_owned(),
            "Connection refused",
        ),
        (
            format!("host={socket} password=hush user=nobody dbname=crm"),
            "\"nobody\" does not exist",
        ),
        (
            there.url("no_such_database"),
            "\"no_such_database\" does not exist",
        ),
        (
            "postgres://u:hush@h:port/crm".to_owned(),
            "the URL is not shown",
        ),
    ] {
        let error = applied(&app, METADATA, sources(&url)).await.unwrap_err();
        let lines = problem_lines(&error);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert!(
            line.starts_with(
                "test.toml:10:10: the database of the source `crm` can't be looked at"
            ) && line.contains(expected)
                && line.contains("ROWCALL_SOURCE_CRM_URL")
                && !line.contains("hush"),
            "{line}"
        );
    }
    assert_eq!(app.count("select count(*) from rowcall.catalog_version"), 0);
}

#[tokio::test]
async fn planning_changes_nothing_there() {
    let app = TestApp::start(ROWS).await;
    let crm = TestDatabase::create_in(Kind::Elsewhere);
    execute(&crm.url, ROWS);
    let database = Database::new(&app.database.url, 1);
    let plan = plan(&database, Arc::new(order(METADATA, sources(&crm.url))))
        .await
        .unwrap();
    assert!(plan.to_string().contains("source = \"crm\""), "{plan}");
    assert_eq!(
        count(
            &crm.url,
            "select count(*) from pg_namespace where nspname = 'rowcall'"
        ),
        0
    );
}

#[tokio::test]
async fn a_database_is_one_source_of_one_repository_and_no_repository_itself() {
    let two = Two::start().await;
    let refused = async |app: &TestApp, toml: &str, sources: Sources| {
        let error = applied(app, toml, sources).await.unwrap_err();
        format!("{:?}", miette::Report::new(error)).replace(['\n', '│'], " ")
    };
    // A repository
    let app = TestApp::start(ROWS).await;
    let itself = refused(&app, METADATA, sources(&app.database.url)).await;
    assert!(
        itself.contains("is a repository of Rowcall itself"),
        "{itself}"
    );
    // Another repository's
    app.sql("update rowcall.registry set repository = gen_random_uuid()");
    let taken = refused(&app, METADATA, sources(&two.crm.url)).await;
    assert!(
        taken.contains("source of another repository already"),
        "{taken}"
    );
    // The same under two names
    let mut twice = sources(&two.crm.url);
    twice.add("erp", two.crm.url.clone().into()).unwrap();
    let toml = format!(
        "{METADATA}\n[object_type.\"crm.copy\"]\ntable = \"public.rows\"\nkey = [\"id\"]\nsource = \"erp\""
    );
    let named = refused(&two.app, &toml, twice).await;
    assert!(
        named.contains("the database is the source `crm` already"),
        "{named}"
    );
    // AND a source can't become a repository
    let error = rowcall::db::migrate(&two.crm.url).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is a source of another repository"),
        "{error}"
    );
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_with_the_grant_and_nothing_is_applied() {
    let two = Two::start_with(ROWS, "[namespace.t]", Default::default()).await;
    let user = format!("{}_nobody", two.crm.name);
    two.there(&format!("create role {user} login"));
    let url = two.crm.url.replace("user=rowcall", &format!("user={user}"));
    let error = applied(&two.app, METADATA, sources(&url))
        .await
        .unwrap_err();
    let line = &problem_lines(&error)[0];
    assert!(line.contains("GRANT TRIGGER ON public.rows"), "{line}");
    two.there(&format!("grant trigger on rows to {user}"));
    let error = applied(&two.app, METADATA, sources(&url))
        .await
        .unwrap_err();
    let told = format!("{:?}", miette::Report::new(error));
    assert!(
        told.contains("GRANT CREATE ON DATABASE") && told.contains("source `crm`"),
        "{told}"
    );
    assert_eq!(
        two.app
            .count("select max(version) from rowcall.catalog_version"),
        1
    );
}

#[tokio::test]
async fn a_source_that_is_away_refuses_only_what_is_about_it() {
    // GIVEN a source that was there once
    let mut there = start_own(&[]);
    let url = there.url("postgres");
    execute(&url, ROWS);
    let options = Options {
        sources: sources(&url),
        ..Options::default()
    };
    let mut app = TestApp::start_with(ROWS, options).await;
    app.apply(METADATA).await;
    execute(&url, "insert into rows values (1, 'x')");
    let now = app.clock.now();
    crate::copy_all(&mut app.instance, now).await.unwrap();
    there.crash().unwrap();
    // WHEN the folder changes elsewhere, with a condition on the columns of its table
    let more = "[event_type.\"crm.row.named\"]\nobject_type = \"crm.row\"\nwhen = \"new.v == 'x'\"";
    let toml = format!("{METADATA}\n{more}");
    applied(&app, &toml, sources(&url)).await.unwrap();
    // THEN it is applied, and what was copied is judged by it
    app.run_until_idle().await;
    assert_eq!(
        app.texts("select type from rowcall.event order by position"),
        ["crm.row.created", "crm.row.named"]
    );
    // AND a condition on a column that it never had is still refused
    let wrong = toml.replace("new.v", "new.w");
    let error = applied(&app, &wrong, sources(&url)).await.unwrap_err();
    assert!(problem_lines(&error)[0].contains("`w`"), "{error:?}");
    // AND so is a change of its object type
    let masked = toml.replace("source = \"crm\"", "source = \"crm\"\nmask = [\"v\"]");
    let error = applied(&app, &masked, sources(&url)).await.unwrap_err();
    assert!(
        problem_lines(&error)[0].contains("can't be looked at"),
        "{error:?}"
    );
    // WHEN its last object type is taken out meanwhile
    applied(&app, "[namespace.t]", sources(&url)).await.unwrap();
    assert!(app.instance.sources[0].upkeep.run_once(now).await.is_err());
    there.restart().unwrap();
    // THEN its triggers go when it is back
    app.instance.sources[0].upkeep.run_once(now).await.unwrap();
    let triggers = "select count(*) from pg_trigger where tgname like '% rowcall%'";
    assert_eq!(count(&url, triggers), 0);
}

#[tokio::test]
async fn a_standby_is_refused() {
    // GIVEN a server in recovery: it is one as soon as the signal file is there
    let mut there = start_own(&[("hot_standby", "on")]);
    let url = there.url("postgres");
    execute(&url, ROWS);
    let app = TestApp::start_with(
        ROWS,
        Options {
            sources: sources(&url),
            ..Options::default()
        },
    )
    .await;
    app.apply(METADATA).await;
    let mut app = app;
    let now = app.clock.now();
    crate::copy_all(&mut app.instance, now).await.unwrap();
    there.crash().unwrap();
    let data = there.directory().join("data");
    std::fs::write(data.join("standby.signal"), "").unwrap();
    there.restart().unwrap();
    // THEN all that need it say so
    let _ = crate::copy_all(&mut app.instance, now).await;
    let error = crate::copy_all(&mut app.instance, now).await.unwrap_err();
    assert!(chain(&error).contains("is a standby"), "{}", chain(&error));
    let error = app.instance.sources[0]
        .upkeep
        .run_once(now)
        .await
        .unwrap_err();
    assert!(chain(&error).contains("is a standby"), "{}", chain(&error));
    let changed = METADATA.replace("source = \"crm\"", "source = \"crm\"\nmask = [\"v\"]");
    let error = applied(&app, &changed, sources(&url)).await.unwrap_err();
    assert!(
        problem_lines(&error)[0].contains("is a standby"),
        "{error:?}"
    );
}
