//! The SQL of triggers, their functions and what they are installed for.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension, PgConnection, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Text, Timestamptz},
};

use super::{function::identifier, rendering::Column, tables::store::columns_of};
use crate::{
    catalog::model::{Operation, TableName},
    db::DDL_LOCK,
};

/// What a trigger is installed for.
#[derive(Clone, Debug, QueryableByName)]
pub struct Target {
    /// Changes carry it.
    #[diesel(sql_type = Integer)]
    pub id: i32,
    /// The object type's name.
    #[diesel(sql_type = Text)]
    pub object_type: String,
    /// The table's oid.
    #[diesel(sql_type = BigInt)]
    pub relation: i64,
    /// `schema.table`, as it was when the target was made.
    #[diesel(sql_type = Text)]
    pub table_name: String,
    /// The function as it was last written.
    #[diesel(sql_type = Text)]
    pub function_sql: String,
}

/// A table that carries triggers: the object type's, its partitions and its inheritance children.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Relation {
    /// Its oid.
    #[diesel(sql_type = BigInt)]
    pub oid: i64,
    /// Quoted, with its schema.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Whether it is a partition.
    #[diesel(sql_type = Bool)]
    pub is_partition: bool,
}

/// One of the triggers. A space sorts before every letter, so they fire before the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// After each row.
    Row,
    /// After each row of one operation, in the place of `Row`: where a WHEN judges the rows, for
    /// only an UPDATE has both.
    On(Operation),
    /// After a TRUNCATE.
    Truncate,
}

impl Trigger {
    /// Its name on every table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => " rowcall",
            Self::On(Operation::Create) => " rowcall insert",
            Self::On(Operation::Update) => " rowcall update",
            Self::On(Operation::Delete) => " rowcall delete",
            Self::Truncate => " rowcall truncate",
        }
    }

    pub(super) fn events(self) -> &'static str {
        match self {
            Self::Row => "after insert or update or delete on {table} for each row",
            Self::On(Operation::Create) => "after insert on {table} for each row",
            Self::On(Operation::Update) => "after update on {table} for each row",
            Self::On(Operation::Delete) => "after delete on {table} for each row",
            Self::Truncate => "after truncate on {table} for each statement",
        }
    }

    pub(super) fn parse(name: &str) -> Self {
        let of_rows = Operation::ALL.map(Self::On);
        let known = of_rows.into_iter().chain([Self::Row]);
        known
            .into_iter()
            .find(|trigger| trigger.name() == name)
            .unwrap_or(Self::Truncate)
    }
}

/// Keeps two programs from changing triggers at the same time, until the transaction ends.
pub fn ddl_lock(
    connection: &mut PgConnection,
    lock_timeout_ms: u32,
) -> Result<(), diesel::result::Error> {
    let (class, key) = DDL_LOCK;
    connection.batch_execute(&format!(
        "select pg_catalog.pg_advisory_xact_lock({class}, {key});
         set local lock_timeout = '{lock_timeout_ms}ms'"
    ))
}

/// The doorbell's lock; `None` where the bell is off, because a transaction that notified could not
/// be prepared.
pub fn bell_lock(
    connection: &mut PgConnection,
) -> Result<Option<(i32, i32)>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Bell {
        #[diesel(sql_type = Integer)]
        class: i32,
        #[diesel(sql_type = Bool)]
        rings: bool,
    }
    let bell: Bell = sql_query(
        "select 'rowcall.change'::regclass::oid::integer as class, \
         current_setting('max_prepared_transactions') = '0' as rings",
    )
    .get_result(connection)?;
    Ok(bell.rings.then_some((bell.class, 1)))
}

/// What is installed.
pub fn targets_current(
    connection: &mut PgConnection,
) -> Result<Vec<Target>, diesel::result::Error> {
    sql_query(
        "select id, object_type, relation::bigint as relation, table_name, function_sql \
         from rowcall.capture_target where removed_at is null order by object_type",
    )
    .load(connection)
}

/// Records a table to be captured.
pub fn target_insert(
    connection: &mut PgConnection,
    object_type: &str,
    relation: i64,
    table: &TableName,
    now: DateTime<Utc>,
) -> Result<Target, diesel::result::Error> {
    sql_query(
        "insert into rowcall.capture_target (object_type, relation, table_name, installed_at) \
         values ($1, $2::oid, $3, $4) \
         returning id, object_type, relation::bigint as relation, table_name, function_sql",
    )
    .bind::<Text, _>(object_type)
    .bind::<BigInt, _>(relation)
    .bind::<Text, _>(table.to_string())
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
}

/// Remembers the function as it was written just now, and as the server keeps it.
pub fn target_function_set(
    connection: &mut PgConnection,
    id: i32,
    sql: &str,
) -> Result<(), diesel::result::Error> {
    sql_query(
        "update rowcall.capture_target set function_sql = $2, function_seal = \
         (select seal from rowcall.capture_function where target = $1) where id = $1",
    )
    .bind::<Integer, _>(id)
    .bind::<Text, _>(sql)
    .execute(connection)
    .map(|_| ())
}

