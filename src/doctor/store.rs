//! The SQL of the doctor: each group of checks is one statement over everything it looks at, whose
//! rows come as JSON and are read into the structs of the group.

use diesel::{
    Connection as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Array, BigInt, Text},
};
use serde::de::DeserializeOwned;

use crate::{
    catalog::model::Catalog,
    db::{DbError, connect},
};

/// How long one statement of the doctor may take.
pub(super) const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// How long it may wait for a lock; it takes none that a writer would wait for.
const LOCK_TIMEOUT_MS: u32 = 1_000;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    row: String,
}

/// The object types whose tables are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    names: Vec<String>,
    schemas: Vec<String>,
    tables: Vec<String>,
}

impl Asked {
    /// Those of this database.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut asked = Self::default();
        for (name, object_type) in &catalog.object_types {
            if object_type.source.is_default() {
                asked.names.push(name.clone());
                asked.schemas.push(object_type.table.schema.clone());
                asked.tables.push(object_type.table.table.clone());
            }
        }
        asked
    }
}

/// A session that can change nothing and waits for nothing for long. Blocks.
pub(super) fn session_open(url: &str) -> Result<PgConnection, DbError> {
    let mut connection = connect(url)?;
    connection.batch_execute(&format!(
        "set default_transaction_read_only = on; set statement_timeout = '{STATEMENT_TIMEOUT_MS}ms'; \
         set lock_timeout = '{LOCK_TIMEOUT_MS}ms'"
    ))?;
    Ok(connection)
}

/// The rows of a statement without parameters.
pub(super) fn rows<T: DeserializeOwned>(
    connection: &mut PgConnection,
    sql: &str,
) -> Result<Vec<T>, DbError> {
    read(sql_query(wrapped(sql)).load(connection)?)
}

/// The rows of a statement over object types.
pub(super) fn rows_of<T: DeserializeOwned>(
    connection: &mut PgConnection,
    sql: &str,
    asked: &Asked,
) -> Result<Vec<T>, DbError> {
    let found = sql_query(wrapped(sql))
        .bind::<Array<Text>, _>(&asked.names)
        .bind::<Array<Text>, _>(&asked.schemas)
        .bind::<Array<Text>, _>(&asked.tables)
        .load(connection)?;
    read(found)
}

/// The rows of a statement with one number.
pub(super) fn rows_within<T: DeserializeOwned>(
    connection: &mut PgConnection,
    sql: &str,
    number: i64,
) -> Result<Vec<T>, DbError> {
    let found = sql_query(wrapped(sql)).bind::<BigInt, _>(number);
    read(found.load(connection)?)
}

/// As [`rows_within`], over the change table: the planner has no statistics of a table that only
/// grows, and the index on xid is always right.
pub(super) fn changes_within<T: DeserializeOwned>(
    connection: &mut PgConnection,
    sql: &str,
    number: i64,
) -> Result<Vec<T>, DbError> {
    let found = connection.transaction(|connection| -> QueryResult<Vec<Row>> {
        connection.batch_execute("set local enable_seqscan = off")?;
        let query = sql_query(wrapped(sql)).bind::<BigInt, _>(number);
        query.load(connection)
    });
    read(found?)
}

/// The rows of a statement in which `{{leaf}}` stands for the leaf of that number.
pub(super) fn rows_of_leaf<T: DeserializeOwned>(
    connection: &mut PgConnection,
    sql: &str,
    number: i32,
) -> Result<Vec<T>, DbError> {
    let leaf = format!("rowcall.change_{number}");
    rows(connection, &sql.replace("{{leaf}}", &leaf))
}

/// The versions of the schema that the repository has.
pub(super) fn versions_applied(connection: &mut PgConnection) -> Result<Vec<String>, DbError> {
    let found: Vec<Row> =
        sql_query("select version as row from rowcall.__diesel_schema_migrations order by version")
            .load(connection)?;
    Ok(found.into_iter().map(|found| found.row).collect())
}

fn wrapped(sql: &str) -> String {
    format!("select pg_catalog.to_json(q)::text as row from ({sql}) as q")
}

fn read<T: DeserializeOwned>(rows: Vec<Row>) -> Result<Vec<T>, DbError> {
    let read = |row: Row| {
        serde_json::from_str(&row.row).map_err(|source| DbError::Unreadable {
            what: "what the doctor asked for".to_owned(),
            source,
        })
    };
    rows.into_iter().map(read).collect()
}
