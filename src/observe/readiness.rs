//! Whether Rowcall can work, put together from what its parts tell.
//!
//! A part adds a check and keeps its sending half (see [`crate::stage::Health`]), or sets and
//! clears a warning by name. Only a failed check of a part that is necessary makes Rowcall not
//! ready: an instance that publishes but can't reach a receiver must not be taken out of service
//! for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

/// The checks and warnings; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    checks: BTreeMap<String, Check>,
    warnings: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Check {
    need: Need,
    health: watch::Receiver<Option<String>>,
}

/// Whether Rowcall can do without a part for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it nothing is captured or published.
    Necessary,
    /// Its failure is shown and changes no status.
    Shown,
}

/// What /readyz answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every necessary part works.
    pub status: Status,
    /// By name: `ok`, or why the last run failed.
    pub stages: BTreeMap<String, String>,
    /// Holes and limits that somebody should know of.
    pub warnings: Vec<String>,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Changes are captured and published.
    Ready,
    /// They are not; `stages` says why.
    NotReady,
}

impl Report {
    /// Whether every necessary part works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status == Status::Ready
    }
}

impl Readiness {
    /// Adds a part, or replaces the one of that name. A part whose sender is gone keeps its last
    /// word.
    pub fn check_add(
        &self,
        name: impl Into<String>,
        need: Need,
        health: watch::Receiver<Option<String>>,
    ) {
        self.parts()
            .checks
            .insert(name.into(), Check { need, health });
    }

    /// What the part `name` tells, as a channel on which the next word can be waited for: `None` is
    /// `ok`. None if there is no such part.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<watch::Receiver<Option<String>>> {
        self.parts()
            .checks
            .get(name)
            .map(|check| check.health.clone())
    }

    /// Sets the warning `name`; its text is shown until it is cleared or set again. Neither row
    /// values nor secrets belong into it: everyone who reaches the port may read it.
    pub fn warning_set(&self, name: impl Into<String>, text: impl Into<String>) {
        self.parts().warnings.insert(name.into(), text.into());
    }

    /// Clears the warning `name`, if it is set.
    pub fn warning_clear(&self, name: &str) {
        self.parts().warnings.remove(name);
    }

    /// What there is to tell now.
    #[must_use]
    pub fn report(&self) -> Report {
        let parts = self.parts();
        let mut status = Status::Ready;
        let mut stages = BTreeMap::new();
        for (name, check) in &parts.checks {
            let failure = check.health.borrow().clone();
            if failure.is_some() && check.need == Need::Necessary {
                status = Status::NotReady;
            }
            stages.insert(name.clone(), failure.unwrap_or_else(|| "ok".to_owned()));
        }
        Report {
            status,
            stages,
            warnings: parts.warnings.values().cloned().collect(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_necessary_part_makes_it_not_ready() {
        let readiness = Readiness::default();
        let (publish, publish_health) = watch::channel(None);
        let (deliver, deliver_health) = watch::channel(None);
        readiness.check_add("publish", Need::Necessary, publish_health);
        readiness.check_add("deliver", Need::Shown, deliver_health);
        assert!(readiness.report().is_ready());

        deliver.send_replace(Some("receiver on fire".to_owned()));
        let report = readiness.report();
        assert!(report.is_ready());
        assert_eq!(report.stages["deliver"], "receiver on fire");

        publish.send_replace(Some("the database can't be reached".to_owned()));
        assert_eq!(readiness.report().status, Status::NotReady);
        publish.send_replace(None);
        assert!(readiness.report().is_ready());
    }

    #[test]
    fn a_warning_stands_until_it_is_cleared() {
        let readiness = Readiness::default();
        readiness.warning_set("doorbell", "no LISTEN");
        readiness.warning_set("doorbell", "no LISTEN; polling");
        assert_eq!(readiness.report().warnings, ["no LISTEN; polling"]);
        assert!(readiness.report().is_ready());
        readiness.warning_clear("doorbell");
        assert!(readiness.report().warnings.is_empty());
    }
}
