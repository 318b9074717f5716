//! Writes parts as they become full.

use uuid::Uuid;

use super::{
    envelope::Envelope,
    store::{part_insert, part_wrap},
};
use crate::db::{Connection, QueryError};

/// Takes parts as they become full. The last one is kept back: if it is the only one, it is written
/// once and not twice.
pub(super) struct Output<'a> {
    digest: Uuid,
    envelope: &'a Envelope,
    parts: u32,
    last: Option<String>,
}

impl<'a> Output<'a> {
    pub(super) fn new(digest: Uuid, envelope: &'a Envelope) -> Self {
        Self {
            digest,
            envelope,
            parts: 0,
            last: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts == 0
    }

    pub(super) fn put(
        &mut self,
        connection: &mut Connection,
        items: String,
    ) -> Result<(), QueryError> {
        if let Some(before) = self.last.replace(items) {
            part_insert(connection, self.digest, self.number(), &before)?;
        }
        self.parts += 1;
        Ok(())
    }

    /// The number of the last part in the digest.
    fn number(&self) -> u32 {
        self.envelope.parts_before + self.parts
    }

    /// Writes what is left. Returns the number of parts.
    pub(super) fn finish(mut self, connection: &mut Connection) -> Result<u32, QueryError> {
        let Some(last) = self.last.take() else {
            return Ok(0);
        };
        if self.parts == 1 {
            let body = self.envelope.body(1, 1, &last);
            part_insert(connection, self.digest, self.number(), &body)?;
        } else {
            part_insert(connection, self.digest, self.number(), &last)?;
            part_wrap(connection, self.digest, self.envelope, self.parts)?;
        }
        Ok(self.parts)
    }
}
