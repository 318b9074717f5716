//! Up, down, at once, and without the right to.

use diesel_migrations::MigrationHarness as _;
use rowcall::db::{DbError, MIGRATIONS, migrate};

use super::{
    dump::schema,
    support::postgres::{Kind, cluster, connect, execute},
    texts,
};

/// An empty database, which stays with the cluster.
fn empty_database(name: &str) -> String {
    let cluster = cluster(Kind::Standard);
    execute(&cluster.url("postgres"), &format!("create database {name}"));
    cluster.url(name)
}

#[test]
fn all_migrations_go_down_to_nothing_and_up_again() {
    let url = empty_database("up_and_down");
    let applied = migrate(&url).unwrap();
    assert!(!applied.is_empty());
    let mut connection = connect(&url);
    let before = schema(&mut connection);

    texts(
        &mut connection,
        "select set_config('search_path', 'rowcall, pg_catalog', false) as text",
    );
    connection.revert_all_migrations(MIGRATIONS).unwrap();

    let left = texts(
        &mut connection,
        "select relname::text as text from pg_class where relnamespace = 'rowcall'::regnamespace \
         and relkind in ('r', 'p', 'S') and relname <> '__diesel_schema_migrations' \
         union all select proname::text from pg_proc where pronamespace = 'rowcall'::regnamespace",
    );
    assert_eq!(
        left,
        Vec::<String>::new(),
        "a migration's way down leaves something behind"
    );

    assert_eq!(migrate(&url).unwrap(), applied);
    assert_eq!(schema(&mut connection), before);
    assert!(
        migrate(&url).unwrap().is_empty(),
        "the second time there is nothing to do"
    );
}

#[test]
fn of_programs_that_migrate_at_once_one_does_and_the_others_wait() {
    const PROGRAMS: usize = 4;
    let url = empty_database("at_once");
    let gate = std::sync::Barrier::new(PROGRAMS);
    let applied: Vec<usize> = std::thread::scope(|scope| {
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|_| {
                scope.spawn(|| {
                    gate.wait();
                    migrate(&url)
                        .unwrap_or_else(|error| panic!("{error:?}"))
                        .len()
                })
            })
            .collect();
        programs
            .into_iter()
            .map(|program| program.join().unwrap())
            .collect()
    });
    let working: Vec<_> = applied.iter().filter(|count| **count > 0).collect();
    assert_eq!(working.len(), 1, "{applied:?}");
    let recorded = texts(
        &mut connect(&url),
        "select count(*)::text as text from rowcall.__diesel_schema_migrations",
    );
    assert_eq!(recorded, [working[0].to_string()]);
}

#[test]
fn a_role_that_may_not_create_is_told_what_to_grant() {
    let url = empty_database("unprivileged");
    execute(&url, "create role nobody_special login password 'x'");
    let url = as_role(&url, "nobody_special");
    let error = migrate(&url).unwrap_err();
    let DbError::Privilege { detail, help } = &error else {
        panic!("{error:?}");
    };
    assert!(detail.contains("permission denied"), "{detail}");
    let grant = "GRANT CREATE ON DATABASE \"unprivileged\" TO \"nobody_special\"";
    assert!(help.contains(grant), "{help}");
}

#[test]
fn what_the_error_says_to_grant_is_enough() {
    let url = empty_database("granted");
    execute(&url, "create role shop_service login password 'x'");
    let mine = as_role(&url, "shop_service");
    let DbError::Privilege { help, .. } = migrate(&mine).unwrap_err() else {
        panic!("not refused for a privilege");
    };
    let (_, statements) = help.split_once(": ").unwrap();
    // The cluster's other tests have made the role already.
    let made = "CREATE ROLE rowcall_capture NOLOGIN;";
    assert!(statements.contains(made), "{help}");
    let known = texts(
        &mut connect(&url),
        "select count(*)::text as text from pg_roles where rolname = 'rowcall_capture'",
    );
    let statements = if known == ["1"] {
        statements.replace(made, "")
    } else {
        statements.to_owned()
    };
    execute(&url, &statements);
    assert!(!migrate(&mine).unwrap().is_empty());
}

/// The same database for another role. A private cluster trusts who may enter its directory.
fn as_role(url: &str, role: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}user={role}")
}

#[test]
fn a_database_whose_text_may_be_any_bytes_is_refused() {
    // GIVEN
    let cluster = cluster(Kind::Standard);
    execute(
        &cluster.url("postgres"),
        "create database any_bytes encoding 'SQL_ASCII' template template0",
    );
    let url = cluster.url("any_bytes");
    // WHEN
    let refused = migrate(&url).unwrap_err();
    // THEN
    assert!(refused.to_string().contains("SQL_ASCII"), "{refused}");
}
