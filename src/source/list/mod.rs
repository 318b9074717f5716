//! How each source fares.

pub mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;

use self::store::source_rows;
use super::{
    SourceError,
    gap::store::{Gap, gap_list},
};
use crate::{
    capture::{
        epoch::{judge, store::sighting_take},
        store::{changes_unread_bounded, cursor_get},
    },
    catalog::model::DEFAULT_SOURCE,
    db::Connection,
};

/// Unread changes are counted up to this number.
pub const UNREAD_MAX: i64 = 100_000;
/// Gaps that are listed of a source.
const GAPS_MAX: i64 = 20;

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// The database's name, if it is Rowcall's own.
    pub database: Option<String>,
    /// Whether it is read.
    pub state: State,
    /// Why it is stopped.
    pub reason: Option<String>,
    /// Since when it is stopped or detached.
    pub since: Option<DateTime<Utc>>,
    /// The position of the last event.
    pub position: i64,
    /// Changes that are captured and not published, [`UNREAD_MAX`] at most. `None` of another
    /// database than Rowcall's own: only that one knows.
    pub changes_unread: Option<i64>,
    /// Whether there may be more of them.
    pub is_counted_in_part: bool,
    /// Which database it was when it was last read; `None` before.
    pub epoch: Option<LastEpoch>,
    /// Object types that are detached.
    pub detached: Vec<String>,
    /// The last gaps, those that go on first.
    pub gaps: Vec<Gap>,
}

/// Whether a source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As ever.
    Reading,
    /// Until `rowcall source rebase`.
    Stopped,
    /// Nothing of it is captured until `rowcall source attach`; what was captured before is read.
    Detached,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Stopped => "stopped",
            Self::Detached => "detached",
        }
    }
}

/// Which database a source was when it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastEpoch {
    /// The cluster's system identifier.
    pub system_identifier: i64,
    /// The database's oid.
    pub database_oid: i64,
    /// The timeline.
    pub timeline: i32,
}

/// Tells how each source fares; to be called in a transaction. What nobody has noticed yet because
/// nothing serves is told, too.
///
/// # Errors
///
/// Those of the database.
pub fn overview(connection: &mut Connection) -> Result<Vec<Overview>, SourceError> {
    let mut overviews = Vec::new();
    for row in source_rows(connection)? {
        let Some(cursor) = cursor_get(connection, &row.name)? else {
            continue;
        };
        let is_own = row.name == DEFAULT_SOURCE;
        let mut stop = cursor
            .stop()
            .map(|(at, reason)| (Some(at), reason.to_owned()));
        if stop.is_none() && is_own {
            let sighting = sighting_take(connection)?;
            let deviation = judge(&cursor, &sighting, None).err();
            stop = deviation.map(|deviation| (None, deviation.to_string()));
        }
        let (state, since, reason) = match (stop, row.detached_at) {
            (Some((at, reason)), _) => (State::Stopped, at, Some(reason)),
            (None, Some(at)) => (State::Detached, Some(at), None),
            (None, None) => (State::Reading, None, None),
        };
        let counted = match is_own {
            true => Some(changes_unread_bounded(connection, &row.name, UNREAD_MAX)?),
            false => None,
        };
        let gaps = gap_list(connection, &row.name, GAPS_MAX)?;
        let open = gaps.iter().filter(|gap| gap.ended_at.is_none());
        overviews.push(Overview {
            database: is_own.then_some(row.database),
            state,
            reason,
            since,
            position: cursor.position,
            changes_unread: counted,
            is_counted_in_part: counted == Some(UNREAD_MAX),
            epoch: cursor.epoch().map(|epoch| LastEpoch {
                system_identifier: epoch.system_identifier,
                database_oid: epoch.database_oid,
                timeline: epoch.timeline,
            }),
            detached: open.filter_map(|gap| gap.object_type.clone()).collect(),
            gaps,
            name: row.name,
        });
    }
    Ok(overviews)
}
