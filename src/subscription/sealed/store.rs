//! SQL of what is encrypted.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

/// A row of `rowcall.subscription_secret`.
#[derive(QueryableByName)]
pub struct SealedRow {
    /// Whose it is.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Names the key that encrypted it.
    #[diesel(sql_type = Text)]
    pub key_id: String,
    /// Nonce and ciphertext.
    #[diesel(sql_type = Binary)]
    pub sealed: Vec<u8>,
    /// Until when it counts, of a previous secret.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub valid_until: Option<DateTime<Utc>>,
}

/// All rows of subscriptions that are not deleted; only one subscription's, if `only` names it.
pub(super) fn secret_list(
    connection: &mut PgConnection,
    only: Option<Uuid>,
) -> QueryResult<Vec<SealedRow>> {
    sql_query(
        "select x.subscription_id, x.kind, x.key_id, x.sealed, x.valid_until \
         from rowcall.subscription_secret x join rowcall.subscription s on s.id = x.subscription_id \
         where s.state <> 'deleted' and ($1 is null or s.id = $1)",
    )
    .bind::<Nullable<SqlUuid>, _>(only)
    .load(connection)
}

/// Writes a row instead of the one of the same kind.
pub(super) fn secret_put(connection: &mut PgConnection, row: &SealedRow) -> QueryResult<()> {
    sql_query(
        "insert into rowcall.subscription_secret \
             (subscription_id, kind, key_id, sealed, valid_until) values ($1, $2, $3, $4, $5) \
         on conflict (subscription_id, kind) do update set key_id = excluded.key_id, \
             sealed = excluded.sealed, valid_until = excluded.valid_until",
    )
    .bind::<SqlUuid, _>(row.subscription_id)
    .bind::<Text, _>(&row.kind)
    .bind::<Text, _>(&row.key_id)
    .bind::<Binary, _>(&row.sealed)
    .bind::<Nullable<Timestamptz>, _>(row.valid_until)
    .execute(connection)
    .map(drop)
}

/// Removes a row, if it is there.
pub(super) fn secret_remove(
    connection: &mut PgConnection,
    subscription: Uuid,
    kind: &str,
) -> QueryResult<()> {
    sql_query("delete from rowcall.subscription_secret where subscription_id = $1 and kind = $2")
        .bind::<SqlUuid, _>(subscription)
        .bind::<Text, _>(kind)
        .execute(connection)
        .map(drop)
}

/// Forgets up to `limit` previous secrets that count no more. Returns how many.
pub fn secret_forget(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    sql_query(
        "delete from rowcall.subscription_secret where ctid = any(array( \
             select ctid from rowcall.subscription_secret where valid_until <= $1 limit $2 \
             for update skip locked))",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit)
    .execute(connection)
}

/// Of one subscription that is not deleted: its definition and its signing secret.
#[derive(QueryableByName)]
pub struct SigningRow {
    /// The definition, JSON.
    #[diesel(sql_type = Text)]
    pub definition: String,
    /// Its signing secret, encrypted.
    #[diesel(sql_type = Nullable<Binary>)]
    pub sealed: Option<Vec<u8>>,
    /// Names the key that encrypted it, if that was written down.
    #[diesel(sql_type = Nullable<Text>)]
    pub key_id: Option<String>,
}

