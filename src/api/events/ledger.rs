//! Who holds what of names that are given once: the ids of events, and idempotency keys.
//!
//! Requests that are stored in one transaction are judged one after the other, as if each had a
//! transaction of its own. What the first who asks for it would hold is written down before that,
//! in one statement, so that other transactions that ask for the same wait; what turns out to be
//! nobody's, or that of another request, is mended afterwards.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::db::{Connection, QueryError};

/// What tells one content from another under the same name.
pub(in crate::api) type Digest = [u8; 32];

/// Names of one kind, and where they are remembered.
pub(in crate::api) trait Name: Copy + Ord {
    /// Writes down names that are not remembered yet, in the order given, and tells of each whether
    /// it was not. Waits for whoever is writing down the same ones.
    fn claim(
        connection: &mut Connection,
        names: &[(Self, &[u8])],
        now: DateTime<Utc>,
    ) -> Result<Vec<bool>, QueryError>;

    /// The digests of what is remembered, in the order of the names.
    fn digests(
        connection: &mut Connection,
        names: &[Self],
    ) -> Result<Vec<Option<Vec<u8>>>, QueryError>;

    /// Forgets names.
    fn forget(connection: &mut Connection, names: &[Self]) -> Result<(), QueryError>;
}

/// How a name stands to whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is nobody's.
    Free,
    /// The same content has it.
    Same,
    /// Another content has it.
    Other,
    /// Somebody had it, and it was forgotten at this moment.
    Forgotten,
}

/// The names that one transaction deals with.
#[derive(Debug)]
pub(super) struct Ledger<N> {
    /// Those that were remembered before; `None`: forgotten between two statements.
    before: BTreeMap<N, Option<Vec<u8>>>,
    /// Those that this transaction wrote down, for the first who asks.
    claimed: BTreeMap<N, Digest>,
    /// Those that somebody was given here.
    given: BTreeMap<N, Digest>,
}

impl<N: Copy + Ord> Ledger<N> {
    /// How `name` stands to who asks for it with `digest`.
    pub(super) fn standing(&self, name: &N, digest: &Digest) -> Standing {
        let holder = match self.before.get(name) {
            Some(None) => return Standing::Forgotten,
            Some(Some(digest)) => Some(&digest[..]),
            None => self.given.get(name).map(|digest| &digest[..]),
        };
        match holder {
            None => Standing::Free,
            Some(holder) if holder == &digest[..] => Standing::Same,
            Some(_) => Standing::Other,
        }
    }

    /// Gives a name that is free.
    pub(super) fn give(&mut self, name: N, digest: Digest) {
        self.given.insert(name, digest);
    }
}

impl<N: Name> Ledger<N> {
    /// Writes down all names that are asked for; of several contents, the first.
    pub(super) fn open(
        connection: &mut Connection,
        asked: impl Iterator<Item = (N, Digest)>,
        now: DateTime<Utc>,
    ) -> Result<Self, QueryError> {
        let mut claimed = BTreeMap::new();
        for (name, digest) in asked {
            claimed.entry(name).or_insert(digest);
        }
        let mut before = BTreeMap::new();
        if !claimed.is_empty() {
            // In the order of the names, so that of two transactions with the same ones one waits
            // for the other and never both.
            let names: Vec<(N, &[u8])> = claimed.iter().map(|(name, d)| (*name, &d[..])).collect();
            let is_new = N::claim(connection, &names, now)?;
            let known: Vec<N> = names
                .iter()
                .zip(is_new)
                .filter_map(|((name, _), is_new)| (!is_new).then_some(*name))
                .collect();
            if !known.is_empty() {
                let digests = N::digests(connection, &known)?;
                before = known.into_iter().zip(digests).collect();
                claimed.retain(|name, _| !before.contains_key(name));
            }
        }
        Ok(Self {
            before,
            claimed,
            given: BTreeMap::new(),
        })
    }

    /// Mends what was written down for who did not get it.
    pub(super) fn close(
        self,
        connection: &mut Connection,
        now: DateTime<Utc>,
    ) -> Result<(), QueryError> {
        let wrong: Vec<N> = self
            .claimed
            .iter()
            .filter(|(name, digest)| self.given.get(name) != Some(digest))
            .map(|(name, _)| *name)
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        N::forget(connection, &wrong)?;
        let others: Vec<(N, &[u8])> = wrong
            .into_iter()
            .filter_map(|name| Some((name, &self.given.get(&name)?[..])))
            .collect();
        if !others.is_empty() {
            N::claim(connection, &others, now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl<N: Copy + Ord> Ledger<N> {
    /// A ledger without a database, of what was remembered before.
    pub(super) fn of(before: BTreeMap<N, Option<Vec<u8>>>) -> Self {
        Self {
            before,
            claimed: BTreeMap::new(),
            given: BTreeMap::new(),
        }
    }

    /// What was given.
    pub(super) fn given(&self) -> &BTreeMap<N, Digest> {
        &self.given
    }
}
