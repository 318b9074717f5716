//! What the shop's services run: ordinary SQL. Only `RETURNING` and the transaction id are for the
//! demo, which wants to know afterwards what exactly was committed.

use diesel::{
    Connection as _, OptionalExtension as _, PgConnection, QueryableByName, RunQueryDsl as _,
    connection::SimpleConnection as _,
    result::{DatabaseErrorKind, Error},
    sql_query,
    sql_types::{BigInt, Bool, Integer, Text},
};

use crate::db::{DbError, connect};

/// Why a transaction was not committed.
#[derive(Debug)]
pub(in super::super) enum Undone {
    /// The writer changed its mind.
    OnPurpose,
    /// Another transaction was in the way; trying again may succeed.
    Conflict,
    /// It should not have failed.
    Failed(Error),
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        let Error::DatabaseError(kind, information) = &error else {
            return Self::Failed(error);
        };
        // Of the SQLSTATEs diesel keeps only some apart, so the others are told by their text. The
        // private Postgres speaks English.
        let is_conflict = matches!(kind, DatabaseErrorKind::SerializationFailure)
            || ["deadlock detected", "lock timeout"]
                .iter()
                .any(|text| information.message().contains(text));
        if is_conflict {
            Self::Conflict
        } else {
            Self::Failed(error)
        }
    }
}

