//! SQL of the registration list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::{
    Connection as _, OptionalExtension as _, PgConnection, QueryResult, QueryableByName,
    RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error as QueryError},
    sql_query,
    sql_types::{Array, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{
    model::{State, Subscription},
    register::Origin,
    secret::SecretKey,
};
use crate::{catalog::model::TableName, sink::SigningSecret};

/// A row of the registration list, ready to be written.
pub(super) struct NewSubscription<'a> {
    pub(super) id: Uuid,
    pub(super) name: &'a str,
    pub(super) origin: &'static str,
    pub(super) owner: Option<&'a str>,
    pub(super) mode: &'static str,
    pub(super) definition: &'a str,
    pub(super) object_key_texts: &'a [String],
    pub(super) secret: &'a [u8],
}

/// Writes a subscription and its sequence. False: the name is taken, and nothing was written.
pub(super) fn subscription_insert(
    connection: &mut PgConnection,
    row: &NewSubscription<'_>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "with written as ( \
             insert into rowcall.subscription (id, name, origin, owner, state, mode, definition, \
                 object_key_texts, secret, created_at, updated_at) \
             values ($1, $2, $3, $4, 'active', $5, $6::json, $7, $8, $9, $9) \
             on conflict (name) where state <> 'deleted' do nothing returning id) \
         insert into rowcall.subscription_sequence (subscription_id) select id from written",
    )
    .bind::<SqlUuid, _>(row.id)
    .bind::<Text, _>(row.name)
    .bind::<Text, _>(row.origin)
    .bind::<Nullable<Text>, _>(row.owner)
    .bind::<Text, _>(row.mode)
    .bind::<Text, _>(row.definition)
    .bind::<Array<Text>, _>(row.object_key_texts)
    .bind::<Binary, _>(row.secret)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

/// What [`subscription_update`] writes.
pub(super) struct SubscriptionChange<'a> {
    pub(super) mode: &'static str,
    pub(super) definition: &'a str,
    pub(super) object_key_texts: &'a [String],
    /// `None` keeps the secret.
    pub(super) secret: Option<&'a [u8]>,
}

/// Writes another definition. False: there is no such subscription.
pub(super) fn subscription_update(
    connection: &mut PgConnection,
    id: Uuid,
    change: &SubscriptionChange<'_>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "update rowcall.subscription set mode = $2, definition = $3::json, object_key_texts = $4, \
             secret = coalesce($5, secret), updated_at = greatest($6, created_at) \
         where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(change.mode)
    .bind::<Text, _>(change.definition)
    .bind::<Array<Text>, _>(change.object_key_texts)
    .bind::<Nullable<Binary>, _>(change.secret)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

/// Marks a subscription deleted. False: there is none, or it was deleted before.
pub(super) fn subscription_delete(
    connection: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "update rowcall.subscription set state = 'deleted', state_reason = null, \
             updated_at = greatest($2, created_at) where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

#[derive(QueryableByName)]
struct OriginRow {
    #[diesel(sql_type = Bool)]
    is_folder: bool,
}

/// Where a subscription was born; `None` if there is none.
pub fn subscription_origin(connection: &mut PgConnection, id: Uuid) -> QueryResult<Option<Origin>> {
    let row: Option<OriginRow> = sql_query(
        "select origin = 'folder' as is_folder from rowcall.subscription \
         where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| {
        if row.is_folder {
            Origin::Folder
        } else {
            Origin::Api
        }
    }))
}

/// A subscription of the registration list with what is needed to send to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The subscription.
    pub subscription: Subscription,
    /// Its signing secret, or why it can't be had: nothing can be sent then, and the text says what
    /// to do.
    pub secret: Result<SigningSecret, String>,
}

/// The registration list, as publishing and delivering use it.
#[derive(Clone, Debug, Default)]
pub struct RegistrationList {
    /// All subscriptions that are not deleted, by id, so oldest first.
    pub subscriptions: Vec<Loaded>,
    /// Name and reason of those that this program can't read; they match nothing.
    pub unreadable: Vec<(String, String)>,
}

#[derive(QueryableByName)]
struct LoadedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    definition: String,
    #[diesel(sql_type = Array<Text>)]
    object_key_texts: Vec<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    secret: Option<Vec<u8>>,
}

