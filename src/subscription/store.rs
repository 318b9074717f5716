//! SQL of the registration list.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::{model::State, register::Origin};

/// A row of the registration list, ready to be written.
pub(super) struct NewSubscription<'a> {
    pub(super) id: Uuid,
    pub(super) name: &'a str,
    pub(super) origin: &'static str,
    pub(super) owner: Option<&'a str>,
    pub(super) mode: &'static str,
    pub(super) definition: &'a str,
    pub(super) object_key_texts: &'a [String],
    /// `None` if the sink signs nothing.
    pub(super) secret: Option<&'a [u8]>,
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
    .bind::<Nullable<Binary>, _>(row.secret)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

/// What [`subscription_update`] writes.
pub(super) struct SubscriptionChange<'a> {
    pub(super) mode: &'static str,
    pub(super) definition: &'a str,
    pub(super) object_key_texts: &'a [String],
    /// `None` keeps the secret, if `keeps_secret`.
    pub(super) secret: Option<&'a [u8]>,
    /// False: the sink signs nothing, so no secret is kept.
    pub(super) keeps_secret: bool,
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
             secret = case when $7 then coalesce($5, secret) end, \
             updated_at = greatest($6, created_at) \
         where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(change.mode)
    .bind::<Text, _>(change.definition)
    .bind::<Array<Text>, _>(change.object_key_texts)
    .bind::<Nullable<Binary>, _>(change.secret)
    .bind::<Timestamptz, _>(now)
    .bind::<Bool, _>(change.keeps_secret)
    .execute(connection)?;
    Ok(written == 1)
}

/// Marks a subscription deleted and erases its secrets, which nobody needs any more. False: there
/// is none, or it was deleted before.
pub(super) fn subscription_delete(
    connection: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "with erased as (delete from rowcall.subscription_secret where subscription_id = $1), \
             unasked as (delete from rowcall.verification where subscription_id = $1) \
         update rowcall.subscription set state = 'deleted', state_reason = null, secret = null, \
             secret_key_id = null, updated_at = greatest($2, created_at) \
         where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

/// Writes another state. False: there is no such subscription.
pub(super) fn subscription_set_state(
    connection: &mut PgConnection,
    id: Uuid,
    state: State,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "update rowcall.subscription set state = $2, state_reason = $3, \
             updated_at = greatest($4, created_at) where id = $1 and state <> 'deleted'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Text>, _>(reason)
    .bind::<Timestamptz, _>(now)
    .execute(connection)?;
    Ok(written == 1)
}

/// Disables a subscription and returns its name; `None`: there is none, or it was disabled before.
pub(super) fn subscription_set_disabled(
    connection: &mut PgConnection,
    id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let row: Option<Row> = sql_query(
        "update rowcall.subscription set state = 'disabled', state_reason = $2, \
             updated_at = greatest($3, created_at) \
         where id = $1 and state in ('active', 'paused') returning name",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(reason)
    .bind::<Timestamptz, _>(now)
    .get_result(connection)
    .optional()?;
    Ok(row.map(|row| row.name))
}

/// Takes the deliveries that wait for their time out of the claimants' sight. Those that a claim or
/// a result holds locked are left: waiting for them here could wait in a circle.
pub(crate) fn delivery_park(connection: &mut PgConnection, subscription: Uuid) -> QueryResult<()> {
    sql_query(
        "update rowcall.delivery set due_at = 'infinity' where id in ( \
             select id from rowcall.delivery where subscription_id = $1 \
                 and settled_at is null and lease_until is null and due_at < 'infinity' \
             for update skip locked)",
    )
    .bind::<SqlUuid, _>(subscription)
    .execute(connection)
    .map(drop)
}

/// Makes the parked deliveries due. It locks them in the order of their ids, as all do who wait.
pub(super) fn delivery_unpark(
    connection: &mut PgConnection,
    subscription: Uuid,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    sql_query(
        "with parked as ( \
             select id from rowcall.delivery where subscription_id = $1 \
                 and settled_at is null and lease_until is null and due_at = 'infinity' \
             order by id for no key update) \
         update rowcall.delivery d set due_at = $2 from parked where d.id = parked.id",
    )
    .bind::<SqlUuid, _>(subscription)
    .bind::<Timestamptz, _>(now)
    .execute(connection)
    .map(drop)
}

#[derive(QueryableByName)]
struct OriginRow {
    #[diesel(sql_type = Bool)]
    is_folder: bool,
}

/// The definition that a subscription is registered with; `None` if there is none.
pub(super) fn subscription_definition(
    connection: &mut PgConnection,
    id: Uuid,
) -> QueryResult<Option<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        definition: String,
    }
    let row: Option<Row> =
        sql_query("select definition::text as definition from rowcall.subscription where id = $1")
            .bind::<SqlUuid, _>(id)
            .get_result(connection)
            .optional()?;
    Ok(row.map(|row| row.definition))
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
