//! The SQL of detaching.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, sql_query,
    sql_types::{Bool, Nullable, Text},
};

use super::{Detached, TriggerLeft};

/// What is detached.
pub fn detached_read(connection: &mut PgConnection) -> QueryResult<Detached> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        source: String,
        #[diesel(sql_type = Nullable<Text>)]
        object_type: Option<String>,
    }
    let rows: Vec<Row> = sql_query(
        "select name as source, null as object_type from rowcall.source \
         where detached_at is not null \
         union all \
         select source, object_type from rowcall.source_gap where ended_at is null",
    )
    .load(connection)?;
    let mut detached = Detached::default();
    for row in rows {
        match row.object_type {
            None => detached.sources.insert(row.source),
            Some(object_type) => detached.object_types.insert((row.source, object_type)),
        };
    }
    Ok(detached)
}

/// Detaches a whole source, or ends that; its object types are apart.
pub(super) fn source_detached_set(
    connection: &mut PgConnection,
    source: &str,
    detached: bool,
) -> QueryResult<usize> {
    sql_query(
        "update rowcall.source set detached_at = case when $2 \
             then coalesce(detached_at, pg_catalog.clock_timestamp()) end where name = $1",
    )
    .bind::<Text, _>(source)
    .bind::<Bool, _>(detached)
    .execute(connection)
}

/// The names of all sources.
pub(super) fn source_names(connection: &mut PgConnection) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let rows: Vec<Row> =
        sql_query("select name from rowcall.source order by name").load(connection)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Rowcall's triggers that capture nothing any more, because their object type was removed or is
/// detached, and that are there because Rowcall does not own their tables.
pub fn triggers_left(connection: &mut PgConnection) -> QueryResult<Vec<TriggerLeft>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        table: String,
        #[diesel(sql_type = Text)]
        trigger: String,
        #[diesel(sql_type = Text)]
        owner: String,
    }
    let rows: Vec<Row> = sql_query(
        "select format('%I.%I', n.nspname, c.relname) as table, format('%I', t.tgname) as trigger, \
             pg_catalog.pg_get_userbyid(c.relowner)::text as owner \
         from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         join pg_catalog.pg_proc p on p.oid = t.tgfoid \
         where p.pronamespace = to_regnamespace('rowcall') and t.tgparentid = 0 \
             and not exists (select from rowcall.capture_target k \
                 where k.removed_at is null and p.proname = 'capture_' || k.id) \
         order by 1, t.tgname",
    )
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| TriggerLeft {
            table: row.table,
            trigger: row.trigger,
            owner: row.owner,
        })
        .collect())
}