/// What two transactions may see of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Isolation {
    ReadCommitted,
    RepeatableRead,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Sku {
    #[diesel(sql_type = Text)]
    sku: String,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub(super) struct Line {
    #[diesel(sql_type = Integer)]
    pub(super) line: i32,
    #[diesel(sql_type = Text)]
    pub(super) sku: String,
    #[diesel(sql_type = Integer)]
    pub(super) quantity: i32,
}

/// Makes the shop's tables and what is in them before the demo begins.
pub(in super::super) fn shop_create(url: &str, customers: i64, skus: i64) -> Result<(), DbError> {
    let mut connection = connect(url)?;
    connection.batch_execute("set search_path = public")?;
    connection.batch_execute(include_str!("../shop.sql"))?;
    connection.batch_execute(&format!(
        "insert into customers (name, email, card_number)
         select 'Customer ' || n, 'customer' || n || '@example.com', '4111111111111111'
         from generate_series(1, {customers}) as n;
         insert into stock (sku, name, price, on_hand)
         select 'sku-' || n, 'Article ' || n, 5 + n, 1000
         from generate_series(1, {skus}) as n"
    ))?;
    Ok(())
}

/// A writer's session. Its events carry `actor`, so that they are known from changes made by hand;
/// and it does not wait for ever for a row that somebody locked by hand.
pub(in super::super) fn writer_connect(url: &str, actor: &str) -> Result<PgConnection, DbError> {
    let mut connection = connect(url)?;
    connection.batch_execute(&format!(
        "set search_path = public; set application_name = 'demo'; set lock_timeout = '2s'; \
         set rowcall.actor = '{actor}'"
    ))?;
    Ok(connection)
}

/// Runs `work` in a transaction and commits it if `work` succeeds.
pub(in super::super) fn transaction<T>(
    connection: &mut PgConnection,
    isolation: Isolation,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Undone>,
) -> Result<T, Undone> {
    let transaction = connection.build_transaction();
    match isolation {
        Isolation::ReadCommitted => transaction.read_committed(),
        Isolation::RepeatableRead => transaction.repeatable_read(),
    }
    .run(work)
}

/// Runs `work` behind a savepoint and returns to it if `work` fails.
pub(super) fn savepoint<T>(
    connection: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<T, Undone>,
) -> Result<T, Undone> {
    connection.transaction(work)
}

/// The running transaction's id, by which its events can be known.
pub(in super::super) fn transaction_id(connection: &mut PgConnection) -> Result<i64, Error> {
    sql_query("select pg_current_xact_id()::text::bigint as id")
        .get_result(connection)
        .map(|row: Id| row.id)
}

pub(super) fn customer_insert(connection: &mut PgConnection, name: &str) -> Result<i64, Error> {
    sql_query(
        "insert into customers (name, email, card_number) \
         values ($1, lower($1) || '@example.com', '5500005555555559') returning id",
    )
    .bind::<Text, _>(name)
    .get_result(connection)
    .map(|row: Id| row.id)
}

/// Renames the mailbox of up to `limit` customers from `from` on.
pub(super) fn customer_update(
    connection: &mut PgConnection,
    from: i64,
    limit: i64,
    mailbox: &str,
) -> Result<Vec<i64>, Error> {
    // Locked in the order of their keys, so that two writers do not wait for each other.
    let rows: Vec<Id> = sql_query(
        "update customers set email = $3 || id || '@example.com', \
             internal_note = 'mailbox changed' \
         where id in (select id from customers where id >= $1 order by id limit $2 for update) \
         returning id",
    )
    .bind::<BigInt, _>(from)
    .bind::<BigInt, _>(limit)
    .bind::<Text, _>(mailbox)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

pub(super) fn order_insert(connection: &mut PgConnection, customer: i64) -> Result<i64, Error> {
    sql_query("insert into orders (customer_id) values ($1) returning id")
        .bind::<BigInt, _>(customer)
        .get_result(connection)
        .map(|row: Id| row.id)
}

/// Sums up the order's lines.
pub(super) fn order_total(connection: &mut PgConnection, order: i64) -> Result<(), Error> {
    sql_query(
        "update orders set total = (select coalesce(sum(quantity * price), 0) from order_items \
             where order_id = $1) where id = $1",
    )
    .bind::<BigInt, _>(order)
    .execute(connection)
    .map(|_| ())
}

/// The newest order; 0 if there is none.
pub(super) fn order_newest(connection: &mut PgConnection) -> Result<i64, Error> {
    sql_query("select coalesce(max(id), 0) as id from orders")
        .get_result(connection)
        .map(|row: Id| row.id)
}

/// An order that was moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub(super) struct Advanced {
    /// It was released, not shipped.
    #[diesel(sql_type = Bool)]
    pub(super) is_released: bool,
    /// Its total in cents.
    #[diesel(sql_type = BigInt)]
    pub(super) cents: i64,
}

/// Moves the order on: new, released, shipped; if there is somewhere to move to.
pub(super) fn order_advance(
    connection: &mut PgConnection,
    order: i64,
) -> Result<Option<Advanced>, Error> {
    sql_query(
        "update orders set status = case status when 'new' then 'released' else 'shipped' end \
         where id = $1 and status in ('new', 'released') \
         returning status = 'released' as is_released, (total * 100)::bigint as cents",
    )
    .bind::<BigInt, _>(order)
    .get_result(connection)
    .optional()
}

/// Cancels the order if it is still new. Returns whether it was.
pub(super) fn order_cancel(connection: &mut PgConnection, order: i64) -> Result<bool, Error> {
    sql_query("update orders set status = 'cancelled' where id = $1 and status = 'new'")
        .bind::<BigInt, _>(order)
        .execute(connection)
        .map(|rows| rows == 1)
}

pub(super) fn item_insert(
    connection: &mut PgConnection,
    order: i64,
    line: &Line,
) -> Result<(), Error> {
    sql_query(
        "insert into order_items (order_id, line, sku, quantity, price) \
         select $1, $2, sku, $4, price from stock where sku = $3",
    )
    .bind::<BigInt, _>(order)
    .bind::<Integer, _>(line.line)
    .bind::<Text, _>(&line.sku)
    .bind::<Integer, _>(line.quantity)
    .execute(connection)
    .map(|_| ())
}

/// Removes the order's lines and returns them.
pub(super) fn item_delete(connection: &mut PgConnection, order: i64) -> Result<Vec<Line>, Error> {
    sql_query("delete from order_items where order_id = $1 returning line, sku, quantity")
        .bind::<BigInt, _>(order)
        .load(connection)
}

/// Takes from stock; a negative quantity puts back. Returns whether there was enough.
pub(super) fn stock_take(
    connection: &mut PgConnection,
    sku: &str,
    quantity: i32,
) -> Result<bool, Error> {
    sql_query("update stock set on_hand = on_hand - $2 where sku = $1 and on_hand >= $2")
        .bind::<Text, _>(sku)
        .bind::<Integer, _>(quantity)
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Orders more of the articles of which there is least. Returns which.
pub(super) fn stock_refill(
    connection: &mut PgConnection,
    articles: i64,
) -> Result<Vec<String>, Error> {
    // Locked in the order of their keys, as orders do.
    let rows: Vec<Sku> = sql_query(
        "update stock set on_hand = on_hand + 200 where sku in ( \
             select sku from stock where sku in (select sku from stock order by on_hand, sku \
                 limit $1) order by sku for update) \
         returning sku",
    )
    .bind::<BigInt, _>(articles)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| row.sku).collect())
}
