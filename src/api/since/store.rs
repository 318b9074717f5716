//! SQL of what became of numbers.

use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl as _, sql_query,
    sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

/// What became of a number, and how far the numbers go.
#[derive(QueryableByName)]
pub(super) struct NumberRow {
    /// The last number that was given.
    #[diesel(sql_type = BigInt)]
    pub(super) assigned: i64,
    /// Up to it all is settled.
    #[diesel(sql_type = BigInt)]
    pub(super) settled_through: i64,
    /// The number; none of it and of what follows, if there was none to be read.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) sequence: Option<i64>,
    /// The delivery's state.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) state: Option<String>,
    /// Whether its event may be told.
    #[diesel(sql_type = Nullable<Bool>)]
    pub(super) is_told: Option<bool>,
    /// The CloudEvent without its number; none, if it is not told or was removed.
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) body: Option<String>,
    /// The last number that was looked at; more than that of the last row, if the bytes were passed
    /// before.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) last: Option<i64>,
}

/// What became of the numbers behind `after` up to `until`, in their order, until their bodies come
/// to `bytes_max`. No row at all: there is no such subscription, or it is not `owner`'s, if one is
/// given.
pub(super) fn number_list(
    connection: &mut PgConnection,
    subscription: Uuid,
    after: i64,
    until: i64,
    bytes_max: i64,
    owner: Option<&str>,
) -> QueryResult<Vec<NumberRow>> {
    sql_query(include_str!("since.sql"))
        .bind::<SqlUuid, _>(subscription)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(until)
        .bind::<BigInt, _>(bytes_max)
        .bind::<Nullable<Text>, _>(owner)
        .load(connection)
}
