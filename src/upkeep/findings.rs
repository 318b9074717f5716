//! Shows in /readyz what the doctor finds of holes in capture.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    account::Accounts,
    db::{Connection, Database, DbError},
    doctor::{finding::Finding, holes},
    observe::readiness::Readiness,
    registry::{live::LiveRegistry, registry_revision},
};

/// Findings that /readyz shows; `rowcall doctor` shows all.
const SHOWN_MAX: usize = 50;

/// The name of the warning that says that there are more.
const MORE: &str = "doctor ~";

/// Looks, and keeps in mind what is shown.
pub(super) struct Watch {
    registry: LiveRegistry,
    readiness: Readiness,
    accounts: Accounts,
    shown: BTreeSet<String>,
}

impl Watch {
    pub(super) fn new(registry: LiveRegistry, readiness: Readiness, accounts: Accounts) -> Self {
        Self {
            registry,
            readiness,
            accounts,
            shown: BTreeSet::new(),
        }
    }

    /// Looks once. What was found and is no more is cleared.
    pub(super) async fn look(
        &mut self,
        database: &Database,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        self.accounts.look(database, now).await;
        let live = self.registry.clone();
        let look = move |connection: &mut Connection| {
            let revision = registry_revision(connection)?;
            let registry = live.at(connection, revision)?;
            let suspended = &registry.suspended;
            Ok::<_, DbError>(holes(connection, registry.catalog(), suspended))
        };
        let findings = database.run(look).await?;
        self.show(&findings);
        Ok(())
    }

    fn show(&mut self, findings: &[Finding]) {
        let mut now = BTreeSet::new();
        for finding in findings.iter().take(SHOWN_MAX) {
            let Finding { code, subject, .. } = finding;
            let line = finding.line();
            let name = format!("doctor {code} {subject} {line}");
            if self.shown.insert(name.clone()) {
                tracing::warn!(code, "{line}");
            }
            self.readiness.warning_set(name.clone(), line);
            now.insert(name);
        }
        match findings.len().saturating_sub(SHOWN_MAX) {
            0 => self.readiness.warning_clear(MORE),
            more => self.readiness.warning_set(
                MORE,
                format!("{more} more holes in capture: `rowcall doctor` names all of them"),
            ),
        }
        for gone in self.shown.difference(&now) {
            self.readiness.warning_clear(gone);
        }
        self.shown = now;
    }
}
