//! The tables of the model, and what stands in them at a moment.
//!
//! Each row has a `uid` that no statement changes: by it the model knows a row again whose key
//! changed. Where it stands (`tableoid`, `ctid`) tells that it was written, even if nothing in it
//! changed.

use std::collections::BTreeMap;

use diesel::{
    PgConnection, QueryableByName, RunQueryDsl as _, result::Error as QueryError, sql_query,
    sql_types::Text,
};
use serde_json::Value;

pub(super) const SQL: &str = r#"
    create table public.items (a integer, b text, v integer, uid text not null, primary key (a, b));

    create table public.parts (id integer, region text, day integer, v integer, uid text not null,
        primary key (id, region, day)) partition by list (region);
    create table public.parts_eu partition of parts for values in ('eu') partition by range (day);
    create table public.parts_eu_1 partition of parts_eu for values from (0) to (10);
    create table public.parts_eu_2 partition of parts_eu for values from (10) to (20);
    create table public.parts_us partition of parts for values in ('us');
    -- Other columns at other places than in the root.
    create table public.parts_as (gone integer, uid text not null, v integer, day integer not null,
        region text not null, id integer not null, primary key (id, region, day));
    alter table public.parts_as drop column gone;
    alter table public.parts attach partition public.parts_as for values in ('as');

    create table public.base (id integer primary key, v integer, uid text not null);
    create table public.derived (extra text, primary key (id)) inherits (public.base);

    create table public.parents (id integer primary key, v integer, uid text not null);
    create table public.children (parent integer references public.parents
            on delete cascade on update cascade,
        n integer, v integer, uid text not null, primary key (parent, n));

    create table public."Mixed Case" ("Key ""Col" integer primary key, v integer, uid text not null);
    create view public.mixed as select "Key ""Col" as id, v, uid from public."Mixed Case" where v < 1000;
"#;

pub(super) const METADATA: &str = r#"
    [namespace.t]
    [object_type."t.item"]
    table = "public.items"
    key = ["a", "b"]
    [object_type."t.part"]
    table = "public.parts"
    key = ["id", "region", "day"]
    [object_type."t.base"]
    table = "public.base"
    key = ["id"]
    [object_type."t.parent"]
    table = "public.parents"
    key = ["id"]
    [object_type."t.child"]
    table = "public.children"
    key = ["parent", "n"]
    [object_type."t.mixed"]
    table = "public.Mixed Case"
    key = ["Key \"Col"]
"#;

/// The object types with the columns of their keys and the tables to read, without their children.
const READ: [(&str, &[&str], &[&str]); 6] = [
    ("t.item", &["a", "b"], &["public.items"]),
    ("t.part", &["id", "region", "day"], &["public.parts"]),
    (
        "t.base",
        &["id"],
        &["only public.base", "only public.derived"],
    ),
    ("t.parent", &["id"], &["public.parents"]),
    ("t.child", &["parent", "n"], &["public.children"]),
    ("t.mixed", &["Key \"Col"], &["public.\"Mixed Case\""]),
];

/// A row as it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) object_type: &'static str,
    pub(super) key: String,
    pub(super) row: Value,
    /// Differs whenever it was written.
    version: String,
}

/// All rows that a transaction sees, by their `uid`.
pub(super) type State = BTreeMap<String, Standing>;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    object_type: String,
    #[diesel(sql_type = Text)]
    uid: String,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    image: String,
}

/// What the transaction of `connection` sees now.
pub(super) fn state(connection: &mut PgConnection) -> Result<State, QueryError> {
    let selects: Vec<String> = READ
        .iter()
        .flat_map(|(object_type, _, tables)| {
            tables.iter().map(move |table| {
                format!(
                    "select '{object_type}' as object_type, uid, \
                         tableoid::text || ' ' || ctid::text as version, \
                         row_to_json(t)::text as image from {table} t"
                )
            })
        })
        .collect();
    let rows: Vec<Row> = sql_query(selects.join(" union all ")).load(connection)?;
    let mut state = State::new();
    for row in rows {
        let (object_type, key, _) = READ
            .iter()
            .find(|(name, ..)| *name == row.object_type)
            .unwrap();
        let image: Value = serde_json::from_str(&row.image).unwrap();
        let standing = Standing {
            object_type,
            key: key_text(&image, key),
            row: image,
            version: row.version,
        };
        let twice = state.insert(row.uid, standing);
        assert_eq!(twice, None, "the model's rows are not told apart");
    }
    Ok(state)
}

/// The model's keys hold nothing that would have to be encoded.
fn key_text(row: &Value, key: &[&str]) -> String {
    let parts = key.iter().map(|column| match &row[column] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    parts.collect::<Vec<_>>().join("/")
}

impl Standing {
    /// Whether it was written since it stood as `before`.
    pub(super) fn is_written_since(&self, before: &Self) -> bool {
        self.version != before.version
    }
}