/// Records that a table is no longer captured; changes that were captured still name the target.
pub fn target_forget(
    connection: &mut PgConnection,
    id: i32,
    now: DateTime<Utc>,
) -> Result<(), diesel::result::Error> {
    sql_query(
        "update rowcall.capture_target set removed_at = greatest($2, installed_at) where id = $1",
    )
    .bind::<Integer, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(|_| ())
}

/// The table's oid.
pub fn relation_find(
    connection: &mut PgConnection,
    table: &TableName,
) -> Result<Option<i64>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Oid {
        #[diesel(sql_type = BigInt)]
        oid: i64,
    }
    let row: Option<Oid> = sql_query(
        "select c.oid::bigint as oid from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')",
    )
    .bind::<Text, _>(&table.schema)
    .bind::<Text, _>(&table.table)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.oid))
}

/// The columns of one table and its children with the kinds of their values.
pub fn columns_read(
    connection: &mut PgConnection,
    relation: i64,
) -> Result<Vec<Column>, diesel::result::Error> {
    let mut found = columns_of(connection, &[relation])?;
    Ok(found.remove(&relation).unwrap_or_default())
}

/// Whether the function is there.
pub fn function_exists(
    connection: &mut PgConnection,
    name: &str,
) -> Result<bool, diesel::result::Error> {
    exists(
        connection,
        "select to_regprocedure('rowcall.' || $1 || '()') is not null as yes",
        name,
    )
}

/// Writes the function as its owner, who may do so for this moment only.
pub fn function_write(
    connection: &mut PgConnection,
    name: &str,
    sql: &str,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(
        "grant create on schema rowcall to rowcall_capture; set local role rowcall_capture",
    )?;
    connection.batch_execute(sql)?;
    connection.batch_execute(&format!(
        "revoke all on function rowcall.{name}() from public;
         grant execute on function rowcall.{name}() to session_user;
         reset role;
         revoke create on schema rowcall from rowcall_capture"
    ))
}

/// Removes the function, or leaves one that does nothing where a trigger still calls it.
pub fn function_retire(
    connection: &mut PgConnection,
    name: &str,
    unused: bool,
) -> Result<(), diesel::result::Error> {
    if unused {
        connection.batch_execute(&format!("drop function if exists rowcall.{name}()"))?;
        return careful_drop(connection, name);
    }
    careful_drop(connection, name)?;
    let empty = format!(
        "create or replace function rowcall.{name}() returns trigger language plpgsql \
         as 'begin return null; end'"
    );
    function_write(connection, name, &empty)
}

fn careful_drop(connection: &mut PgConnection, name: &str) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "drop function if exists rowcall.{name}_careful(text, oid, record, record)"
    ))
}

/// The triggers that call the function, with the tables they are on; clones on partitions are left
/// out.
pub fn triggers_read(
    connection: &mut PgConnection,
    function: &str,
) -> Result<Vec<(Relation, Trigger)>, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        relation: Relation,
        #[diesel(sql_type = Text)]
        trigger: String,
    }
    let rows: Vec<Row> = sql_query(
        "select c.oid::bigint as oid, format('%I.%I', n.nspname, c.relname) as name, \
             c.relispartition as is_partition, t.tgname::text as trigger \
         from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where t.tgfoid = to_regprocedure('rowcall.' || $1 || '()') and t.tgparentid = 0 \
         order by c.oid, t.tgname",
    )
    .bind::<Text, _>(function)
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.relation, Trigger::parse(&row.trigger)))
        .collect())
}

/// Creates a trigger; waits for the table's lock as long as `lock_timeout` says.
pub fn trigger_create(
    connection: &mut PgConnection,
    table: &str,
    trigger: Trigger,
    function: &str,
) -> Result<(), diesel::result::Error> {
    connection.batch_execute(&format!(
        "create or replace trigger {} {} execute function rowcall.{function}()",
        identifier(trigger.name()),
        trigger.events().replace("{table}", table)
    ))
}

/// Drops a trigger. False: only the table's owner can.
pub fn trigger_drop(
    connection: &mut PgConnection,
    table: &Relation,
    trigger: Trigger,
) -> Result<bool, diesel::result::Error> {
    let owns = exists(
        connection,
        "select pg_catalog.pg_has_role(c.relowner, 'USAGE') as yes \
         from pg_catalog.pg_class c where c.oid = $1::oid",
        &table.oid.to_string(),
    )?;
    if owns {
        connection.batch_execute(&format!(
            "drop trigger if exists {} on {}",
            identifier(trigger.name()),
            table.name
        ))?;
    }
    Ok(owns)
}

fn exists(
    connection: &mut PgConnection,
    sql: &str,
    parameter: &str,
) -> Result<bool, diesel::result::Error> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let answer: Option<Answer> = sql_query(sql)
        .bind::<Text, _>(parameter)
        .get_result(connection)
        .optional()?;
    Ok(answer.is_some_and(|answer| answer.yes))
}