/// Reads all subscriptions that are not deleted. One that can't be read, or whose secret can't,
/// fails alone.
pub fn subscription_load(
    connection: &mut PgConnection,
    key: &SecretKey,
) -> QueryResult<RegistrationList> {
    let rows: Vec<LoadedRow> = sql_query(
        "select id, name, state, definition::text as definition, object_key_texts, secret \
         from rowcall.subscription where state <> 'deleted' order by id",
    )
    .load(connection)?;
    let mut list = RegistrationList::default();
    for row in rows {
        let name = row.name.clone();
        match loaded(row, key) {
            Ok(subscription) => list.subscriptions.push(subscription),
            Err(reason) => list.unreadable.push((name, reason)),
        }
    }
    Ok(list)
}

fn loaded(row: LoadedRow, key: &SecretKey) -> Result<Loaded, String> {
    let state = State::parse(&row.state).ok_or_else(|| format!("unknown state `{}`", row.state))?;
    let spec = serde_json::from_str(&row.definition)
        .map_err(|error| format!("its definition can't be read: {error}"))?;
    let secret = match row.secret {
        None => Err("it has no secret; give it one with PATCH".to_owned()),
        Some(sealed) => key
            .open(row.id, &sealed)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                SigningSecret::parse(text.expose_secret()).map_err(|error| error.to_string())
            }),
    };
    let subscription = Subscription {
        id: row.id,
        name: row.name,
        state,
        spec,
        object_key_texts: row.object_key_texts,
    };
    Ok(Loaded {
        subscription,
        secret,
    })
}

#[derive(QueryableByName)]
pub(super) struct ColumnType {
    #[diesel(sql_type = Text)]
    name: String,
    /// With its bounds, such as `character varying(3)`.
    #[diesel(sql_type = Text)]
    pub(super) bounded: String,
    /// The same type without them.
    #[diesel(sql_type = Text)]
    unbounded: String,
}

/// The types of a table's columns, as SQL writes them; columns that aren't there are left out.
pub(super) fn column_types(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &[String],
) -> QueryResult<BTreeMap<String, ColumnType>> {
    let rows: Vec<ColumnType> = sql_query(
        "select a.attname::text as name, format_type(a.atttypid, a.atttypmod) as bounded, \
             format_type(a.atttypid, -1) as unbounded \
         from pg_attribute a join pg_class c on c.oid = a.attrelid \
         join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2 and a.attname = any($3) and a.attnum > 0 \
             and not a.attisdropped",
    )
    .bind::<Text, _>(&table.schema)
    .bind::<Text, _>(&table.table)
    .bind::<Array<Text>, _>(columns)
    .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect())
}

/// Whether a column can hold a value, and how Postgres prints it then.
pub(super) enum KeyCast {
    /// As JSON.
    Held(String),
    /// It can't.
    Refused,
}

#[derive(QueryableByName)]
struct Cast {
    #[diesel(sql_type = Nullable<Text>)]
    json: Option<String>,
    #[diesel(sql_type = Bool)]
    is_same: bool,
}

/// Has Postgres read `value` as the column's type and print it as the capture triggers do. A cast
/// that changes the value (rounds it, cuts it off) is a refusal.
pub(super) fn key_value_cast(
    connection: &mut PgConnection,
    value: &str,
    ColumnType {
        bounded, unbounded, ..
    }: &ColumnType,
) -> QueryResult<KeyCast> {
    // The type names were printed, and quoted, by Postgres.
    let is_same = if bounded == unbounded {
        "true".to_owned()
    } else {
        format!("cast($1 as {bounded}) is not distinct from cast($1 as {unbounded})")
    };
    let query =
        format!("select to_json(cast($1 as {bounded}))::text as json, {is_same} as is_same");
    // A savepoint: a refused cast must not end the caller's transaction.
    let cast = connection.transaction(|connection| {
        connection.batch_execute(
            "set local intervalstyle = postgres; set local bytea_output = hex; \
             set local extra_float_digits = 1",
        )?;
        sql_query(query)
            .bind::<Text, _>(value)
            .get_result::<Cast>(connection)
    });
    match cast {
        Ok(Cast {
            json: Some(json),
            is_same: true,
        }) => Ok(KeyCast::Held(json)),
        Ok(_) => Ok(KeyCast::Refused),
        // Postgres' class 22 (data exception) and the like, which diesel does not tell apart.
        Err(QueryError::DatabaseError(
            DatabaseErrorKind::Unknown | DatabaseErrorKind::CheckViolation,
            _,
        )) => Ok(KeyCast::Refused),
        Err(error) => Err(error),
    }
}
