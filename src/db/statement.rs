//! Statements that a session keeps prepared.
//!
//! Diesel takes the text of `sql_query` for one of any number, and has Postgres parse it each time
//! anew. The texts of the stages are few and never change, and to parse and plan the longer ones
//! takes longer than to run them for a batch of a few rows. So they are kept, by their text, with
//! the session that ran them.

use std::marker::PhantomData;

use diesel::{
    QueryResult, RunQueryDsl,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    serialize::ToSql,
    sql_types::{HasSqlType, Untyped},
};

/// A statement that is prepared once in each session: its text, without values.
#[derive(Clone, Copy, Debug)]
pub struct Kept(&'static str);

/// A statement with one more value. Values are counted as they are bound: `$1`, `$2` and so on.
#[derive(Debug)]
pub struct Bound<Q, T, V> {
    query: Q,
    value: V,
    sql_type: PhantomData<T>,
}

/// As `sql_query` of diesel, for a text that is the same each time: it is parsed once in each
/// session, and remembered for as long as the session lives.
#[must_use]
pub fn kept(sql: &'static str) -> Kept {
    Kept(sql)
}

impl Kept {
    /// Binds `$1`, a value of the SQL type `T`.
    pub fn bind<T, V>(self, value: V) -> Bound<Self, T, V> {
        Bound::new(self, value)
    }
}

impl<Q, T, V> Bound<Q, T, V> {
    fn new(query: Q, value: V) -> Self {
        Self {
            query,
            value,
            sql_type: PhantomData,
        }
    }

    /// Binds the next value, one of the SQL type `T2`.
    pub fn bind<T2, V2>(self, value: V2) -> Bound<Self, T2, V2> {
        Bound::new(self, value)
    }
}

impl QueryFragment<Pg> for Kept {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl<Q, T, V> QueryFragment<Pg> for Bound<Q, T, V>
where
    Pg: HasSqlType<T>,
    Q: QueryFragment<Pg>,
    V: ToSql<T, Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_bind_param_value_only(&self.value)
    }
}

/// It is known by its text and the types of its values.
impl QueryId for Kept {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

/// As the statement that it is of.
impl<Q, T, V> QueryId for Bound<Q, T, V> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Kept {
    type SqlType = Untyped;
}

impl<Q, T, V> Query for Bound<Q, T, V> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Kept {}

impl<C, Q, T, V> RunQueryDsl<C> for Bound<Q, T, V> {}
