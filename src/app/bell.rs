//! The doorbell of a database, with its warnings in /readyz.

use std::time::Duration;

use crate::{capture::doorbell::Doorbell, db::Database, observe::readiness::Readiness};

/// A doorbell of the database at `url`: the repository's, or that of a source.
pub(super) fn doorbell(
    source: Option<&str>,
    url: &str,
    database: &Database,
    safety_poll: Option<Duration>,
    readiness: &Readiness,
) -> Doorbell {
    let (name, about) = match source {
        Some(source) => (format!("doorbell {source}"), format!("source `{source}`: ")),
        None => ("doorbell".to_owned(), String::new()),
    };
    let readiness = readiness.clone();
    let warn = move |warning: Option<String>| match warning {
        Some(text) => readiness.warning_set(&name, format!("{about}{text}")),
        None => readiness.warning_clear(&name),
    };
    let bell = Doorbell::new(url, database.clone(), safety_poll, warn);
    match source {
        Some(_) => bell,
        None => bell.asking(),
    }
}
