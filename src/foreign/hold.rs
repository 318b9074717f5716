//! The right to change the triggers of a source.
//!
//! Catalogue and triggers are in two databases, so no transaction makes both change at once.
//! Whoever applies metadata puts the triggers in place, then commits the catalogue, then takes off
//! what is no longer wanted, and holds the source all the while. Upkeep, which makes the triggers
//! what the catalogue says, reads that only while it holds the source: it never goes by a catalogue
//! that does not know yet what was just installed.

use super::store::{hold_take, is_standby};
use crate::db::{Connection, DbError, QueryError, connect, transaction};

/// How long an apply waits for the upkeep of a source, in milliseconds.
const WAIT_MS: u64 = 10_000;

/// A source that is held; let go of when it is dropped.
pub struct Hold {
    connection: Connection,
}

impl Hold {
    /// Takes the source at `url`; waits for whoever has it, but not for ever. Blocks.
    ///
    /// # Errors
    ///
    /// If the database can't be reached or written, or is held for longer than 10 s.
    pub fn wait(url: &str) -> Result<Self, DbError> {
        let mut connection = connect_to_primary(url)?;
        hold_take(&mut connection, WAIT_MS)?;
        Ok(Self { connection })
    }

    /// Takes the source at `url`; `None` if somebody has it. Blocks.
    ///
    /// # Errors
    ///
    /// If the database can't be reached or written.
    pub fn take(url: &str) -> Result<Option<Self>, DbError> {
        let mut connection = connect_to_primary(url)?;
        let is_held = hold_take(&mut connection, 0)?;
        Ok(is_held.then_some(Self { connection }))
    }

    /// Runs `work` in a transaction of the source. Blocks.
    ///
    /// # Errors
    ///
    /// Those of `work`, which is then rolled back.
    pub fn transaction<T, E: From<QueryError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        transaction(&mut self.connection, work)
    }
}

/// A connection to a server that can be written. Blocks.
pub(crate) fn connect_to_primary(url: &str) -> Result<Connection, DbError> {
    let mut connection = connect(url)?;
    if is_standby(&mut connection)? {
        return Err(DbError::standby());
    }
    Ok(connection)
}
