//! The statements that read the registration list.

use std::collections::HashMap;

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Uuid as SqlUuid},
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Loaded, RegistrationList, Wanted};
use crate::{
    auth::{BOOTSTRAP, Role},
    sink::Signer,
    subscription::{
        model::{State, Subscription, SubscriptionSpec},
        sealed::{Kept, kept_load},
        secret::{Purpose, SecretKey},
    },
};

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
    let mut spec: SubscriptionSpec = serde_json::from_str(&row.definition)
        .map_err(|error| format!("its definition can't be read: {error}"))?;
    // They are kept, all of them, and were read with room for more.
    spec.event_types.shrink_to_fit();
    spec.object_types.shrink_to_fit();
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
