//! Whether Rowcall's own tables are there and of this version.

use super::{finding::Finding, not_examined, server::Server, store::versions_applied};
use crate::db::{Connection, migration_versions};

const SUBJECT: &str = "the repository";

/// Whether the repository can be looked at with this version's statements, and what is wrong with
/// it if not.
pub(super) fn check(connection: &mut Connection, server: &Server) -> (bool, Vec<Finding>) {
    if !server.has_repository || !server.has_versions {
        let text = format!(
            "the database {} has no repository: nothing is captured here",
            server.database
        );
        let remedy = "rowcall migrate (`rowcall serve` does it when it starts), or name the right \
                      database with --database-url";
        let finding = Finding::error("no-repository", SUBJECT, text).remedy(remedy);
        return (false, vec![finding]);
    }
    match versions_applied(connection) {
        Ok(applied) => compare(&applied, &migration_versions()),
        Err(error) => (false, vec![not_examined(SUBJECT, &error)]),
    }
}

fn compare(applied: &[String], known: &[String]) -> (bool, Vec<Finding>) {
    let missing = known.iter().filter(|version| !applied.contains(version));
    let missing = missing.count();
    let later = applied.iter().filter(|version| !known.contains(version));
    let later = later.count();
    if missing > 0 {
        let text = format!(
            "the repository's schema is older than this program: {missing} migrations are missing, \
             so the rest can't be looked at"
        );
        let finding = Finding::error("repository-not-migrated", SUBJECT, text);
        return (false, vec![finding.remedy("rowcall migrate")]);
    }
    if later > 0 {
        let text = format!(
            "the repository's schema is newer than this program: it has {later} migrations that \
             are not known here"
        );
        let finding = Finding::warning("repository-newer", SUBJECT, text);
        let remedy = "run the doctor of the version that serves";
        return (true, vec![finding.remedy(remedy)]);
    }
    (true, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_schema_is_an_error_and_a_newer_one_a_warning() {
        let versions = |numbers: &[&str]| -> Vec<String> {
            numbers.iter().map(|number| (*number).to_owned()).collect()
        };
        let known = versions(&["1", "2"]);
        assert_eq!(compare(&known, &known), (true, Vec::new()));
        let (is_current, findings) = compare(&versions(&["1"]), &known);
        assert!(!is_current && findings[0].code == "repository-not-migrated");
        let (is_current, findings) = compare(&versions(&["1", "2", "3"]), &known);
        assert!(is_current && findings[0].code == "repository-newer");
    }
}
