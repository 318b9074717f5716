//! A lowered condition, judged by Postgres over its own rows, says what evaluation says: the same
//! where all of it was lowered, and nothing less otherwise. The triggers capture by it.

use std::collections::BTreeMap;

use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use rowcall::{
    capture::install::{
        reconcile,
        verdict::{TableColumn, store::table_columns},
    },
    catalog::model::{CaptureMode, Catalog, EventType, ObjectType, Operation, SourceName},
    expr::{Expression, Facts, Row, Scope, SqlColumn, Verdict},
};
use uuid::Uuid;

use crate::{column, facts, support::postgres::TestDatabase, told, writer::Writer};

/// Columns with their types and values; literals of SQL.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("i2", "smallint", &["null", "0", "-3", "32767", "7"]),
    (
        "i4",
        "integer",
        &["null", "0", "7", "-7", "2147483647", "-2147483648"],
    ),
    (
        "i8",
        "bigint",
        &[
            "null",
            "0",
            "7",
            "9223372036854775807",
            "-9223372036854775808",
        ],
    ),
    (
        "n",
        "numeric(10,2)",
        &["null", "0", "7", "7.50", "-0.01", "99999999.99", "'NaN'"],
    ),
    (
        "u",
        "numeric",
        &[
            "null",
            "7",
            "7.0",
            "7.500",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "1e40",
            "1e-40",
            "9223372036854775808",
            "0.1",
        ],
    ),
    (
        "r",
        "real",
        &[
            "null",
            "0",
            "'-0'",
            "0.1",
            "'NaN'",
            "'Infinity'",
            "3.4e38",
            "1e-45",
            "7",
        ],
    ),
    (
        "d",
        "double precision",
        &[
            "null",
            "0",
            "'-0'",
            "0.1",
            "'NaN'",
            "'-Infinity'",
            "1.7e308",
            "5e-324",
            "7",
            "9223372036854775807",
        ],
    ),
    (
        "s",
        "text",
        &[
            "null",
            "''",
            "'open'",
            "'Open'",
            "'ü'",
            "'open '",
            "'a''b\\c'",
            "'Z'",
            "'日本'",
            "'😀'",
            "'7'",
            "'%_'",
        ],
    ),
    (
        "v",
        "varchar(20)",
        &["null", "''", "'open'", "'ü'", "'open '", "'p'"],
    ),
    (
        "c",
        "character(5)",
        &["null", "''", "'open'", "'ü'", "'a'", "'open5'"],
    ),
    ("w", "public.word", &["null", "'open'", "'OPEN'", "''"]),
    (
        "x",
        "text collate public.any_case",
        &["null", "'open'", "'OPEN'", "'Ü'"],
    ),
    (
        "g",
        "uuid",
        &[
            "null",
            "'0190a1b2-0000-7000-8000-00000000abcd'",
            "'00000000-0000-0000-0000-000000000000'",
        ],
    ),
    ("e", "public.mood", &["null", "'open'", "'ü'", "'it''s'"]),
    ("b", "boolean", &["null", "true", "false"]),
    (
        "z",
        "timestamptz",
        &[
            "null",
            "'2026-01-31 23:30:00.25+00'",
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'2026-02-01 00:00+00'",
            "'99999-12-31'",
        ],
    ),
    (
        "t",
        "timestamp",
        &[
            "null",
            "'2026-01-31 23:30:00.25'",
            "'infinity'",
            "'2026-02-01'",
            "'4713-01-01 BC'",
            "'294276-12-31 23:59:59.999999'",
        ],
    ),
    (
        "da",
        "date",
        &[
            "null",
            "'2026-02-01'",
            "'infinity'",
            "'0044-03-15 BC'",
            "'2026-01-31'",
            "'5874897-12-31'",
        ],
    ),
    (
        "iv",
        "interval",
        &[
            "null",
            "'0'",
            "'26 hours'",
            "'1 day 2 hours'",
            "'1 mon'",
            "'-00:30:00.5'",
            "'178000000 years'",
            "'2000000000 days'",
        ],
    ),
    (
        "j",
        "jsonb",
        &["null", "'{\"a\": 7}'", "'{\"a\": 7.0}'", "'null'", "'[]'"],
    ),
    (
        "k",
        "json",
        &[
            "null",
            "'{\"a\":1}'",
            "'{\"a\": 1}'",
            "' {\"a\":1} '",
            "'null'",
        ],
    ),
    ("a", "text[]", &["null", "'{}'", "'{open,ü}'"]),
    (
        "o",
        "public.pair",
        &["null", "row(null, null)", "row(1, 'x')"],
    ),
    ("Odd \"Name\"", "text", &["null", "'open'", "''"]),
];

