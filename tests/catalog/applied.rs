//! What an apply does to the running catalogue.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use rowcall::{
    capture::install::{InstallError, reconcile},
    catalog::{
        apply::{ATTEMPTS_MAX, ApplyError, Outcome, apply, plan},
        load::Folder,
        model::Catalog,
        problem::MetadataError,
        store::catalog_revision,
    },
    db::Database,
};

use super::{SHOP_SQL, SHOP_TOML, applied, apply_text, database, no_triggers, now, order};
use crate::support::postgres::TestDatabase;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn count(database: &TestDatabase, from: &str) -> i64 {
    let row: Count = sql_query(format!("select count(*) as count from {from}"))
        .get_result(&mut database.connect())
        .unwrap();
    row.count
}

#[tokio::test]
async fn a_folder_is_applied_once_and_each_change_is_a_version() {
    // GIVEN the demo's tables
    let database = database(SHOP_SQL);
    let mut connection = database.connect();

    // WHEN its metadata is applied
    let (version, text) = applied(&database, SHOP_TOML).await;

    // THEN it is version 1, and every object type has its four events
    assert_eq!(version, 1);
    assert!(text.contains("+ object_type shop.item\n"), "{text}");
    assert!(
        text.ends_with("7 to add, 0 to change, 0 to remove, 0 unchanged\n"),
        "{text}"
    );
    let catalog = Catalog::load(&mut connection).unwrap();
    assert_eq!(catalog.version, 1);
    assert_eq!(catalog.object_types["shop.item"].key, ["order_id", "line"]);
    let events: Vec<String> = catalog.event_types().collect();
    assert!(events.contains(&"shop.stock.deleted".to_owned()));
    assert!(events.contains(&"shop.order.released".to_owned()));
    assert_eq!(events.len(), 4 * 5 + 2 + 1);

    // AND applying the same again changes nothing
    let revision = catalog_revision(&mut connection).unwrap();
    let again = apply_text(&database, SHOP_TOML).await.unwrap();
    assert!(
        matches!(again, Outcome::Unchanged { version: 1 }),
        "{again:?}"
    );
    assert_eq!(catalog_revision(&mut connection).unwrap(), revision);

    // WHEN one object type changes and another goes
    let stock = "[object_type.\"shop.stock\"]\ntable = \"public.stock\"\nkey = [\"sku\"]\n";
    let changed = SHOP_TOML
        .replace(
            "mask = [\"card_number\"]",
            "mask = [\"card_number\", \"email\"]",
        )
        .replace(stock, "");
    let (version, text) = applied(&database, &changed).await;

    // THEN the plan says so, and the older version stays readable beside the new one
    assert_eq!(version, 2);
    assert_eq!(
        text,
        "~ object_type shop.customer\n    mask: [\"card_number\"] -> [\"card_number\",\"email\"]\n\
         - object_type shop.stock\n0 to add, 1 to change, 1 to remove, 5 unchanged\n"
    );
    assert!(catalog_revision(&mut connection).unwrap() > revision);
    let catalog = Catalog::load(&mut connection).unwrap();
    assert_eq!(
        catalog.object_types["shop.customer"].mask,
        ["card_number", "email"]
    );
    assert!(!catalog.object_types.contains_key("shop.stock"));
    assert_eq!(
        count(&database, "rowcall.catalog_item where version_to = 2"),
        2
    );
    assert_eq!(
        count(&database, "rowcall.catalog_item where version_to is null"),
        6
    );

    // AND a folder that was applied before the last one is applied again
    let (version, text) = applied(&database, SHOP_TOML).await;
    assert_eq!(version, 3);
    assert!(text.contains("+ object_type shop.stock\n"), "{text}");
    let (version, _) = applied(&database, &format!("# only a comment\n{SHOP_TOML}")).await;
    assert_eq!(version, 4);
}

#[tokio::test]
async fn a_plan_changes_nothing_and_needs_no_schema() {
    // GIVEN a database that Rowcall was never set up in
    let database = TestDatabase::create();
    crate::support::postgres::execute(&database.url, "drop schema if exists rowcall cascade");
    crate::support::postgres::execute(&database.url, SHOP_SQL);

    // WHEN
    let pool = Database::new(&database.url, 1);
    let planned = plan(&pool, Arc::new(order(SHOP_TOML))).await.unwrap();

    // THEN
    assert_eq!(planned.changes.len(), 7);
    assert_eq!(
        count(&database, "pg_namespace where nspname = 'rowcall'"),
        0
    );
}

#[tokio::test]
async fn an_apply_that_fails_at_the_triggers_changes_nothing() {
    // GIVEN
    let database = database(SHOP_SQL);
    let pool = Database::new(&database.url, 1);
    let failing = |_: &mut diesel::PgConnection, _: &Catalog, _| {
        Err(InstallError::Privilege {
            object_type: "shop.order".to_owned(),
            table: "public.orders".to_owned(),
            detail: "permission denied".to_owned(),
        })
    };

    // WHEN
    let failed = apply(&pool, Arc::new(order(SHOP_TOML)), now(), failing).await;

    // THEN
    assert!(matches!(failed, Err(ApplyError::Install(_))), "{failed:?}");
    assert_eq!(count(&database, "rowcall.catalog_version"), 0);
    assert_eq!(count(&database, "rowcall.catalog_item"), 0);
    let (version, _) = applied(&database, SHOP_TOML).await;
    assert_eq!(version, 1);
}

