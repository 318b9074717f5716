//! The SQL of steps.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl,
    connection::SimpleConnection,
    sql_query,
    sql_types::{Bool, Integer},
};

use crate::capture::install::store::Target;

/// Removed targets whose function is still there and can go: those whose triggers are not ours to
/// drop wait for their owner.
pub(in crate::capture::install) fn targets_left(
    connection: &mut PgConnection,
) -> QueryResult<Vec<Target>> {
    sql_query(
        "select t.id, t.object_type, t.relation::bigint as relation, t.table_name, t.function_sql \
         from rowcall.capture_target t \
         join pg_catalog.pg_namespace n on n.nspname = 'rowcall' \
         join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = 'capture_' || t.id \
         where t.removed_at is not null and not exists ( \
             select from pg_catalog.pg_trigger g \
             join pg_catalog.pg_class c on c.oid = g.tgrelid \
             where g.tgfoid = p.oid and not pg_catalog.pg_has_role(c.relowner, 'USAGE')) \
         order by t.id",
    )
    .load(connection)
}

/// Whether something is captured for the target.
pub(super) fn target_is_current(connection: &mut PgConnection, id: i32) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Bool)]
        yes: bool,
    }
    let answer: Answer = sql_query(
        "select exists (select from rowcall.capture_target where id = $1 and removed_at is null) \
             as yes",
    )
    .bind::<Integer, _>(id)
    .get_result(connection)?;
    Ok(answer.yes)
}

/// Bounds each statement of the transaction.
pub(super) fn statement_timeout_set(
    connection: &mut PgConnection,
    timeout_ms: u32,
) -> QueryResult<()> {
    connection.batch_execute(&format!("set local statement_timeout = '{timeout_ms}ms'"))
}