const TYPES: &str = "create type public.mood as enum ('open', 'ü', 'it''s');
    create type public.pair as (p integer, q text);
    create domain public.word as varchar(10) check (value <> 'never');
    create collation public.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

const ROWS: usize = 60;
const EXPRESSIONS: usize = 500;

fn root(w: &mut Writer) -> &'static str {
    ["row", "old", "new"][w.below(3)]
}

fn of(w: &mut Writer, columns: &[&str]) -> String {
    let column = w.pick(columns).to_owned();
    format!("{}.{column}", root(w))
}

fn number(w: &mut Writer, levels: usize) -> String {
    let kind = w.below(if levels == 0 { 3 } else { 8 });
    match kind {
        0 => w
            .pick(&[
                "0",
                "7",
                "-7",
                "32767",
                "7.5",
                "-0.01",
                "9223372036854775807",
            ])
            .to_owned(),
        1 | 2 => of(w, &["i2", "i4", "i8", "n", "n", "u"]),
        3..=5 => {
            let sign = w.pick(&["+", "-", "*"]).to_owned();
            format!(
                "({} {sign} {})",
                number(w, levels - 1),
                number(w, levels - 1)
            )
        }
        6 => format!("-{}", of(w, &["i4", "n", "i8"])),
        _ => format!("size({})", text(w, 1)),
    }
}

/// Not lowered.
fn opaque_number(w: &mut Writer) -> String {
    match w.below(4) {
        0 => format!("({} / {})", of(w, &["i4", "n"]), of(w, &["i4", "u"])),
        1 => format!("({} % 3)", of(w, &["i4", "i8"])),
        2 => format!("({} + {})", of(w, &["d", "r"]), of(w, &["d", "i4"])),
        _ => format!("{}.getFullYear()", of(w, &["z", "t"])),
    }
}

fn double(w: &mut Writer) -> String {
    match w.below(3) {
        0 => w.pick(&["0.1", "0", "7", "1e300"]).to_owned(),
        _ => of(w, &["r", "d"]),
    }
}

fn text(w: &mut Writer, levels: usize) -> String {
    match w.below(if levels == 0 { 3 } else { 5 }) {
        0 => w
            .pick(&[
                "''",
                "'open'",
                "'ü'",
                "'open '",
                "'O'",
                "'日'",
                "'a\\'b\\\\c'",
                "'7'",
            ])
            .to_owned(),
        1 | 2 => {
            let column = of(w, &["s", "s", "v", "c", "w", "x", "g", "e"]);
            if w.below(12) == 0 {
                format!("{}['Odd \"Name\"']", root(w))
            } else {
                column
            }
        }
        3 => format!("{}.lowerAscii()", of(w, &["s", "v", "c", "x"])),
        _ => format!("{}.upperAscii()", of(w, &["s", "w", "e"])),
    }
}

fn time(w: &mut Writer) -> String {
    match w.below(3) {
        0 => w
            .pick(&[
                "timestamp('2026-01-31T23:30:00.25Z')",
                "timestamp('2026-02-01')",
                "timestamp('infinity')",
            ])
            .to_owned(),
        _ => of(w, &["z", "t", "da"]),
    }
}

