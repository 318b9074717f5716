//! SQL of the catalogue: the items of a version, the versions, the folder's subscriptions.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::model::{Catalog, Constraint};
use crate::{
    db::{Connection, DbError, QueryError},
    subscription::register::Origin,
};

/// The running catalogue, and what of it the API made.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// All of it.
    pub catalog: Catalog,
    /// What was not born in the folder.
    pub elsewhere: Catalog,
}

#[derive(QueryableByName)]
struct ItemRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_folder: bool,
    #[diesel(sql_type = Text)]
    definition: String,
    #[diesel(sql_type = BigInt)]
    version_from: i64,
}

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// The running catalogue with the origin of its items.
pub fn catalog_current(connection: &mut Connection) -> Result<Stored, DbError> {
    let version = catalog_version(connection)?;
    let rows: Vec<ItemRow> = sql_query(
        "select kind, name, origin = 'folder' as is_folder, definition::text as definition, \
             version_from \
         from rowcall.catalog_item where version_to is null order by kind, name",
    )
    .load(connection)?;
    let mut stored = Stored::default();
    stored.catalog.version = version;
    stored.elsewhere.version = version;
    for row in rows {
        insert(&mut stored.catalog, &row)?;
        if !row.is_folder {
            insert(&mut stored.elsewhere, &row)?;
        }
    }
    Ok(stored)
}

fn insert(catalog: &mut Catalog, row: &ItemRow) -> Result<(), DbError> {
    let what = || format!("{} {}", row.kind, row.name);
    match row.kind.as_str() {
        "namespace" => {
            let namespace = definition(&row.definition, what)?;
            catalog.namespaces.insert(row.name.clone(), namespace);
        }
        "event_type" => {
            let event_type = definition(&row.definition, what)?;
            catalog.event_types.insert(row.name.clone(), event_type);
        }
        "constraint" => {
            let constraint = Constraint {
                version: row.version_from,
                spec: definition(&row.definition, what)?,
            };
            catalog.constraints.insert(row.name.clone(), constraint);
        }
        _ => {
            let object_type = definition(&row.definition, what)?;
            catalog.object_types.insert(row.name.clone(), object_type);
        }
    }
    Ok(())
}

pub(super) fn definition<T: DeserializeOwned>(
    json: &str,
    what: impl FnOnce() -> String,
) -> Result<T, DbError> {
    serde_json::from_str(json).map_err(|source| DbError::Unreadable {
        what: what(),
        source,
    })
}

fn catalog_version(connection: &mut Connection) -> Result<i64, QueryError> {
    sql_query("select coalesce(max(version), 0) as version from rowcall.catalog_version")
        .get_result(connection)
        .map(|row: VersionRow| row.version)
}

impl Catalog {
    /// The catalogue as it is now; empty and of version 0 before anything was applied. Blocks.
    ///
    /// # Errors
    ///
    /// If the database can't be read, or holds what this version of Rowcall does not know.
    pub fn load(connection: &mut Connection) -> Result<Self, DbError> {
        catalog_current(connection).map(|stored| stored.catalog)
    }
}

/// The number that grows with every edit of the catalogue or of the registration list: a copy of
/// them that was made at this revision is good as long as it stays. Takes no lock.
pub fn catalog_revision(connection: &mut Connection) -> Result<i64, DbError> {
    let row: VersionRow =
        sql_query("select revision as version from rowcall.registry").get_result(connection)?;
    Ok(row.version)
}

/// Whether the repository was set up; if not, there is nothing in it.
pub fn catalog_exists(connection: &mut Connection) -> Result<bool, DbError> {
    #[derive(QueryableByName)]
    struct Exists {
        #[diesel(sql_type = Bool)]
        exists: bool,
    }
    let row: Exists = sql_query("select to_regclass('rowcall.subscription') is not null as exists")
        .get_result(connection)?;
    Ok(row.exists)
}

/// The digest of the folder that was applied last; `None` if none was.
pub fn catalog_version_folder(connection: &mut Connection) -> Result<Option<Vec<u8>>, DbError> {
    #[derive(QueryableByName)]
    struct DigestRow {
        #[diesel(sql_type = Binary)]
        digest: Vec<u8>,
    }
    let row: Option<DigestRow> = sql_query(
        "select digest from rowcall.catalog_version where origin = 'folder' \
         order by version desc limit 1",
    )
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.digest))
}

/// A version about to be written.
pub(super) struct NewVersion<'a> {
    pub(super) author: &'a str,
    pub(super) reason: &'a str,
    /// The folder's; `None`: the edit comes through the API.
    pub(super) digest: Option<&'a [u8]>,
    pub(super) applied_at: DateTime<Utc>,
}

/// Writes the next version; the registry must be locked.
pub(super) fn catalog_version_insert(
    connection: &mut Connection,
    row: &NewVersion<'_>,
) -> Result<i64, QueryError> {
    sql_query(
        "insert into rowcall.catalog_version (version, applied_at, author, reason, origin, digest) \
         select coalesce(max(version), 0) + 1, $1, $2, $3, \
             case when $4 is null then 'api' else 'folder' end, $4 \
         from rowcall.catalog_version returning version",
    )
    .bind::<Timestamptz, _>(row.applied_at)
    .bind::<Text, _>(row.author)
    .bind::<Text, _>(row.reason)
    .bind::<Nullable<Binary>, _>(row.digest)
    .get_result(connection)
    .map(|row: VersionRow| row.version)
}

