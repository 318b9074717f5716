//! The SQL of the lookout.

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Bool, Nullable, Timestamptz},
};

/// What one look sees. A time is when the first of its kind is due; `None`: there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, QueryableByName)]
pub(super) struct Sight {
    /// Of the registry.
    #[diesel(sql_type = BigInt)]
    pub(super) revision: i64,
    /// A delivery is due, or a lease ends.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) delivery_at: Option<DateTime<Utc>>,
    /// A digest is to be closed, or was and waits for its parts.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) digest_at: Option<DateTime<Utc>>,
    /// A heartbeat is due.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) heartbeat_at: Option<DateTime<Utc>>,
    /// A replay is under way, or what it has sent; when it goes on depends on more.
    #[diesel(sql_type = Bool)]
    pub(super) is_replaying: bool,
    /// A receiver is to be asked.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(super) verification_at: Option<DateTime<Utc>>,
}

/// Looks. Planned anew each time, for the tables grow: a plan that was made for an empty one would
/// read all of it.
pub(super) fn look(connection: &mut PgConnection) -> QueryResult<Sight> {
    sql_query(include_str!("look.sql")).get_result(connection)
}
