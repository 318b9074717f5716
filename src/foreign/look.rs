//! Looks at the tables of other databases, for metadata that names them.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;

use super::{ANSWER_LIMIT, answered, hold::connect_to_primary};
use crate::{
    catalog::{
        model::{SourceName, TableName},
        shape::{Shapes, shape_read},
    },
    config::Sources,
    db::DbError,
    stage::chain,
};

/// The tables that were asked for, by source.
pub type Asked = BTreeMap<SourceName, BTreeSet<TableName>>;

/// What was found, by source; a text says why nothing could be.
pub type Seen = BTreeMap<SourceName, Result<Shapes, String>>;

/// Looks at what was asked for; changes nothing. What is not configured is left out.
pub async fn look(sources: &Sources, asked: Asked) -> Seen {
    let mut seen = Seen::new();
    for (source, tables) in asked {
        let Some(url) = sources.url(&source.0).cloned() else {
            continue;
        };
        let looking = tokio::task::spawn_blocking(move || {
            let mut connection = connect_to_primary(url.expose_secret())?;
            shape_read(&mut connection, &tables)
        });
        let looked = match answered(&source.0, ANSWER_LIMIT, looking).await {
            Ok(looked) => looked
                .unwrap_or(Err(DbError::Panicked))
                .map_err(|error| chain(&error)),
            Err(silent) => Err(silent.to_string()),
        };
        seen.insert(source, looked);
    }
    seen
}
