//! SQL of the API keys.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, Binary, Nullable, Text, Timestamptz},
};

use super::{
    key::{ApiKey, KeyHash},
    role::Role,
};
use crate::db::{DbError, kept};

/// Why a key could not be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeyCreateError {
    /// The operating system gave no random bytes.
    #[error("the system's random source failed")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Db(#[from] DbError),
}

/// Makes a key. Its text is in the answer and nowhere else.
///
/// # Errors
///
/// [`KeyCreateError`]; an empty `name` violates the table's check.
pub fn key_create(
    connection: &mut PgConnection,
    name: &str,
    role: Role,
    now: DateTime<Utc>,
) -> Result<ApiKey, KeyCreateError> {
    let key = ApiKey::generate()?;
    let KeyHash { salt, hash } = key.hash()?;
    sql_query(
        "insert into rowcall.api_key (id, name, role, salt, hash, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind::<Text, _>(&key.id)
    .bind::<Text, _>(name)
    .bind::<Text, _>(role.as_str())
    .bind::<Binary, _>(salt.as_slice())
    .bind::<Binary, _>(hash.as_slice())
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map_err(DbError::from)?;
    Ok(key)
}

/// A key as it may be shown.
#[derive(Debug, QueryableByName)]
pub struct KeyRow {
    /// Its public name.
    #[diesel(sql_type = Text)]
    pub id: String,
    /// For people.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// See [`Role`].
    #[diesel(sql_type = Text)]
    pub role: String,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it stopped working.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// All keys, the oldest first.
///
/// # Errors
///
/// Only those of the database.
pub fn key_list(connection: &mut PgConnection) -> QueryResult<Vec<KeyRow>> {
    sql_query(
        "select id, name, role, created_at, revoked_at from rowcall.api_key \
         order by created_at, id",
    )
    .load(connection)
}

/// Makes a key stop working, from the commit on. False: there is none with this id that works.
///
/// # Errors
///
/// Only those of the database.
pub fn key_revoke(
    connection: &mut PgConnection,
    id: &str,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    // Whether a subscription is the operators' depends on its owner's key, so registries are read
    // anew.
    let revoked = sql_query(
        "with revoked as ( \
             update rowcall.api_key set revoked_at = greatest($2, created_at) \
             where id = $1 and revoked_at is null returning id) \
         update rowcall.registry set revision = revision + 1 where exists (select from revoked)",
    )
    .bind::<Text, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(revoked == 1)
}

#[derive(QueryableByName)]
struct StoredKey {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Binary)]
    salt: Vec<u8>,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
}

/// Roles and hashes of those of the keys that work, by id.
pub(super) fn keys_find(
    connection: &mut PgConnection,
    ids: &[&str],
) -> QueryResult<HashMap<String, (Role, KeyHash)>> {
    let stored: Vec<StoredKey> = kept(
        "select id, role, salt, hash from rowcall.api_key \
         where id = any($1) and revoked_at is null",
    )
    .bind::<Array<Text>, _>(ids)
    .load(connection)?;
    // The table's checks hold role and lengths; a row that breaks them opens nothing.
    let key = |stored: StoredKey| {
        let salt = stored.salt.try_into().ok()?;
        let hash = stored.hash.try_into().ok()?;
        Some((
            stored.id,
            (Role::parse(&stored.role)?, KeyHash { salt, hash }),
        ))
    };
    Ok(stored.into_iter().filter_map(key).collect())
}
