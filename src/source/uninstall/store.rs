//! The SQL of uninstalling.

use diesel::{
    Connection as _, OptionalExtension, PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Bool, Text},
};

use crate::source::detach::TriggerLeft;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The sessions of Rowcall in this database, apart from this one.
pub(super) fn serving_count(connection: &mut PgConnection) -> QueryResult<i64> {
    let row: Count = sql_query(
        "select count(*) from pg_catalog.pg_stat_activity \
         where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid() \
             and application_name in ('rowcall', 'rowcall listen')",
    )
    .get_result(connection)?;
    Ok(row.count)
}

/// The triggers that call Rowcall's functions, and how many tables they are on; clones on
/// partitions are left out.
pub(super) fn triggers_count(connection: &mut PgConnection) -> QueryResult<(i64, i64)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        triggers: i64,
        #[diesel(sql_type = BigInt)]
        tables: i64,
    }
    let row: Row = sql_query(
        "select count(*) as triggers, count(distinct t.tgrelid) as tables \
         from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid \
         where p.pronamespace = to_regnamespace('rowcall') and t.tgparentid = 0",
    )
    .get_result(connection)?;
    Ok((row.triggers, row.tables))
}

/// Deliveries that are not settled.
pub(super) fn unsettled_count(connection: &mut PgConnection) -> QueryResult<i64> {
    let row: Count = sql_query("select count(*) from rowcall.delivery where settled_at is null")
        .get_result(connection)?;
    Ok(row.count)
}

/// Drops a trigger, if the user is the table's owner; true if it is gone.
pub(super) fn trigger_drop_own(
    connection: &mut PgConnection,
    trigger: &TriggerLeft,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        owns: bool,
    }
    let row: Option<Row> = sql_query(
        "select pg_catalog.pg_has_role(c.relowner, 'USAGE') as owns \
         from pg_catalog.pg_class c where c.oid = to_regclass($1)",
    )
    .bind::<Text, _>(&trigger.table)
    .get_result(connection)
    .optional()?;
    match row {
        // The table is gone, and its triggers with it.
        None => Ok(true),
        Some(Row { owns: false }) => Ok(false),
        Some(Row { owns: true }) => connection
            .batch_execute(&format!(
                "drop trigger if exists {} on {}",
                trigger.trigger, trigger.table
            ))
            .map(|()| true),
    }
}

/// Drops the schema with what is in it, and fails if anything else depends on that: a trigger on a
/// function, for instance.
pub(super) fn schema_drop(connection: &mut PgConnection) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Statement {
        #[diesel(sql_type = Text)]
        statement: String,
    }
    let statements: Vec<Statement> = sql_query(include_str!("schema_drop.sql")).load(connection)?;
    for row in statements {
        connection.batch_execute(&row.statement)?;
    }
    Ok(())
}

/// What became of the role.
pub(super) enum RoleDrop {
    /// It is gone.
    Dropped,
    /// Something in another database of the cluster needs it.
    InUse,
    /// This user may not drop it.
    Refused,
}

/// Drops the role that the functions ran as, unless somebody else needs it.
pub(super) fn role_drop(connection: &mut PgConnection) -> QueryResult<RoleDrop> {
    let needed: Count = sql_query(
        "select count(*) from pg_catalog.pg_shdepend d \
         join pg_catalog.pg_roles r on r.oid = d.refobjid \
         where d.refclassid = 'pg_catalog.pg_authid'::regclass and r.rolname = 'rowcall_capture'",
    )
    .get_result(connection)?;
    if needed.count > 0 {
        return Ok(RoleDrop::InUse);
    }
    let dropped = connection
        .transaction(|connection| connection.batch_execute("drop role if exists rowcall_capture"));
    match dropped {
        Ok(()) => Ok(RoleDrop::Dropped),
        Err(error) if error.to_string().contains("permission denied") => Ok(RoleDrop::Refused),
        Err(error) if error.to_string().contains("depend on it") => Ok(RoleDrop::InUse),
        Err(error) => Err(error),
    }
}