fn leaf(w: &mut Writer) -> String {
    let sign = w.pick(&["==", "!=", "<", "<=", ">", ">="]).to_owned();
    let equality = w.pick(&["==", "!="]).to_owned();
    match w.below(30) {
        0..=3 => format!("{} {sign} {}", number(w, 2), number(w, 1)),
        4 => format!("{} {sign} {}", double(w), double(w)),
        5 => format!("{} {sign} {}", double(w), of(w, &["i2", "i8", "n", "u"])),
        6..=9 => format!("{} {sign} {}", text(w, 1), text(w, 1)),
        10 | 11 => {
            let function = w.pick(&["contains", "startsWith", "endsWith"]).to_owned();
            format!(
                "{}.{function}({})",
                of(w, &["s", "v", "c", "x", "e"]),
                text(w, 0)
            )
        }
        12 | 13 => format!("{} {sign} {}", time(w), time(w)),
        14 => format!("{} {sign} duration('26h')", of(w, &["iv"])),
        15 => format!("{} {equality} {}", of(w, &["iv", "iv"]), of(w, &["iv"])),
        16 => of(w, &["b"]),
        17 => format!(
            "{} {equality} {}",
            of(w, &["b"]),
            w.pick(&["true", "false", "null"])
        ),
        18 | 19 => {
            let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
            let name = w.pick(&names[..names.len() - 1]).to_owned();
            format!("{}.{name} {equality} null", root(w))
        }
        20 => format!("{} in [7, -3, 0]", of(w, &["i2", "i4", "i8", "n"])),
        21 => format!("{} in [7.5, 0, -0.01]", of(w, &["n", "u"])),
        22 => format!("{} in ['open', 'ü', '']", text(w, 1)),
        23 => format!("{} in [0.1, 7]", of(w, &["d", "r"])),
        24 => {
            let columns = [
                "i4", "n", "u", "s", "v", "c", "x", "g", "e", "b", "z", "t", "da", "j", "k",
            ];
            match w.below(3) {
                0 => format!("changed.exists(f, f in ['{}', 's'])", w.pick(&columns)),
                1 => format!("changed.exists(f, f == '{}')", w.pick(&columns)),
                _ => format!("'{}' in changed", w.pick(&columns)),
            }
        }
        25 => format!(
            "op {equality} '{}'",
            w.pick(&["create", "update", "delete"])
        ),
        26 => format!("{} {equality} null", w.pick(&["old", "new", "row"])),
        27 => format!(
            "({} {sign} {}) {equality} {}",
            number(w, 1),
            number(w, 0),
            of(w, &["b"])
        ),
        28 => format!("{} {sign} {}", opaque_number(w), number(w, 0)),
        _ => w
            .pick(&[
                "row.s.matches('^o')",
                "row.j.a == 7",
                "'open' in row.a",
                "now > row.z",
                "actor == null",
                "size(changed) > 1",
                "old.s + new.s == 'openopen'",
            ])
            .to_owned(),
    }
}

#[derive(QueryableByName)]
struct Image {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    image: String,
}

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = Nullable<Text>)]
    said: Option<String>,
}

/// A table with rows of edge values, and pairs of them.
struct Shop {
    connection: PgConnection,
    _database: TestDatabase,
    columns: Vec<TableColumn>,
    images: BTreeMap<i64, String>,
}

