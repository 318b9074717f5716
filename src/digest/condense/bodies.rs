//! Reads the bodies of many events in a given order, a few megabytes at a time.

use std::collections::HashMap;

use uuid::Uuid;

use super::store::event_bytes;
use crate::{
    db::{Connection, QueryError},
    deliver::store::event_bodies,
};

/// Bodies in memory at once, in bytes; a single larger one is read all the same.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Calls `each` with the place and the body of each event, in the order of `ids`. The body is
/// `None` if the repository has lost the event.
pub(in crate::digest) fn each_body(
    connection: &mut Connection,
    ids: &[Uuid],
    mut each: impl FnMut(&mut Connection, usize, Option<&str>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    if ids.is_empty() {
        return Ok(());
    }
    let bytes: HashMap<Uuid, usize> = event_bytes(connection, ids)?.into_iter().collect();
    let size = |id: &Uuid| bytes.get(id).copied().unwrap_or(0);
    let mut begin = 0;
    while begin < ids.len() {
        let mut sum = 0;
        let run = ids[begin..].iter().take_while(|id| {
            sum += size(id);
            sum <= BYTES_MAX
        });
        let end = begin + run.count().max(1);
        let read = event_bodies(connection, &ids[begin..end])?;
        let bodies: HashMap<Uuid, String> = read
            .into_iter()
            .map(|event| (event.id, event.body))
            .collect();
        for (place, id) in ids.iter().enumerate().take(end).skip(begin) {
            each(connection, place, bodies.get(id).map(String::as_str))?;
        }
        begin = end;
    }
    Ok(())
}
