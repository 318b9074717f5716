//! The doctor: names every hole in capture, and what else an operator should know, each with what
//! mends it.
//!
//! Players: a file for each group of checks, which reads what it needs in one statement over all
//! tables (the `.sql` files, through `store`) and judges it without the database; [`finding`] is
//! what they say. `rowcall doctor` asks all of them ([`examine`]); upkeep asks those that tell of
//! holes in capture ([`holes`]) and shows the answer in /readyz.
//!
//! Guaranteed: nothing is written, nothing is waited for longer than a statement's timeout, and no
//! finding holds a value of a row. A group that fails is a finding itself and stops no other.

mod backlog;
mod columns;
pub mod finding;
mod functions;
mod keys;
mod relations;
mod repository;
mod roles;
mod server;
mod store;
mod suspended;
mod weight;

use std::time::Duration;

use chrono::{DateTime, Utc};

use self::{
    finding::{Finding, Report},
    store::Asked,
};
use crate::{
    catalog::{model::Catalog, shape::shape_read},
    config::Limits,
    db::{Connection, DbError},
    registry::suspended::{Suspended, suspended_load},
};

/// What a group of checks found, or why it could not look.
type Looked = Result<Vec<Finding>, DbError>;

/// What the answer depends on, beside the database.
#[derive(Clone, Debug)]
pub struct Question {
    /// What Rowcall serves with.
    pub limits: Limits,
    /// From which age on an open transaction is told of; from six times that on, as a warning.
    pub long_transaction: Duration,
    /// What ages are told by.
    pub now: DateTime<Utc>,
}

/// Everything, from a session of its own that can change nothing. The repository may be missing or
/// of another version, which is said.
///
/// Blocks; each statement takes 10 seconds at most.
///
/// # Errors
///
/// If no session could be opened.
pub fn examine(url: &str, question: &Question) -> Result<Report, DbError> {
    let mut connection = store::session_open(url)?;
    Ok(Report::new(look(&mut connection, question)))
}

fn look(connection: &mut Connection, question: &Question) -> Vec<Finding> {
    let now = question.now;
    let mut findings = Vec::new();
    let server = match server::read(connection) {
        Ok(server) => server,
        Err(error) => return vec![not_examined("the server", &error)],
    };
    findings.extend(server::doorbell(&server));
    findings.extend(server::session(&server));
    let (is_current, of_repository) = repository::check(connection, &server);
    findings.extend(of_repository);
    collect(&mut findings, "roles", roles::settings(connection));
    if !is_current {
        return findings;
    }
    collect(&mut findings, "roles", roles::capture_role(connection));
    let retention = weight::Retention::of(&question.limits);
    let weight = weight::check(connection, retention, now);
    collect(&mut findings, "the change table", weight);
    let unread = backlog::unread(connection, now);
    collect(&mut findings, "the reader", unread);
    let holders = backlog::holders(connection, question.long_transaction);
    collect(&mut findings, "sessions", holders);
    let catalog = match Catalog::load(connection) {
        Ok(catalog) => catalog,
        Err(error) => {
            findings.push(not_examined("the catalogue", &error));
            return findings;
        }
    };
    let asked = Asked::of(&catalog);
    for (subject, looked) in of_capture(connection, &catalog, &asked, &server.role) {
        collect(&mut findings, subject, looked);
    }
    let columns = columns::check(connection, &catalog, &asked);
    collect(&mut findings, "columns", columns);
    let suspended = suspended_load(connection, catalog);
    let suspended = suspended.map(|all| suspended::check(&all));
    collect(&mut findings, "conditions", suspended);
    findings
}

/// The errors and warnings that are holes in capture, and what is `suspended`, for /readyz: a few
/// statements over the catalogue of Postgres, however many tables there are. Blocks.
#[must_use]
pub fn holes(
    connection: &mut Connection,
    catalog: &Catalog,
    suspended: &[Suspended],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked = Asked::of(catalog);
    match server::read(connection) {
        Ok(server) => {
            findings.extend(server::session(&server));
            for (subject, looked) in of_capture(connection, catalog, &asked, &server.role) {
                collect(&mut findings, subject, looked);
            }
        }
        Err(error) => findings.push(not_examined("the server", &error)),
    }
    collect(&mut findings, "roles", roles::settings(connection));
    findings.extend(suspended::check(suspended));
    findings.retain(|finding| finding.severity != finding::Severity::Note);
    Report::new(findings).findings
}

/// The groups that tell of holes in capture.
fn of_capture(
    connection: &mut Connection,
    catalog: &Catalog,
    asked: &Asked,
    role: &str,
) -> [(&'static str, Looked); 3] {
    let tables = catalog.object_types.values();
    let tables = tables.filter(|object_type| object_type.source.is_default());
    let shapes = shape_read(connection, tables.map(|object_type| &object_type.table));
    [
        ("functions", functions::check(connection, asked)),
        (
            "triggers",
            relations::check(connection, catalog, asked, role),
        ),
        ("keys", shapes.map(|shapes| keys::check(catalog, &shapes))),
    ]
}

fn collect(findings: &mut Vec<Finding>, subject: &'static str, looked: Looked) {
    match looked {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(not_examined(subject, &error)),
    }
}

fn not_examined(subject: &str, error: &DbError) -> Finding {
    let why = crate::stage::chain(error);
    Finding::warning(
        "not-examined",
        subject,
        format!("could not be looked at: {why}"),
    )
    .remedy("run `rowcall doctor` as the user that Rowcall serves with, and when the server is less busy")
}

/// A name as SQL takes it, for remedies.
fn quoted(table: &crate::catalog::model::TableName) -> String {
    use crate::capture::install::function::identifier;
    format!("{}.{}", identifier(&table.schema), identifier(&table.table))
}
