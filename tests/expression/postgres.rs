//! Postgres spells the images and has the last word on what comparisons mean.

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Nullable, Text},
};
use rowcall::expr::{Expression, Row, Scope, Seen};

use crate::{column, facts, support::postgres::TestDatabase, told};

const TABLE: &str = r#"
    set timezone = 'UTC';
    set intervalstyle = 'iso_8601';
    set extra_float_digits = 1;
    create type mood as enum ('sad', 'ok');
    create table t (
        id bigint, small smallint, amount numeric(10,2), whole numeric(6), any_number numeric,
        rate double precision, share real, name text, short varchar(20), code character(4), uid uuid,
        feeling mood, open boolean, at timestamptz, plain timestamp, day date, wait interval,
        doc jsonb, raw json, tags text[], counts integer[]);
    insert into t values
        (1, -3, 250, 7, 12.3450, 1.5, 0.1, E'a"b\\c\u0001\t/ü', 'x', 'ab',
         '0190A1B2-0000-7000-8000-00000000ABCD', 'ok', true, '2026-01-31 23:30:00.25+00',
         '2026-02-01 08:00', '2026-02-03', '1 day 2 hours', '{"a": {"b": [1, 2.50]}, "s": "x"}',
         '{"a":1, "a":2}', '{new,eu}', '{1,null,3}'),
        (-9223372036854775808, 32767, 'NaN', 0, 'Infinity', 'NaN', '-Infinity', '', '', '',
         '00000000-0000-0000-0000-000000000000', 'sad', false, 'infinity', '-infinity',
         '0044-03-15 BC', '-1 day -02:30:00.5', '[]', 'null', '{}', '{}'),
        (9223372036854775807, 0, 0.01, 999999, 1e40, 1e-300, 3.4e38, 'Z', 'z', 'abcd', null, null,
         null, '99999-12-31 23:59:59+00', '10000-01-01', '9999-12-31', '0', '{"a": null}', '1e3',
         '{"a,b",null}', '{-1}');
    insert into t default values;
"#;

/// Expressions, and SQL that means the same; a null of SQL is a failure or false here.
const SAME: &[(&str, &str)] = &[
    ("row.id > 0", "id > 0"),
    ("row.id + 1 > row.id", "id::numeric + 1 > id"),
    ("row.id / 2 == row.id / 2.0", "id / 2 = id / 2.0"),
    ("row.id % 10 == 7", "id % 10 = 7"),
    (
        "row.small < 0 || row.small > 100",
        "small < 0 or small > 100",
    ),
    ("row.amount > 250", "amount > 250"),
    ("row.amount == 250", "amount is not distinct from 250"),
    (
        "row.amount == row.amount",
        "amount is not distinct from amount",
    ),
    ("row.any_number > 1e39", "any_number > 1e39"),
    ("row.any_number * 2 == 24.69", "any_number * 2 = 24.69"),
    ("row.whole in [7, 999999]", "whole in (7, 999999)"),
    ("row.rate > 1e300", "rate > 1e300"),
    ("row.rate < row.amount", "rate < amount"),
    ("row.share == 0.1", "share is not distinct from 0.1::real"),
    ("row.share < row.rate", "share < rate"),
    (
        "row.share in [0.1, 3.4e38]",
        "share in (0.1::real, 3.4e38::real)",
    ),
    ("row.name < 'a'", "name < 'a' collate \"C\""),
    (
        "row.name.contains('\\u0001\\t/ü')",
        "position(E'\\u0001\\t/ü' in name) > 0",
    ),
    ("size(row.name) == 9", "length(name) = 9"),
    ("size(row.code) == 2", "length(code) = 2"),
    ("row.code == 'ab'", "code is not distinct from 'ab'"),
    ("row.code > 'ab'", "code > 'ab' collate \"C\""),
    (
        "row.uid == '0190a1b2-0000-7000-8000-00000000ABCD'",
        "uid is not distinct from '0190a1b2-0000-7000-8000-00000000ABCD'",
    ),
    ("row.feeling != 'ok'", "feeling is distinct from 'ok'"),
    ("row.open", "open"),
    ("!row.open || row.id > 0", "not open or id > 0"),
    (
        "row.at > timestamp('2026-01-31T23:30:00.249999Z')",
        "at > '2026-01-31 23:30:00.249999+00'",
    ),
    (
        "row.plain < timestamp('2026-02-01T08:00:01Z')",
        "plain < '2026-02-01 08:00:01'",
    ),
    ("row.day <= timestamp('2026-02-03')", "day <= '2026-02-03'"),
    ("row.day < row.plain", "day < plain"),
    ("row.at > row.plain", "at > plain at time zone 'UTC'"),
    ("row.wait < duration('1h')", "wait < '1 hour'"),
    (
        "row.wait == duration('-1d2h30m500ms')",
        "wait is not distinct from '-1 day -02:30:00.5'",
    ),
    (
        "row.plain + row.wait > timestamp('2026-02-02T09:00:00Z')",
        "plain + wait > '2026-02-02 09:00'",
    ),
    (
        "row.at.getHours('Europe/Berlin') == 0",
        "case when isfinite(at) then extract(hour from at at time zone 'Europe/Berlin') = 0 end",
    ),
    (
        "row.doc.a.b[1] == 2.5",
        "doc->'a'->'b'->1 is not distinct from '2.5'",
    ),
    ("row.doc.s == null", "doc->'s' is null"),
    ("has(row.doc.a)", "coalesce(doc ? 'a', false)"),
    ("row.raw.a == 2", "raw->>'a' is not distinct from '2'"),
    ("'eu' in row.tags", "coalesce('eu' = any(tags), false)"),
    (
        "row.tags == ['new', 'eu']",
        "tags is not distinct from '{new,eu}'",
    ),
    (
        "row.counts.exists(n, n > 2)",
        "coalesce(2 < any(counts), false)",
    ),
    ("size(row.tags) == 2", "cardinality(tags) = 2"),
];

