//! SQL of what is asked about: events, subscriptions, and the digests that events are in.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, PgConnection, QueryResult, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    sql_query,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use uuid::Uuid;

use super::matching::Since;
use crate::{
    auth::{BOOTSTRAP, Role},
    catalog::operations::is_operational,
    subscription::model::SubscriptionSpec,
};

/// Makes all that follows in this transaction see one snapshot.
pub(super) fn snapshot_begin(connection: &mut PgConnection) -> QueryResult<()> {
    connection.batch_execute("set transaction isolation level repeatable read, read only")
}

/// A subscription, deleted or not.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct SubscriptionRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Text)]
    pub(super) mode: String,
    #[diesel(sql_type = Text)]
    definition: String,
    #[diesel(sql_type = Array<Text>)]
    pub(super) object_key_texts: Vec<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) updated_at: DateTime<Utc>,
}

impl SubscriptionRow {
    /// What was asked for.
    pub(super) fn spec(&self) -> Result<SubscriptionSpec, serde_json::Error> {
        serde_json::from_str(&self.definition)
    }
}

/// The subscription with this id or name; only if it is of `owner`, if one is given.
pub(super) fn subscription_find(
    connection: &mut PgConnection,
    id_or_name: &str,
    owner: Option<&str>,
) -> QueryResult<Option<SubscriptionRow>> {
    sql_query(
        "select id, name, state, mode, definition::text as definition, object_key_texts, \
             created_at, updated_at \
         from rowcall.subscription \
         where (id = $1 or name = $2) and ($3 is null or owner = $3) \
         order by coalesce(id = $1, false) desc, state = 'deleted', id desc limit 1",
    )
    .bind::<Nullable<SqlUuid>, _>(Uuid::try_parse(id_or_name).ok())
    .bind::<Text, _>(id_or_name)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

/// An event.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct EventRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(super) event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) object_key: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) previous_key: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) time: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(super) published_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(super) body: String,
    /// It is or was owed to a subscription of the owner, or nobody is given.
    #[diesel(sql_type = Bool)]
    pub(super) is_readable: bool,
}

/// Whether a subscription may be told of the event: of an operational one only its owner and
/// operators are.
pub(super) fn subscription_is_entitled(
    connection: &mut PgConnection,
    event: &EventRow,
    id: Uuid,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_entitled: bool,
    }
    if !is_operational(&event.event_type) {
        return Ok(true);
    }
    let row: Option<Row> = sql_query(
        "select s.owner is null or s.owner = $3 or exists ( \
                 select from rowcall.api_key k \
                 where k.id = s.owner and k.role = $4 and k.revoked_at is null) \
             or exists ( \
                 select from rowcall.subscription a \
                 where a.id::text = $2 and a.owner = s.owner and a.state <> 'deleted') \
             as is_entitled \
         from rowcall.subscription s where s.id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(&event.object_key)
    .bind::<Text, _>(BOOTSTRAP)
    .bind::<Text, _>(Role::Admin.as_str())
    .get_result(connection)
    .optional()?;
    Ok(row.is_some_and(|row| row.is_entitled))
}

/// An event, and whether `owner` may read it.
pub(super) fn event_find(
    connection: &mut PgConnection,
    id: Uuid,
    owner: Option<&str>,
) -> QueryResult<Option<EventRow>> {
    sql_query(
        "select e.id, e.type as event_type, e.object_type, e.object_key, e.previous_key, \
             e.\"time\", e.published_at, e.body, \
             $2 is null or exists ( \
                 select from rowcall.delivery d \
                 join rowcall.subscription s on s.id = d.subscription_id \
                 where d.event_id = e.id and s.owner = $2) or exists ( \
                 select from rowcall.digest_member m \
                 join rowcall.subscription s on s.id = m.subscription_id \
                 where m.event_id = e.id and s.owner = $2) as is_readable \
         from rowcall.event e where e.id = $1",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Nullable<Text>, _>(owner)
    .get_result(connection)
    .optional()
}

/// Which catalogue the event was published by, and what was changed since.
pub(super) fn since_read(
    connection: &mut PgConnection,
    event: &EventRow,
    subscription: &SubscriptionRow,
) -> QueryResult<Since> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        version_then: i64,
        #[diesel(sql_type = BigInt)]
        version_now: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        changed_at: Option<DateTime<Utc>>,
    }
    let row: Row = sql_query(
        "select coalesce(max(version) filter (where applied_at <= $1), 0) as version_then, \
             coalesce(max(version), 0) as version_now, \
             max(applied_at) filter (where applied_at > $1) as changed_at \
         from rowcall.catalog_version",
    )
    .bind::<Timestamptz, _>(event.published_at)
    .get_result(connection)?;
    let registration_changed = subscription.updated_at > event.published_at;
    Ok(Since {
        version_then: row.version_then,
        version_now: row.version_now,
        catalogue_changed_at: row.changed_at,
        registration_changed_at: registration_changed.then_some(subscription.updated_at),
    })
}

/// The digest that an event is in.
#[derive(Clone, Debug, QueryableByName)]
pub(super) struct MemberRow {
    #[diesel(sql_type = SqlUuid)]
    pub(super) digest_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) number: Option<i64>,
    #[diesel(sql_type = Text)]
    pub(super) state: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) closed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) closed_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) close_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    pub(super) events: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) vanished: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(super) parts: Option<i32>,
}

/// The digest of the subscription that the event is in.
pub(super) fn member_find(
    connection: &mut PgConnection,
    event: Uuid,
    subscription: Uuid,
) -> QueryResult<Option<MemberRow>> {
    sql_query(
        "select d.id as digest_id, d.number, d.state, d.closed_at, d.closed_by, d.close_at, \
             d.events, d.vanished, d.parts \
         from rowcall.digest_member m join rowcall.digest d on d.id = m.digest_id \
         where m.event_id = $1 and m.subscription_id = $2",
    )
    .bind::<SqlUuid, _>(event)
    .bind::<SqlUuid, _>(subscription)
    .get_result(connection)
    .optional()
}

/// Whether a net-effect digest that does not tell of all its events tells of this one's object.
pub(super) fn member_is_told(
    connection: &mut PgConnection,
    event: &EventRow,
    digest: Uuid,
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        is_told: bool,
    }
    // What is about no object, or about one that is not known, is always told.
    let (Some(object_type), Some(key)) = (&event.object_type, &event.object_key) else {
        return Ok(true);
    };
    let row: Row = sql_query(include_str!("member_told.sql"))
        .bind::<SqlUuid, _>(digest)
        .bind::<Text, _>(object_type)
        .bind::<Text, _>(key)
        .get_result(connection)?;
    Ok(row.is_told)
}
