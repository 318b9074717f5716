//! Each way in which metadata and tables don't fit is told with what, where, and what to do.

use rowcall::{
    catalog::{
        load::Folder,
        model::Catalog,
        problem::MetadataError,
        shape::shape_read,
        validate::{Surroundings, tables, validate},
    },
    sink::AddressGuard,
};

use super::{apply_text, database, problem_lines};
use crate::support::postgres::execute;

const TABLES: &str = r#"
    create table public.orders (id bigint primary key, status text, note text, card text);
    create table public.history (tid integer, delta integer);
    create table public.codes (code text not null unique, label text);
    create table public.loose (id bigint unique, label text);
    create table public.part (id bigint not null, gone boolean);
    create unique index part_id on public.part (id) where not gone;
    create unique index part_lower on public.part ((id + 1));
    create table public.late (id bigint primary key deferrable initially deferred);
    create table public.log (id bigint, day date, primary key (id, day)) partition by range (day);
    create view public.recent as select * from public.orders;
    create materialized view public.totals as select count(*) from public.orders;
    create sequence public.numbers;
    create schema "Sales";
    create table "Sales"."order" (id bigint, "No" bigint);
    create table "Sales".parcels (id bigint primary key);
"#;

/// One object type `s.o` on lines 2 to 5: header, table, and two more settings.
fn object_type(table: &str, settings: &str) -> String {
    format!("[namespace.s]\n[object_type.\"s.o\"]\ntable = \"{table}\"\n{settings}\n")
}

#[tokio::test]
async fn a_table_or_column_that_does_not_fit_is_told_with_what_to_do() {
    // GIVEN
    let database = database(TABLES);
    for (table, settings, expected) in [
        (
            "public.ordrs",
            "key = [\"id\"]",
            "m.toml:3:9: there is no table `public.ordrs` (did you mean `public.orders`?)",
        ),
        (
            "public.parcels",
            "key = [\"id\"]",
            "m.toml:3:9: there is no table `public.parcels` (did you mean `Sales.parcels`?)",
        ),
        (
            "public.zebra",
            "key = [\"id\"]",
            "m.toml:3:9: there is no table `public.zebra` (write the schema and the table as the \
             database has them, upper and lower case included, and create the table before its \
             metadata is applied)",
        ),
        (
            "public.recent",
            "key = [\"id\"]",
            "m.toml:3:9: `public.recent` is a view, whose rows don't change by themselves (name the \
             table that the view reads)",
        ),
        (
            "public.totals",
            "key = [\"id\"]",
            "m.toml:3:9: `public.totals` is a materialized view, whose rows are only ever made anew \
             (name the table that the view reads)",
        ),
        (
            "public.numbers",
            "key = [\"id\"]",
            "m.toml:3:9: `public.numbers` is not a table (name a table, partitioned or not)",
        ),
        (
            "rowcall.subscription",
            "key = [\"id\"]",
            "m.toml:3:9: `rowcall.subscription` is Rowcall's own (an object type presents a table of \
             your application)",
        ),
        (
            "pg_catalog.pg_class",
            "key = [\"oid\"]",
            "m.toml:3:9: `pg_catalog.pg_class` is in a schema of Postgres itself (an object type \
             presents a table of your application)",
        ),
        (
            "public.orders",
            "",
            "m.toml:2:14: `key` is missing: the columns that tell one object from another (the \
             primary key of `public.orders` is meant? write key = [\"id\"])",
        ),
        (
            "public.orders",
            "key = []",
            "m.toml:4:7: `key` is missing: the columns that tell one object from another (the \
             primary key of `public.orders` is meant? write key = [\"id\"])",
        ),
        (
            "public.history",
            "",
            "m.toml:2:14: `key` is missing, and table `public.history` has no primary key (give it \
             one (ALTER TABLE public.history ADD PRIMARY KEY (...);), or name the columns of a \
             unique not-null key)",
        ),
        (
            "public.codes",
            "",
            "m.toml:2:14: `key` is missing, and table `public.codes` has no primary key (it has a \
             unique key: write key = [\"code\"])",
        ),
        (
            "public.orders",
            "key = [\"idd\"]",
            "m.toml:4:8: `public.orders` has no column `idd` (did you mean `id`? expected one of \
             `id`, `status`, `note`, `card`)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nexclude = [\"notes\"]",
            "m.toml:5:12: `public.orders` has no column `notes` (did you mean `note`? expected one \
             of `id`, `status`, `note`, `card`)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nmask = [\"card\", \"crad\"]",
            "m.toml:5:17: `public.orders` has no column `crad` (did you mean `card`? expected one of `id`, `status`, \
             `note`, `card`)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nexclude = [\"id\"]",
            "m.toml:5:12: `id` is a key column and can't be in `exclude` (subscribers are told the \
             key; to hide this column, name another unique key)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nmask = [\"id\"]",
            "m.toml:5:9: `id` is a key column and can't be in `mask` (subscribers are told the key; \
             to hide this column, name another unique key)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nmask = [\"card\"]\nexclude = [\"card\"]",
            "m.toml:5:9: `card` is both in `exclude` and in `mask` (exclude leaves the column out, \
             mask carries it as `***`: keep one)",
        ),
        (
            "public.orders",
            "key = [\"id\"]\nmask = [\"card\", \"card\"]",
            "m.toml:5:17: `card` is named twice in `mask`",
        ),
        (
            "public.orders",
            "key = [\"status\"]",
            "m.toml:4:8: the key column `status` of `public.orders` may be null (ALTER TABLE \
             public.orders ALTER COLUMN status SET NOT NULL; or write key = [\"id\"])",
        ),
        (
            "public.loose",
            "key = [\"id\"]",
            "m.toml:4:8: the key column `id` of `public.loose` may be null (ALTER TABLE public.loose \
             ALTER COLUMN id SET NOT NULL;)",
        ),
        (
            "public.part",
            "key = [\"id\"]",
            "m.toml:4:7: no unique index of `public.part` covers the key [\"id\"], so objects could \
             not be told apart (ALTER TABLE public.part ADD UNIQUE (id);)",
        ),
        (
            "public.log",
            "key = [\"id\"]",
            "m.toml:4:7: no unique index of `public.log` covers the key [\"id\"], so objects could \
             not be told apart (ALTER TABLE public.log ADD UNIQUE (id); or write key = [\"id\", \
             \"day\"])",
        ),
        (
            "Sales.order",
            "key = [\"No\"]",
            "m.toml:4:8: the key column `No` of `Sales.order` may be null (ALTER TABLE \
             \"Sales\".\"order\" ALTER COLUMN \"No\" SET NOT NULL;)",
        ),
    ] {
        // WHEN
        let refused = apply_text(&database, &object_type(table, settings)).await;

        // THEN
        assert_eq!(problem_lines(&refused.unwrap_err()), [expected]);
    }
}