#[derive(QueryableByName)]
struct Told {
    #[diesel(sql_type = Text)]
    image: String,
    #[diesel(sql_type = Nullable<Text>)]
    said: Option<String>,
}

#[derive(QueryableByName)]
struct RealColumn {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql_type: String,
}

fn real_scope(connection: &mut PgConnection) -> Scope {
    let columns: Vec<RealColumn> = sql_query(
        "select attname::text as name, format_type(atttypid, atttypmod) as sql_type \
         from pg_attribute where attrelid = 't'::regclass and attnum > 0 order by attnum",
    )
    .load(connection)
    .unwrap();
    let columns = columns
        .iter()
        .map(|real| column(&real.name, &real.sql_type, None));
    Scope::rows(columns.collect())
}

#[test]
fn postgres_says_the_same_of_its_own_rows() {
    // GIVEN a table with edge values, and the images that Postgres makes of its rows
    let database = TestDatabase::create();
    let mut connection = database.connect();
    connection.batch_execute(TABLE).unwrap();
    let scope = real_scope(&mut connection);
    let mut wrong = Vec::new();
    for (source, sql) in SAME {
        let expression = Expression::compile(source, &scope).unwrap();
        // WHEN both judge each row
        let query = format!("select row_to_json(t)::text as image, ({sql})::text as said from t");
        let rows: Vec<Told> = sql_query(query).load(&mut connection).unwrap();
        for row in rows {
            let image = Row::parse(&row.image).unwrap();
            let verdict = expression.evaluate(&facts(None, Some(&image)));
            // THEN they say the same
            if verdict.is_true() != (row.said.as_deref() == Some("true")) {
                let id = image.get("id").unwrap().get();
                let said = told(&verdict);
                wrong.push(format!(
                    "`{source}` of {id}: {said}; Postgres: {:?}",
                    row.said
                ));
            }
            // AND what the index sees of a row of which it is true is what it looks for
            if verdict.is_true() {
                for equality in expression.equalities() {
                    let seen = equality.looked.seen(&facts(None, Some(&image)));
                    let Seen::Value(value) = seen else {
                        panic!("{source}: {seen:?}");
                    };
                    assert!(equality.values.contains(&value), "{source}: {value:?}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