/// Reads it; `None` if there is none.
pub fn signing_get(
    connection: &mut PgConnection,
    subscription: Uuid,
) -> QueryResult<Option<SigningRow>> {
    sql_query(
        "select definition::text as definition, secret as sealed, secret_key_id as key_id \
         from rowcall.subscription where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(subscription)
    .get_result(connection)
    .optional()
}

/// Writes another signing secret, or none, with what is public of it.
pub fn signing_put(
    connection: &mut PgConnection,
    subscription: Uuid,
    sealed: Option<&[u8]>,
    key_id: &str,
    public_key: Option<&str>,
) -> QueryResult<()> {
    sql_query(
        "update rowcall.subscription set secret = $2, public_key = $4, \
             secret_key_id = case when $2 is not null then $3 end where id = $1",
    )
    .bind::<SqlUuid, _>(subscription)
    .bind::<Nullable<Binary>, _>(sealed)
    .bind::<Text, _>(key_id)
    .bind::<Nullable<Text>, _>(public_key)
    .execute(connection)
    .map(drop)
}

/// Something encrypted, wherever it is kept.
#[derive(QueryableByName)]
pub struct Ciphertext {
    /// Whose it is.
    #[diesel(sql_type = SqlUuid)]
    pub subscription_id: Uuid,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Names the key, if that was written down.
    #[diesel(sql_type = Nullable<Text>)]
    pub key_id: Option<String>,
    /// Nonce and ciphertext.
    #[diesel(sql_type = Binary)]
    pub sealed: Vec<u8>,
}

/// Up to `limit` ciphertexts of other keys than `key_id`, behind `after`, in the order of
/// subscription and kind.
pub fn ciphertext_list(
    connection: &mut PgConnection,
    key_id: &str,
    after: (Uuid, &str),
    limit: i64,
) -> QueryResult<Vec<Ciphertext>> {
    sql_query(
        "select subscription_id, kind, key_id, sealed from ( \
             select id as subscription_id, 'signing' as kind, secret_key_id as key_id, \
                 secret as sealed from rowcall.subscription where secret is not null \
             union all \
             select subscription_id, kind, key_id, sealed from rowcall.subscription_secret) as c \
         where key_id is distinct from $1 and (subscription_id, kind) > ($2, $3) \
         order by subscription_id, kind limit $4",
    )
    .bind::<Text, _>(key_id)
    .bind::<SqlUuid, _>(after.0)
    .bind::<Text, _>(after.1)
    .bind::<BigInt, _>(limit)
    .load(connection)
}

/// Writes a ciphertext anew if it is still the same. False: somebody else wrote it meanwhile.
pub fn ciphertext_replace(
    connection: &mut PgConnection,
    old: &Ciphertext,
    sealed: &[u8],
    key_id: &str,
) -> QueryResult<bool> {
    let written = sql_query(
        "with signing as (update rowcall.subscription set secret = $4, secret_key_id = $5 \
             where $2 = 'signing' and id = $1 and secret = $3 returning 1), \
         other as (update rowcall.subscription_secret set sealed = $4, key_id = $5 \
             where subscription_id = $1 and kind = $2 and sealed = $3 returning 1) \
         select from signing union all select from other",
    )
    .bind::<SqlUuid, _>(old.subscription_id)
    .bind::<Text, _>(&old.kind)
    .bind::<Binary, _>(&old.sealed)
    .bind::<Binary, _>(sealed)
    .bind::<Text, _>(key_id)
    .execute(connection)?;
    Ok(written == 1)
}

/// How many ciphertexts a key has.
#[derive(Debug, PartialEq, Eq, QueryableByName)]
pub struct KeyUse {
    /// Names the key; none of those that were written before that was kept.
    #[diesel(sql_type = Nullable<Text>)]
    pub key_id: Option<String>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// The keys that anything is encrypted with.
pub fn key_uses(connection: &mut PgConnection) -> QueryResult<Vec<KeyUse>> {
    sql_query(
        "select key_id, count(*) as count from ( \
             select secret_key_id as key_id from rowcall.subscription where secret is not null \
             union all select key_id from rowcall.subscription_secret) as c \
         group by key_id order by key_id nulls first",
    )
    .load(connection)
}

/// How many ciphertexts have other keys than those of these ids. One whose key was not written
/// down is not among them.
pub fn key_uses_other(connection: &mut PgConnection, ids: &[String]) -> QueryResult<Vec<KeyUse>> {
    let uses: Vec<KeyUse> = sql_query(
        "select key_id, count(*) as count from ( \
             select secret_key_id as key_id from rowcall.subscription \
                 where secret is not null and state <> 'deleted' \
             union all select key_id from rowcall.subscription_secret) as c \
         where key_id <> all ($1) group by key_id order by key_id",
    )
    .bind::<Array<Text>, _>(ids)
    .load(connection)?;
    Ok(uses)
}