#[tokio::test]
async fn a_lock_that_is_not_free_is_tried_for_again_and_not_for_ever() {
    // GIVEN a hook that finds the lock of a table taken
    let database = database(SHOP_SQL);
    let pool = Database::new(&database.url, 1);
    let tries = Arc::new(AtomicU32::new(0));
    let busy_until = |last: u32| {
        let tries = tries.clone();
        move |connection: &mut diesel::PgConnection, catalog: &Catalog, at| {
            if tries.fetch_add(1, Ordering::Relaxed) + 1 < last {
                return Err(ApplyError::Install(InstallError::Busy {
                    object_type: "shop.order".to_owned(),
                    table: "public.orders".to_owned(),
                }));
            }
            no_triggers(connection, catalog, at)
        }
    };

    // WHEN it is never freed THEN the apply gives up and says why
    let order = Arc::new(order(SHOP_TOML));
    let gave_up = apply(&pool, order.clone(), now(), busy_until(u32::MAX)).await;
    assert!(matches!(gave_up, Err(ApplyError::Busy(_))), "{gave_up:?}");
    assert_eq!(tries.load(Ordering::Relaxed), ATTEMPTS_MAX);

    // WHEN it is free at the last try THEN the folder is applied
    tries.store(0, Ordering::Relaxed);
    let outcome = apply(&pool, order, now(), busy_until(ATTEMPTS_MAX))
        .await
        .unwrap();
    assert!(
        matches!(outcome, Outcome::Applied { version: 1, .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn the_real_triggers_are_installed_in_the_same_transaction() {
    let database = database(SHOP_SQL);
    let pool = Database::new(&database.url, 1);
    let install = |connection: &mut diesel::PgConnection, catalog: &Catalog, at| {
        reconcile(connection, catalog, 100_000, at)
    };
    apply(&pool, Arc::new(order(SHOP_TOML)), now(), install)
        .await
        .unwrap();
    assert_eq!(
        count(&database, "rowcall.capture_target where removed_at is null"),
        4
    );
}

#[tokio::test]
async fn a_key_that_is_unique_only_at_commit_is_a_warning() {
    let database = database("create table public.late (id bigint primary key deferrable)");
    let toml = "[namespace.s]\n[object_type.\"s.late\"]\ntable = \"public.late\"\nkey = [\"id\"]\n";
    let (_, text) = applied(&database, toml).await;
    assert!(
        text.contains("warning: m.toml:4:7: the key of s.late is unique only at commit"),
        "{text}"
    );
}

#[test]
fn a_folder_is_read_in_the_order_of_names_without_hidden_files() {
    // GIVEN
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let empty = Folder::read(directory.path());
    assert!(
        matches!(empty, Err(MetadataError::Empty { .. })),
        "{empty:?}"
    );
    write("b.toml", "[namespace.b]\n");
    write("a/deep.toml", "[namespace.a]\n");
    write(".hidden.toml", "[broken\n");
    write(".git/x.toml", "[broken\n");
    write("notes.txt", "[broken\n");

    // WHEN
    let folder = Folder::read(directory.path()).unwrap();

    // THEN
    let names: Vec<&str> = folder
        .namespaces
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(folder.problems.is_empty(), "{:?}", folder.problems);
    // AND the digest is that of names and contents
    let same = Folder::read(directory.path()).unwrap();
    assert_eq!(folder.digest, same.digest);
    std::fs::rename(
        directory.path().join("b.toml"),
        directory.path().join("c.toml"),
    )
    .unwrap();
    assert_ne!(
        Folder::read(directory.path()).unwrap().digest,
        folder.digest
    );

    let absent = Folder::read(&directory.path().join("nowhere"));
    assert!(
        matches!(absent, Err(MetadataError::Read { .. })),
        "{absent:?}"
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = "# too long\n".repeat(100_000);
    std::fs::write(directory.path().join("a.toml"), text).unwrap();
    let refused = Folder::read(directory.path()).unwrap_err().to_string();
    assert!(
        refused.ends_with("the file is larger than 1048576 bytes"),
        "{refused}"
    );
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    flags: rowcall::config::Flags,
    #[command(flatten)]
    metadata: rowcall::cli::metadata::MetadataArgs,
}

#[tokio::test]
async fn the_command_applies_a_folder_and_fails_on_an_invalid_one() {
    // GIVEN
    let database = database(SHOP_SQL);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("rowcall.conf");
    std::fs::write(&settings, "").unwrap();
    std::fs::write(folder.path().join("shop.toml"), SHOP_TOML).unwrap();
    let run = |words: &[&str]| {
        let path = folder.path().to_str().unwrap();
        let mut line = vec!["metadata", "--database-url", &database.url, "--config"];
        line.push(settings.to_str().unwrap());
        line.extend(words);
        line.push(path);
        let Program { flags, metadata } = clap::Parser::try_parse_from(line).unwrap();
        async move {
            let config = rowcall::config::Config::load(flags).unwrap();
            rowcall::cli::metadata::run(metadata, &config).await
        }
    };

    // WHEN THEN a plan changes nothing, and an apply does
    run(&["plan"]).await.unwrap();
    assert_eq!(count(&database, "rowcall.catalog_version"), 0);
    run(&["apply", "--author", "ada", "--reason", "the first"])
        .await
        .unwrap();
    let written = "rowcall.catalog_version where author = 'ada' and reason = 'the first'";
    assert_eq!(count(&database, written), 1);
    assert_eq!(
        count(&database, "rowcall.capture_target where removed_at is null"),
        4
    );

    // WHEN the folder is broken THEN the command fails with the report
    let broken = SHOP_TOML.replace("public.orders", "public.ordres");
    std::fs::write(folder.path().join("shop.toml"), broken).unwrap();
    let failed = format!("{:?}", run(&["apply"]).await.unwrap_err());
    assert!(
        failed.contains("shop.toml:") && failed.contains("public.ordres"),
        "{failed}"
    );
    assert_eq!(count(&database, "rowcall.catalog_version"), 1);
}