impl Shop {
    fn open(w: &mut Writer) -> Self {
        let database = TestDatabase::create();
        let mut connection = database.connect();
        let list: Vec<String> = COLUMNS
            .iter()
            .map(|(name, sql_type, _)| format!("\"{}\" {sql_type}", name.replace('"', "\"\"")))
            .collect();
        let mut sql = format!(
            "{TYPES} create table public.t (id bigint, {});",
            list.join(", ")
        );
        for id in 1..=ROWS {
            let values: Vec<&str> = COLUMNS
                .iter()
                .map(|(_, _, values)| w.pick(values))
                .collect();
            sql += &format!("insert into public.t values ({id}, {});", values.join(", "));
        }
        // Pairs of like rows too: the first half is copied, and one column taken from elsewhere.
        for id in 1..=ROWS / 2 {
            let at = w.below(COLUMNS.len());
            let name = COLUMNS[at].0.replace('"', "\"\"");
            let copy = ROWS + id;
            sql += &format!(
                "insert into public.t select * from public.t where id = {id};
                 update public.t set id = {copy} where ctid = \
                     (select max(ctid) from public.t where id = {id});
                 update public.t set \"{name}\" = {} where id = {copy};",
                w.pick(COLUMNS[at].2),
            );
        }
        // Sessions of writers differ; the images are made under the function's settings.
        sql += "set jit = off; set timezone = 'Asia/Tokyo'; set datestyle = 'German'; \
                set intervalstyle = 'sql_standard';";
        connection.batch_execute(&sql).unwrap();
        let images: Vec<Image> = {
            connection
                .batch_execute(
                    "begin; set local timezone = 'UTC'; set local intervalstyle = 'iso_8601'; \
                     set local extra_float_digits = 1; set local datestyle = 'ISO'",
                )
                .unwrap();
            let images = sql_query("select id, row_to_json(q)::text as image from public.t as q")
                .load(&mut connection)
                .unwrap();
            connection.batch_execute("commit").unwrap();
            images
        };
        #[derive(QueryableByName)]
        struct Oid {
            #[diesel(sql_type = BigInt)]
            oid: i64,
        }
        let table: Oid = sql_query("select 'public.t'::regclass::oid::bigint as oid")
            .get_result(&mut connection)
            .unwrap();
        let mut columns = table_columns(&mut connection, &[table.oid]).unwrap();
        let columns = columns.remove(&table.oid).unwrap();
        Self {
            connection,
            _database: database,
            columns,
            images: images.into_iter().map(|row| (row.id, row.image)).collect(),
        }
    }

    fn scope(&self) -> Scope {
        let columns = self.columns.iter();
        Scope::rows(
            columns
                .map(|c| column(&c.sql.name, &c.value_type, None))
                .collect(),
        )
        .without_subscription()
    }

    fn sql_columns(&self) -> Vec<SqlColumn> {
        self.columns.iter().map(|c| c.sql.clone()).collect()
    }

    /// What Postgres says of each pair, for several conditions at once.
    fn said(&mut self, operation: Operation, conditions: &[String]) -> Vec<Vec<bool>> {
        let rows = match operation {
            Operation::Create => "public.t as new where id > 0 order by new.id",
            Operation::Delete => "public.t as old where id > 0 order by old.id",
            Operation::Update => {
                "public.t as old join public.t as new on new.id = 1 + (old.id + 59) % 90 \
                 order by old.id"
            }
        };
        let judged: Vec<String> = conditions
            .iter()
            .map(|sql| format!("case when {sql} then '1' else '0' end"))
            .collect();
        let query = format!("select concat({}) as said from {rows}", judged.join(", "));
        let rows: Vec<Said> = sql_query(&query)
            .load(&mut self.connection)
            .unwrap_or_else(|error| panic!("{error}: {conditions:#?}"));
        rows.into_iter()
            .map(|row| row.said.unwrap().chars().map(|c| c == '1').collect())
            .collect()
    }

    fn pairs(&self, operation: Operation) -> Vec<(Option<i64>, Option<i64>)> {
        let ids = 1..=self.images.len() as i64;
        ids.map(|id| match operation {
            Operation::Create => (None, Some(id)),
            Operation::Delete => (Some(id), None),
            Operation::Update => (Some(id), Some(1 + (id + 59) % 90)),
        })
        .collect()
    }
}

/// Values that evaluation does not read: what looks at them fails there, and is judged by Postgres.
const UNREAD: [&str; 4] = ["294276", "5874897", "P178000000Y", "P2000000000D"];

fn is_read(image: &str) -> bool {
    !UNREAD.iter().any(|value| image.contains(value))
}