/// An item about to be written.
pub(super) struct NewItem<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) origin: Origin,
    pub(super) definition: &'a str,
}

/// Ends an item with `version`.
pub(super) fn catalog_item_close(
    connection: &mut Connection,
    version: i64,
    kind: &str,
    name: &str,
) -> Result<(), QueryError> {
    sql_query(
        "update rowcall.catalog_item set version_to = $1 \
         where kind = $2 and name = $3 and version_to is null",
    )
    .bind::<BigInt, _>(version)
    .bind::<Text, _>(kind)
    .bind::<Text, _>(name)
    .execute(connection)
    .map(drop)
}

/// Begins an item with `version`.
pub(super) fn catalog_item_insert(
    connection: &mut Connection,
    version: i64,
    item: &NewItem<'_>,
) -> Result<(), QueryError> {
    sql_query(
        "insert into rowcall.catalog_item (kind, name, origin, definition, version_from) \
         values ($1, $2, $3, $4::json, $5)",
    )
    .bind::<Text, _>(item.kind)
    .bind::<Text, _>(item.name)
    .bind::<Text, _>(item.origin.as_str())
    .bind::<Text, _>(item.definition)
    .bind::<BigInt, _>(version)
    .execute(connection)
    .map(drop)
}

/// A registered subscription, as far as the folder is concerned.
#[derive(Clone, Debug)]
pub struct RegisteredRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Where it was born.
    pub origin: Origin,
    /// The API key that registered it.
    pub owner: Option<String>,
    /// Its definition as JSON, without its secret.
    pub definition: String,
}

#[derive(QueryableByName)]
struct SubscriptionRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    is_folder: bool,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Text)]
    definition: String,
}

/// The subscriptions that were born in the folder, and those of others that have one of `names`.
pub fn subscription_of_folder(
    connection: &mut Connection,
    names: &[&str],
) -> Result<Vec<RegisteredRow>, DbError> {
    let rows: Vec<SubscriptionRow> = sql_query(
        "select id, name, origin = 'folder' as is_folder, owner, definition::text as definition \
         from rowcall.subscription \
         where state <> 'deleted' and (origin = 'folder' or name = any($1)) order by name",
    )
    .bind::<Array<Text>, _>(names)
    .load(connection)?;
    Ok(rows.into_iter().map(RegisteredRow::from).collect())
}

impl From<SubscriptionRow> for RegisteredRow {
    fn from(row: SubscriptionRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            origin: if row.is_folder {
                Origin::Folder
            } else {
                Origin::Api
            },
            owner: row.owner,
            definition: row.definition,
        }
    }
}

/// Which subscriptions [`subscription_page`] reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageFilter {
    /// None of the folder's.
    pub(super) is_api_only: bool,
    /// Only those with a filter.
    pub(super) is_filtered_only: bool,
}

/// Subscriptions that are not deleted, by id, behind `after`.
pub(super) fn subscription_page(
    connection: &mut Connection,
    which: PageFilter,
    after: Option<Uuid>,
    rows_max: i64,
) -> Result<Vec<RegisteredRow>, QueryError> {
    let rows: Vec<SubscriptionRow> = sql_query(
        "select id, name, origin = 'folder' as is_folder, owner, definition::text as definition \
         from rowcall.subscription where state <> 'deleted' \
             and (origin = 'api' or not $1) and (definition -> 'filter' is not null or not $2) \
             and ($3 is null or id > $3) \
         order by id limit $4",
    )
    .bind::<Bool, _>(which.is_api_only)
    .bind::<Bool, _>(which.is_filtered_only)
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<BigInt, _>(rows_max)
    .load(connection)?;
    Ok(rows.into_iter().map(RegisteredRow::from).collect())
}

/// Which of the names and patterns no subscription has; `is_api_only`: none of the API.
pub(super) fn subscription_unknown(
    connection: &mut Connection,
    is_api_only: bool,
    patterns: &[&str],
) -> Result<Vec<String>, QueryError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        pattern: String,
    }
    let rows: Vec<Row> = sql_query(
        "select pattern from unnest($2) as asked(pattern) where not exists ( \
             select from rowcall.subscription s where state <> 'deleted' \
                 and (origin = 'api' or not $1) \
                 and s.name like replace(replace(replace(replace(pattern, \
                     '\\', '\\\\'), '%', '\\%'), '_', '\\_'), '*', '%'))",
    )
    .bind::<Bool, _>(is_api_only)
    .bind::<Array<Text>, _>(patterns)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.pattern).collect())
}

/// Bounds how long each lock of this transaction is waited for.
pub(super) fn lock_timeout_set(
    connection: &mut Connection,
    limit_ms: u64,
) -> Result<(), QueryError> {
    sql_query(format!("set local lock_timeout = {limit_ms}"))
        .execute(connection)
        .map(drop)
}

/// Lets this transaction change nothing, and see one moment.
pub(super) fn transaction_read_only(connection: &mut Connection) -> Result<(), QueryError> {
    sql_query("set transaction isolation level repeatable read, read only")
        .execute(connection)
        .map(drop)
}
