//! Sets up capture in the database of a source.

use super::store::{Claim, Repository, claim};
use crate::db::{DbError, connect, migrate_source};

/// What a source is attached with.
#[derive(Clone, Debug)]
pub struct Attached {
    /// A snapshot from before anything was captured: where reading begins.
    pub snapshot: String,
}

/// Makes the schema, the tables and the role that capture needs in the database at `url`, and
/// claims it for `repository`, which calls it `source`. Changes nothing where that was done
/// before. Blocks.
///
/// # Errors
///
/// Those of [`migrate_source`]; [`DbError::Unfit`] if the database is another repository's source,
/// has another name, or may hold text that the repository can't.
pub fn attach(url: &str, source: &str, repository: &Repository) -> Result<Attached, DbError> {
    for version in migrate_source(url)? {
        tracing::info!(source, version, "set up capture in the source's database");
    }
    let mut connection = connect(url)?;
    let claim = claim(&mut connection, repository.id, source)?;
    match unfit(&claim, source, repository) {
        Some((detail, help)) => Err(DbError::Unfit { detail, help }),
        None => Ok(Attached {
            snapshot: claim.snapshot,
        }),
    }
}

/// Why a database can't be this source, and what to do; `None` if it can.
fn unfit(claim: &Claim, source: &str, repository: &Repository) -> Option<(String, String)> {
    if claim.repository != repository.id {
        return Some((
            "the database is a source of another repository already".to_owned(),
            "of two that read it each would drop what the other has not read: let one Rowcall read \
             it, or take its capture out first (docs/CAPTURE.md)"
                .to_owned(),
        ));
    }
    if claim.source != source {
        return Some((
            format!("the database is the source `{}` already", claim.source),
            "give a database one name; is a URL a copy of another?".to_owned(),
        ));
    }
    if repository.encoding != "UTF8" && repository.encoding != claim.encoding {
        return Some((
            format!(
                "the database's encoding is {}, and the repository's {}, which may lack some of its \
                 characters",
                claim.encoding, repository.encoding
            ),
            "use a repository that was created with ENCODING 'UTF8'".to_owned(),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn repository(encoding: &str) -> Repository {
        Repository {
            id: Uuid::from_u128(1),
            encoding: encoding.to_owned(),
        }
    }

    fn claim(repository: u128, source: &str) -> Claim {
        Claim {
            repository: Uuid::from_u128(repository),
            source: source.to_owned(),
            encoding: "LATIN9".to_owned(),
            snapshot: "3:3:".to_owned(),
        }
    }

    #[test]
    fn a_database_is_one_source_of_one_repository_that_can_hold_its_text() {
        for (claim, encoding, expected) in [
            (claim(1, "crm"), "UTF8", None),
            (claim(1, "crm"), "LATIN9", None),
            (claim(1, "crm"), "LATIN1", Some("encoding is LATIN9")),
            (claim(1, "erp"), "UTF8", Some("source `erp` already")),
            (claim(2, "crm"), "UTF8", Some("another repository already")),
        ] {
            let found = unfit(&claim, "crm", &repository(encoding));
            let text = found.map(|(detail, _)| detail).unwrap_or_default();
            assert_eq!(expected.is_some(), !text.is_empty(), "{text}");
            assert!(text.contains(expected.unwrap_or_default()), "{text}");
        }
    }
}
