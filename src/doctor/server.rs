//! The server's settings that decide whether triggers fire and whether the doorbell rings.

use serde::Deserialize;

use super::{finding::Finding, store};
use crate::db::{Connection, DbError};

/// The share of the cluster's notification queue from which on the reader asks for no more.
const QUEUE_USAGE_MAX: f64 = 0.5;

/// What the server says of itself and of this session.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Server {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) is_superuser: bool,
    pub(super) replication_role: String,
    pub(super) prepared_max: i32,
    pub(super) queue_usage: f64,
    pub(super) has_repository: bool,
    pub(super) has_versions: bool,
    /// Other sessions of Rowcall in this database.
    pub(super) sessions: i64,
}

pub(super) fn read(connection: &mut Connection) -> Result<Server, DbError> {
    let rows = store::rows(connection, include_str!("sql/server.sql"))?;
    rows.into_iter()
        .next()
        .ok_or(DbError::Query(crate::db::QueryError::NotFound))
}

/// Why the doorbell is off, as far as the database knows: whether a notification reaches the
/// reader is known only to the reader, and shown by its /readyz.
pub(super) fn doorbell(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.prepared_max > 0 {
        let text = format!(
            "the doorbell is off, and the reader looks every 20 ms instead: \
             max_prepared_transactions is {}, and a transaction that notified could not be prepared",
            server.prepared_max
        );
        let remedy = "if nobody prepares transactions: ALTER SYSTEM SET max_prepared_transactions \
                      = 0; and restart the server";
        findings.push(Finding::note("doorbell-off", "the doorbell", text).remedy(remedy));
    }
    if server.queue_usage > QUEUE_USAGE_MAX {
        let text = format!(
            "the cluster's notification queue is {:.0} % full, so the doorbell is off; when it is \
             full, every commit that notifies fails",
            server.queue_usage * 100.0
        );
        let remedy = "a session that listens has been in one transaction for long: end it; SELECT \
                      pid, xact_start FROM pg_stat_activity ORDER BY xact_start; shows the oldest";
        findings
            .push(Finding::warning("notify-queue-filling", "the doorbell", text).remedy(remedy));
    }
    findings
}

/// What this session's user and settings show.
pub(super) fn session(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.replication_role == "replica" {
        let text = "session_replication_role is replica for every session, so no trigger fires and \
                    nothing is captured";
        let remedy = "take session_replication_role out of postgresql.conf (or ALTER SYSTEM RESET \
                      session_replication_role;) and SELECT pg_reload_conf();";
        findings.push(Finding::error("replica-everywhere", &server.database, text).remedy(remedy));
    }
    if server.is_superuser {
        let subject = format!("role {}", server.role);
        let text = "Rowcall connects as a superuser and needs no such rights";
        let remedy = "docs/CAPTURE.md, section Rights, has the statements for a role that has what \
                      is needed and no more";
        findings.push(Finding::note("service-superuser", subject, text).remedy(remedy));
    }
    if server.sessions == 0 {
        let text = "no other session of Rowcall is connected: changes are captured, and published \
                    when one is";
        let finding = Finding::note("not-serving", &server.database, text);
        findings.push(finding.remedy("rowcall serve"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            database: "shop".to_owned(),
            role: "rowcall_service".to_owned(),
            is_superuser: false,
            replication_role: "origin".to_owned(),
            prepared_max: 0,
            queue_usage: 0.5,
            has_repository: true,
            has_versions: true,
            sessions: 3,
        }
    }

    fn codes(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_sound_server_has_no_finding() {
        assert!(doorbell(&server()).is_empty() && session(&server()).is_empty());
    }

    #[test]
    fn what_silences_triggers_or_the_bell_is_named() {
        let odd = Server {
            is_superuser: true,
            replication_role: "replica".to_owned(),
            prepared_max: 10,
            queue_usage: 0.51,
            sessions: 0,
            ..server()
        };
        assert_eq!(
            codes(&doorbell(&odd)),
            ["doorbell-off", "notify-queue-filling"]
        );
        assert!(doorbell(&odd)[0].message.contains("is 10,"));
        assert!(doorbell(&odd)[1].message.contains("51 % full"));
        assert_eq!(
            codes(&session(&odd)),
            ["replica-everywhere", "service-superuser", "not-serving"]
        );
    }
}