#[tokio::test]
async fn names_that_do_not_fit_together_are_refused() {
    let database = database(TABLES);
    let orders = "table = \"public.orders\"\nkey = [\"id\"]\n";
    for (toml, expected) in [
        (
            format!("[namespace.sales]\n[object_type.\"slaes.order\"]\n{orders}"),
            "m.toml:2:14: [object_type.\"slaes.order\"] needs the namespace `slaes`, which is not \
             declared (did you mean `sales`? or add [namespace.slaes])",
        ),
        (
            format!("[namespace.sales]\n[object_type.\"sales.eu.order\"]\n{orders}"),
            "m.toml:2:14: [object_type.\"sales.eu.order\"] needs the namespace `sales.eu`, which is \
             not declared (add [namespace.\"sales.eu\"])",
        ),
        (
            "[namespace.\"sales.eu\"]\n".to_owned(),
            "m.toml:1:12: [namespace.\"sales.eu\"] needs the namespace `sales`, which is not \
             declared (add [namespace.sales])",
        ),
        (
            format!("[namespace.s]\n[namespace.\"s.o\"]\n[object_type.\"s.o\"]\n{orders}"),
            "m.toml:3:14: `s.o` is a namespace and an object type (give one of the two another name)",
        ),
        (
            format!(
                "[namespace.s]\n[object_type.\"s.a\"]\n{orders}[object_type.\"s.b\"]\n{orders}"
            ),
            "m.toml:6:9: `public.orders` is already the object type `s.a` (m.toml:3:9) (one table is \
             one object type: remove one of the two)",
        ),
    ] {
        let refused = apply_text(&database, &toml).await;
        assert_eq!(problem_lines(&refused.unwrap_err()), [expected], "{toml}");
    }
}

#[tokio::test]
async fn problems_of_the_files_and_of_the_tables_are_told_together() {
    // GIVEN a folder with a slip in each of its parts
    let database = database(TABLES);
    let toml = "[namespace.s]\n[object_type.\"s.o\"]\ntable = \"public.ordrs\"\nkeys = [\"id\"]\n\
                [objecttype.x]\n[subscription.erp]\nevent_types = [\"s.p.*\"]\nmode = \
                \"synchronous\"\nsink = { kind = \"webhook\", url = \"https://10.0.0.1/\", secret = { \
                env = \"NOT_SET\" } }\n";

    // WHEN
    let refused = apply_text(&database, toml).await.unwrap_err();

    // THEN every one is told, in the order of the file
    let lines = problem_lines(&refused);
    let places: Vec<&str> = lines
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "m.toml:3:9",
            "m.toml:4:1",
            "m.toml:5:2",
            "m.toml:7:16",
            "m.toml:9:34",
            "m.toml:9:72"
        ],
        "{lines:#?}"
    );
    assert!(
        lines[5].contains("the environment variable `NOT_SET` is not set"),
        "{}",
        lines[5]
    );
    // AND the report for people shows the place
    let shown = format!("{:?}", miette::Report::new(refused));
    assert!(
        shown.contains("m.toml:3:9") && shown.contains("6 problems"),
        "{shown}"
    );
}

#[test]
fn a_missing_privilege_is_told_with_its_grant() {
    // GIVEN a role without privileges on a table
    let database = database(TABLES);
    execute(
        &database.url,
        "do $$ begin create role \"app user\"; exception when duplicate_object then null; end $$",
    );
    let mut connection = database.connect();
    diesel::connection::SimpleConnection::batch_execute(&mut connection, "set role \"app user\"")
        .unwrap();

    // WHEN its metadata is judged as that role
    let folder = Folder::of_text("m.toml", &object_type("public.orders", "key = [\"id\"]"));
    let shapes = shape_read(&mut connection, tables(&folder)).unwrap();
    let findings = validate(
        &folder,
        &Surroundings {
            elsewhere: &Catalog::default(),
            shapes: &shapes,
            guard: &AddressGuard::new(Vec::new()),
            mail: None,
            environment: &|_| None,
        },
    );

    // THEN
    let report = MetadataError::invalid(findings.problems);
    let lines: Vec<String> = report
        .problems()
        .iter()
        .map(|problem| problem.line())
        .collect();
    assert_eq!(
        lines,
        [
            "m.toml:3:9: the role `app user` may not create triggers on `public.orders` (as its owner: \
          GRANT TRIGGER ON public.orders TO \"app user\";)"
        ]
    );
}