#[test]
fn the_lowered_condition_says_what_evaluation_says() {
    // GIVEN expressions and rows by chance
    let seed = Uuid::new_v4().as_u64_pair().0;
    let mut w = Writer(seed);
    let mut shop = Shop::open(&mut w);
    let (scope, columns) = (shop.scope(), shop.sql_columns());
    let images: BTreeMap<i64, String> = shop.images.clone();
    let rows: BTreeMap<i64, Row<'_>> = images
        .iter()
        .map(|(id, image)| (*id, Row::parse(image).unwrap()))
        .collect();
    let mut expressions = Vec::new();
    while expressions.len() < EXPRESSIONS {
        let levels = w.below(4);
        let source = w.condition(levels, &leaf);
        // A literal that does not fit its column is refused.
        if let Ok(expression) = Expression::compile(&source, &scope) {
            expressions.push(expression);
        }
    }
    let (mut exact, mut vague, mut kept, mut judged) = (0, 0, 0, 0);
    for operation in Operation::ALL {
        for chunk in expressions.chunks(25) {
            let lowered: Vec<_> = chunk.iter().map(|e| e.lower(operation, &columns)).collect();
            let sql: Vec<String> = lowered.iter().map(|l| l.sql.clone()).collect();
            // WHEN Postgres judges them over the rows
            let said = shop.said(operation, &sql);
            for ((old, new), said) in shop.pairs(operation).into_iter().zip(said) {
                let row = |id: Option<i64>| id.map(|id| &rows[&id]);
                let (before, after) = (row(old), row(new));
                let changed = match (before, after) {
                    (Some(before), Some(after)) => after.changed_since(before),
                    _ => Vec::new(),
                };
                let facts = Facts {
                    changed: &changed,
                    ..facts(before, after)
                };
                for ((expression, lowered), said) in chunk.iter().zip(&lowered).zip(said) {
                    let verdict = expression.evaluate(&facts);
                    // THEN nothing that holds is missed
                    let context = || {
                        format!(
                            "seed {seed}: `{}` of {operation:?} is {}, Postgres says {said}\n{}\n{:?}\n{:?}",
                            expression.source(),
                            told(&verdict),
                            lowered.sql,
                            old.map(|id| &images[&id]),
                            new.map(|id| &images[&id]),
                        )
                    };
                    assert!(said || !verdict.is_true(), "missed: {}", context());
                    // AND where all of it was lowered, nothing else is kept
                    if lowered.is_exact && said && !verdict.is_true() {
                        let pair = [old, new].into_iter().flatten();
                        let is_read = pair.into_iter().all(|id| is_read(&images[&id]));
                        let failed = matches!(verdict, Verdict::Failed(_));
                        assert!(failed && !is_read, "not exact: {}", context());
                    }
                    judged += 1;
                    kept += usize::from(said);
                    *(if lowered.is_exact {
                        &mut exact
                    } else {
                        &mut vague
                    }) += 1;
                }
            }
        }
    }
    // AND most is lowered, some is not, and both outcomes occur
    println!("seed {seed}: {judged} judged, {exact} exact, {vague} not, {kept} kept");
    assert!(
        exact > judged / 2 && vague > judged / 50,
        "{exact} {vague} of {judged}"
    );
    assert!(
        kept > judged / 20 && kept < judged * 19 / 20,
        "{kept} of {judged}"
    );
}

/// An object type of the table with one event type, whose condition this is.
fn catalog(source: &str, when_clause: bool) -> Catalog {
    let object_type = ObjectType {
        description: String::new(),
        table: "public.t".to_owned().try_into().unwrap(),
        key: vec!["id".to_owned()],
        exclude: Vec::new(),
        mask: Vec::new(),
        source: SourceName::default(),
        capture: CaptureMode::Defined,
        when_clause,
    };
    let event_type = EventType {
        description: String::new(),
        object_type: Some("t.row".to_owned()),
        on: Vec::new(),
        when: Some(source.to_owned()),
        schema: None,
    };
    Catalog {
        object_types: BTreeMap::from([("t.row".to_owned(), object_type)]),
        event_types: BTreeMap::from([("t.row.seen".to_owned(), event_type)]),
        ..Catalog::default()
    }
}

