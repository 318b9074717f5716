//! Rebasing a source that is another database: what it captured and was not copied is skipped, for
//! nothing there tells it from what was copied. It is read on from its present state.

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Rebased, stopped_of,
    store::{self, cursor_begin, last_published_at, source_resume},
};
use crate::{
    capture::{
        epoch::{StopKind, store::sighting_take},
        store::doorbell_ring_if_asleep,
    },
    db::{Connection, Database, DbError},
    foreign::hold::connect_to_primary,
    source::{
        SourceError,
        gap::{
            GapReason, Span,
            store::{gap_capture, gap_record},
        },
    },
};

/// Lets a stopped source at `url` be read on. Its subscribers are told of the gap.
///
/// # Errors
///
/// If the source is not known, or its database can't be used or is a standby.
pub async fn rebase_elsewhere(
    database: &Database,
    source: &str,
    url: &SecretString,
) -> Result<Rebased, SourceError> {
    let name = source.to_owned();
    let stop = database
        .transaction(move |connection| stopped_of(connection, &name))
        .await?;
    let Some((kind, reason)) = stop else {
        return Ok(Rebased::NotStopped);
    };
    let url = url.clone();
    let sighting = tokio::task::spawn_blocking(move || {
        let mut there = connect_to_primary(url.expose_secret())?;
        Ok::<_, DbError>(sighting_take(&mut there)?)
    });
    let sighting = sighting.await.map_err(|_| DbError::Panicked)??;
    let name = source.to_owned();
    database
        .transaction(move |connection| {
            cursor_begin(connection, &name, &sighting)?;
            tell(connection, &name, kind)?;
            source_resume(connection, &name)?;
            Ok::<_, SourceError>(())
        })
        .await?;
    Ok(Rebased::Skipped { reason })
}

fn tell(connection: &mut Connection, source: &str, kind: StopKind) -> Result<(), SourceError> {
    let reason = match kind {
        StopKind::Restored => GapReason::Restored,
        StopKind::Failover => GapReason::Failover,
        StopKind::Sequence => GapReason::Skipped,
    };
    let to = store::now(connection)?;
    let from = last_published_at(connection, source)?.map(|from| from.min(to));
    let span = Span { from, to };
    gap_record(connection, source, reason, span, None)?;
    let object_types = super::object_types(connection, source)?;
    gap_capture(connection, &object_types, reason, span)?;
    doorbell_ring_if_asleep(connection)?;
    Ok(())
}
