//! SQL of the registration list.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{
    model::{State, Subscription, SubscriptionSpec},
    register::Origin,
    sealed::{Kept, kept_load},
    secret::{Purpose, SecretKey},
};
use crate::{
    auth::{BOOTSTRAP, Role},
    sink::Signer,
};

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
                 and state in ('pending', 'held') and due_at < 'infinity' for update skip locked)",
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
                 and state in ('pending', 'held') and due_at = 'infinity' \
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

/// A subscription of the registration list with what is needed to send to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The subscription.
    pub subscription: Subscription,
    /// Its signing secret, or why it can't be had: nothing can be sent then, and the text says what
    /// to do.
    pub secret: Result<Signer, String>,
    /// What else is kept encrypted of it.
    pub kept: Kept,
    /// Requests a minute that its receiver allowed when it consented, if it named a bound.
    pub allowed_per_minute: Option<i64>,
}

/// The registration list, as publishing and delivering use it.
#[derive(Clone, Debug, Default)]
pub struct RegistrationList {
    /// All subscriptions that are not deleted, by id, so oldest first.
    pub subscriptions: Vec<Loaded>,
    /// Name and reason of those that this program can't read; they match nothing.
    pub unreadable: Vec<(String, String)>,
    /// The last id of all these, readable or not; `None`: there are none.
    pub last: Option<Uuid>,
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
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Bool)]
    is_operators: bool,
    #[diesel(sql_type = Nullable<Text>)]
    secret_key_id: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    allowed_per_minute: Option<i64>,
}

/// Which subscriptions are read; of all these only what is not deleted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Each.
    All,
    /// So many at most, from the first id behind this one on.
    Page(Option<Uuid>, i64),
    /// These.
    Only(&'a [Uuid]),
}

/// Reads all subscriptions that are not deleted. One that can't be read, or whose secret can't,
/// fails alone.
pub fn subscription_load(
    connection: &mut PgConnection,
    key: &SecretKey,
) -> QueryResult<RegistrationList> {
    let mut kept = kept_load(connection, key, None)?;
    subscription_list(connection, key, Wanted::All, &mut kept)
}

/// Reads some; `kept` is what [`kept_load`] gave of them, and is taken from there.
pub fn subscription_list(
    connection: &mut PgConnection,
    key: &SecretKey,
    wanted: Wanted<'_>,
    kept: &mut HashMap<Uuid, Kept>,
) -> QueryResult<RegistrationList> {
    let (after, limit, only) = match wanted {
        Wanted::All => (None, None, None),
        Wanted::Page(after, limit) => (after, Some(limit), None),
        Wanted::Only(ids) => (None, None, Some(ids)),
    };
    let rows: Vec<LoadedRow> = sql_query(
        "select s.id, s.name, s.state, s.definition::text as definition, s.object_key_texts, \
             s.secret, s.secret_key_id, s.owner, s.owner is null or s.owner = $1 or exists ( \
                 select from rowcall.api_key k where k.id = s.owner and k.role = $2 \
                      and k.revoked_at is null) as is_operators, \
             v.rate_per_minute as allowed_per_minute \
         from rowcall.subscription s left join rowcall.verification v on v.subscription_id = s.id \
         where s.state <> 'deleted' and ($3 is null or s.id > $3) \
              and ($4 is null or s.id = any ($4)) order by s.id limit $5",
    )
    .bind::<Text, _>(BOOTSTRAP)
    .bind::<Text, _>(Role::Admin.as_str())
    .bind::<Nullable<SqlUuid>, _>(after)
    .bind::<Nullable<Array<SqlUuid>>, _>(only)
    .bind::<Nullable<BigInt>, _>(limit)
    .load(connection)?;
    let mut list = RegistrationList {
        last: rows.last().map(|row| row.id),
        ..RegistrationList::default()
    };
    for row in rows {
        let name = row.name.clone();
        let kept = kept.remove(&row.id).unwrap_or_default();
        match loaded(row, kept, key) {
            Ok(subscription) => list.subscriptions.push(subscription),
            Err(reason) => list.unreadable.push((name, reason)),
        }
    }
    Ok(list)
}

/// The names and specifications of all subscriptions that are not deleted and have a filter, or
/// group their digests, by id. Those that can't be read are left out.
pub fn subscription_specs(
    connection: &mut PgConnection,
) -> QueryResult<Vec<(String, SubscriptionSpec)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        definition: String,
    }
    let rows: Vec<Row> = sql_query(
        "select name, definition::text as definition from rowcall.subscription \
         where state <> 'deleted' \
             and (definition->>'filter' is not null or definition->>'group_by' is not null) \
         order by id",
    )
    .load(connection)?;
    let read = |row: Row| Some((row.name, serde_json::from_str(&row.definition).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}

fn loaded(row: LoadedRow, kept: Kept, key: &SecretKey) -> Result<Loaded, String> {
    let state = State::parse(&row.state).ok_or_else(|| format!("unknown state `{}`", row.state))?;
    let spec = serde_json::from_str(&row.definition)
        .map_err(|error| format!("its definition can't be read: {error}"))?;
    let secret = match row.secret {
        None => Err("it has no secret; give it one with PATCH".to_owned()),
        Some(sealed) => key
            .open_for(
                row.id,
                Purpose::Signing,
                row.secret_key_id.as_deref(),
                &sealed,
            )
            .map_err(|error| error.to_string())
            .and_then(|text| {
                Signer::parse_any(text.expose_secret()).map_err(|error| error.to_string())
            }),
    };
    let subscription = Subscription {
        id: row.id,
        name: row.name,
        state,
        spec,
        object_key_texts: row.object_key_texts,
        owner: row.owner,
        is_operators: row.is_operators,
    };
    Ok(Loaded {
        subscription,
        secret,
        kept,
        allowed_per_minute: row.allowed_per_minute,
    })
}
