//! SQL of the registry's single row.

use std::collections::BTreeSet;

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    result::Error as QueryError,
    sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

use crate::{
    db::{DbError, kept},
    subscription::secret::SecretKey,
};

/// Takes the lock that orders edits and publishing, and raises the revision, which it returns.
/// Every edit of the catalogue or the registration list begins with it.
pub fn registry_raise(connection: &mut PgConnection) -> QueryResult<i64> {
    kept("update rowcall.registry set revision = revision + 1 returning revision")
        .get_result(connection)
        .map(|row: Revision| row.revision)
}

/// Edits of single subscriptions that are remembered. Who has not looked for longer than that reads
/// the whole list.
pub(super) const EDITS_KEPT: i64 = 1_000;

/// As [`registry_raise`], for an edit of this subscription and of nothing else that a registry is
/// made of: whoever has the revision before needs to read no other.
pub fn registry_raise_for(connection: &mut PgConnection, subscription: Uuid) -> QueryResult<i64> {
    kept(
        "with raised as ( \
             update rowcall.registry set revision = revision + 1 returning revision), \
         forgotten as ( \
             delete from rowcall.registry_edit as e using raised as r \
             where e.revision <= r.revision - $2) \
         insert into rowcall.registry_edit (revision, subscription_id) \
         select revision, $1 from raised returning revision",
    )
    .bind::<SqlUuid, _>(subscription)
    .bind::<BigInt, _>(EDITS_KEPT)
    .get_result(connection)
    .map(|row: Revision| row.revision)
}

/// The subscriptions that were edited after the revision `from` and up to `upto`; `None` if
/// something else was edited, too, or it was too long ago.
pub(super) fn registry_edits(
    connection: &mut PgConnection,
    from: i64,
    upto: i64,
) -> QueryResult<Option<BTreeSet<Uuid>>> {
    #[derive(QueryableByName)]
    struct Edit {
        #[diesel(sql_type = SqlUuid)]
        subscription_id: Uuid,
    }
    if !(1..=EDITS_KEPT).contains(&upto.saturating_sub(from)) {
        return Ok(None);
    }
    let edits: Vec<Edit> = kept(
        "select subscription_id from rowcall.registry_edit \
         where revision > $1 and revision <= $2",
    )
    .bind::<BigInt, _>(from)
    .bind::<BigInt, _>(upto)
    .load(connection)?;
    // Each revision that nothing is known of was raised by something else.
    let is_all = i64::try_from(edits.len()) == Ok(upto - from);
    let ids = edits.into_iter().map(|edit| edit.subscription_id);
    Ok(is_all.then(|| ids.collect()))
}

/// Takes the lock without raising the revision, for an edit that first looks whether it has to be.
pub fn registry_lock(connection: &mut PgConnection) -> QueryResult<i64> {
    kept("select revision from rowcall.registry for update")
        .get_result(connection)
        .map(|row: Revision| row.revision)
}

/// Takes the lock for share, as publishing does: no edit commits before this transaction ends.
/// Returns the revision, which differs if and only if something was edited.
pub fn registry_share(connection: &mut PgConnection) -> QueryResult<i64> {
    kept("select revision from rowcall.registry for share")
        .get_result(connection)
        .map(|row: Revision| row.revision)
}

#[derive(QueryableByName)]
struct Revision {
    #[diesel(sql_type = BigInt)]
    revision: i64,
}

/// Why the secret key can't be used with this repository.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SecretKeyError {
    /// The repository was written with another key.
    #[error(
        "ROWCALL_SECRET_KEY is not the key that the secrets of this repository are encrypted with \
         (the key has the id {given}, the repository's is {stored})"
    )]
    #[diagnostic(help(
        "start with the key that was used before, or name it in ROWCALL_SECRET_KEYS_OLD beside the \
         new one; if it is lost, `update rowcall.registry set secret_key_id = null` accepts the new \
         key, and each subscription needs a new secret"
    ))]
    Other {
        /// Names the key that was given.
        given: String,
        /// Names the key that was used before.
        stored: String,
    },
    /// The database failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Db(#[from] DbError),
}

impl From<QueryError> for SecretKeyError {
    fn from(error: QueryError) -> Self {
        Self::Db(error.into())
    }
}

#[derive(QueryableByName)]
struct SecretKeyId {
    #[diesel(sql_type = Text)]
    secret_key_id: String,
}

/// Compares `key` with the one that the repository was last used with; the first use decides. A
/// key that knows that one as a former one takes its place.
///
/// # Errors
///
/// [`SecretKeyError::Other`], if it is another one.
pub fn secret_key_check(
    connection: &mut PgConnection,
    key: &SecretKey,
) -> Result<(), SecretKeyError> {
    let given = key.id();
    let row: SecretKeyId = kept(
        "update rowcall.registry set secret_key_id = case \
             when secret_key_id is null or secret_key_id = any ($2) then $1 \
             else secret_key_id end \
         returning secret_key_id",
    )
    .bind::<Text, _>(&given)
    .bind::<Array<Text>, _>(key.ids())
    .get_result(connection)?;
    if row.secret_key_id == given {
        Ok(())
    } else {
        Err(SecretKeyError::Other {
            given,
            stored: row.secret_key_id,
        })
    }
}

#[derive(QueryableByName)]
struct TargetRow {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    object_type: String,
    #[diesel(sql_type = Array<Text>)]
    partitioned_by: Vec<String>,
}

/// A number that changes carry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TargetName {
    /// The number.
    pub(super) id: i32,
    /// The source whose changes carry it.
    pub(super) source: String,
    /// The object type that it stands for.
    pub(super) object_type: String,
    /// The columns that say in which partition of its table a row is, those of all levels.
    pub(super) partitioned_by: Vec<String>,
}

/// The object types that changes name by number, those of removed triggers included.
pub(super) fn targets_load(connection: &mut PgConnection) -> QueryResult<Vec<TargetName>> {
    let rows: Vec<TargetRow> = kept(include_str!("targets.sql")).load(connection)?;
    let target = |row: TargetRow| TargetName {
        id: row.id,
        source: row.source,
        object_type: row.object_type,
        partitioned_by: row.partitioned_by,
    };
    Ok(rows.into_iter().map(target).collect())
}

/// The revision, without a lock: for delivering, which only needs a recent one.
pub fn registry_revision(connection: &mut PgConnection) -> QueryResult<i64> {
    kept("select revision from rowcall.registry")
        .get_result(connection)
        .map(|row: Revision| row.revision)
}