#[test]
fn the_triggers_capture_what_the_condition_wants() {
    // GIVEN conditions by chance, each judged in the function's body and in the triggers' WHEN
    let seed = Uuid::new_v4().as_u64_pair().0;
    let mut w = Writer(seed);
    let mut shop = Shop::open(&mut w);
    let (scope, columns) = (shop.scope(), shop.sql_columns());
    let images = shop.images.clone();
    let names: Vec<String> = COLUMNS
        .iter()
        .map(|(name, ..)| format!("\"{}\"", name.replace('"', "\"\"")))
        .collect();
    let names = names.join(", ");
    // A writer's statement of each kind over every row, as one writer would send them.
    let statements = [
        format!(
            "update public.t as o set ({names}) = (select {names} from public.t as n \
             where n.id = 1 + (o.id + 59) % 90)"
        ),
        "create temp table kept as select * from public.t; delete from public.t".to_owned(),
        "insert into public.t select * from pg_temp.kept".to_owned(),
    ];
    let (mut rounds, mut captured_total) = (0, 0);
    while rounds < 24 {
        let levels = w.below(3);
        let source = w.condition(levels, &leaf);
        let Ok(expression) = Expression::compile(&source, &scope) else {
            continue;
        };
        rounds += 1;
        let when_clause = rounds % 2 == 0;
        let catalog = catalog(&source, when_clause);
        let now = chrono::DateTime::UNIX_EPOCH;
        shop.connection
            .transaction(|connection| reconcile(connection, &catalog, 1_000_000, now))
            .unwrap();
        let context = format!("seed {seed}: `{source}`, WHEN {when_clause}");
        // WHEN
        shop.connection.batch_execute("begin").unwrap();
        for sql in &statements {
            shop.connection
                .batch_execute(sql)
                .unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        #[derive(QueryableByName)]
        struct Captured {
            #[diesel(sql_type = Text)]
            op: String,
            #[diesel(sql_type = BigInt)]
            id: i64,
        }
        let captured: Vec<Captured> = sql_query(
            "select op::text as op, (coalesce(after, before)->>'id')::bigint as id from rowcall.change",
        )
        .load(&mut shop.connection)
        .unwrap();
        shop.connection.batch_execute("rollback").unwrap();
        let captured: Vec<(String, i64)> = captured.into_iter().map(|c| (c.op, c.id)).collect();
        captured_total += captured.len();
        // THEN exactly the changes are captured of which the condition holds, and more only where
        // it was not lowered
        let rows: BTreeMap<i64, Row<'_>> = images
            .iter()
            .map(|(id, image)| (*id, Row::parse(image).unwrap()))
            .collect();
        let is_exact = |operation| expression.lower(operation, &columns).is_exact;
        for id in 1..=images.len() as i64 {
            // After the update the row holds what its partner held, apart from its id.
            let moved = images[&(1 + (id + 59) % 90)].split_once(',').unwrap().1;
            let moved = format!("{{\"id\":{id},{moved}");
            let moved = Row::parse(&moved).unwrap();
            for (op, operation, before, after) in [
                ("u", Operation::Update, Some(&rows[&id]), Some(&moved)),
                ("d", Operation::Delete, Some(&moved), None),
                ("c", Operation::Create, None, Some(&moved)),
            ] {
                let changed = match (before, after) {
                    (Some(before), Some(after)) => after.changed_since(before),
                    _ => Vec::new(),
                };
                let verdict = expression.evaluate(&Facts {
                    changed: &changed,
                    ..facts(before, after)
                });
                let was = captured.contains(&(op.to_owned(), id));
                assert!(
                    was || !verdict.is_true(),
                    "{context}: {op} of {id} is missing"
                );
                let failed = matches!(verdict, Verdict::Failed(_));
                let may_be_more = failed || !is_exact(operation);
                assert!(
                    !was || verdict.is_true() || may_be_more,
                    "{context}: {op} of {id} is not wanted"
                );
            }
        }
    }
    println!("seed {seed}: {captured_total} of {} captured", rounds * 270);
    assert!(captured_total > 100, "{captured_total}");
}
