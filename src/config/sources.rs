//! The databases besides Rowcall's own whose rows are captured: their names and where they are.

use std::{collections::BTreeMap, ffi::OsString};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{ConfigError, invalid};
use crate::catalog::model::DEFAULT_SOURCE;

/// The longest name of a source, in characters.
const NAME_CHARS_MAX: usize = 30;

/// The most sources: each has connections and stages of its own.
const SOURCES_MAX: usize = 100;

/// An environment variable that names a source is called so, with the name in upper case between.
const VARIABLE: (&str, &str) = ("ROWCALL_SOURCE_", "_URL");

/// The other sources by name. Their URLs hold passwords and are never shown.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, SecretString>);

/// The tables `[source.NAME]` of `rowcall.toml`.
pub(super) type SourceTables = BTreeMap<SourceKey, SourceTable>;

/// A name that a source may have.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SourceKey(String);

/// One table `[source.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceTable {
    database_url: SecretString,
}

impl TryFrom<String> for SourceKey {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name_fault(&name) {
            Some(fault) => Err(fault),
            None => Ok(Self(name)),
        }
    }
}

/// What is wrong with a source's name; `None` if nothing is.
fn name_fault(name: &str) -> Option<String> {
    if name == DEFAULT_SOURCE {
        return Some(format!(
            "the source `{DEFAULT_SOURCE}` is the database that `database_url` names; give another \
             database another name"
        ));
    }
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.len() <= NAME_CHARS_MAX;
    (!is_name).then(|| {
        format!(
            "`{name}` can't be the name of a source: use up to {NAME_CHARS_MAX} lower-case letters, \
             digits and `_`, a letter first, such as `crm`"
        )
    })
}

impl Sources {
    /// Puts the file's sources and those of the environment together; the environment's word holds.
    pub(super) fn load(
        tables: SourceTables,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Self::default();
        for (SourceKey(name), table) in tables {
            sources.add(&name, table.database_url)?;
        }
        for (variable, url) in environment {
            let Some(name) = variable
                .to_str()
                .and_then(|text| text.strip_prefix(VARIABLE.0)?.strip_suffix(VARIABLE.1))
            else {
                continue;
            };
            let variable = format!("{}{name}{}", VARIABLE.0, VARIABLE.1);
            let url = url
                .into_string()
                .map_err(|_| invalid(format!("{variable} is not UTF-8")))?;
            // As if it were not set: how a supervisor's file takes a setting back.
            if url.is_empty() {
                continue;
            }
            sources
                .add(&name.to_ascii_lowercase(), SecretString::from(url))
                .map_err(|error| invalid(format!("{variable}: {error}")))?;
        }
        Ok(sources)
    }

    /// Adds a source, or gives it another URL.
    ///
    /// # Errors
    ///
    /// If the name or the URL can't be one, or there are too many.
    pub fn add(&mut self, name: &str, database_url: SecretString) -> Result<(), ConfigError> {
        if let Some(fault) = name_fault(name) {
            return Err(invalid(fault));
        }
        let url = database_url.expose_secret();
        let is_uri = url.starts_with("postgres://") || url.starts_with("postgresql://");
        // libpq also takes `host=... dbname=...`.
        let is_words = !url.contains("://") && url.contains('=');
        if !is_uri && !is_words {
            return Err(invalid(format!(
                "the URL of the source `{name}` is none of Postgres: write \
                 postgres://user:password@host:port/database"
            )));
        }
        self.0.insert(name.to_owned(), database_url);
        if self.0.len() > SOURCES_MAX {
            return Err(invalid(format!(
                "there are more than {SOURCES_MAX} sources; let another Rowcall read the others"
            )));
        }
        Ok(())
    }

    /// Where a source is; `None` if it is not configured.
    #[must_use]
    pub fn url(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    /// Their names and URLs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, url)| (name.as_str(), url))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn tables(toml: &str) -> Result<SourceTables, toml::de::Error> {
        toml::from_str(toml)
    }

    #[test]
    fn the_environment_adds_sources_and_wins_over_the_file() {
        let file = tables(
            "[crm]\ndatabase_url = \"postgres://file/crm\"\n\
             [stock]\ndatabase_url = \"host=file dbname=stock\"",
        );
        let environment = environment(&[
            ("ROWCALL_SOURCE_CRM_URL", "postgres://env/crm"),
            ("ROWCALL_SOURCE_OLD_CRM_URL", "postgresql://env/old"),
            ("ROWCALL_SOURCE_GONE_URL", ""),
            ("ROWCALL_SOURCES", "postgres://other"),
        ]);
        let sources = Sources::load(file.unwrap(), environment).unwrap();
        let urls: Vec<_> = sources
            .iter()
            .map(|(name, url)| (name, url.expose_secret()))
            .collect();
        assert_eq!(
            urls,
            [
                ("crm", "postgres://env/crm"),
                ("old_crm", "postgresql://env/old"),
                ("stock", "host=file dbname=stock"),
            ]
        );
    }

    #[test]
    fn names_that_cannot_be_are_refused_and_urls_not_shown() {
        for name in ["default", "Crm", "1crm", "c-rm", "", &"x".repeat(31)] {
            let toml = format!("[\"{name}\"]\ndatabase_url = \"postgres://u:hush@h/d\"");
            let text = tables(&toml).unwrap_err().message().to_owned();
            assert!(text.contains(&format!("`{name}`")), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        for url in ["mysql://u:hush@h/d", "hush", ""] {
            let error = Sources::default().add("crm", SecretString::from(url));
            let text = error.unwrap_err().to_string();
            assert!(text.contains("`crm`") && !text.contains("hush"), "{text}");
        }
        let variables = environment(&[("ROWCALL_SOURCE_DEFAULT_URL", "postgres://u:hush@h/d")]);
        let error = Sources::load(SourceTables::new(), variables).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ROWCALL_SOURCE_DEFAULT_URL: "), "{text}");
    }

    #[test]
    fn a_source_is_never_shown_with_its_url() {
        let mut sources = Sources::default();
        let url = SecretString::from("postgres://u:hush@h/d");
        sources.add("crm", url).unwrap();
        assert!(!format!("{sources:?}").contains("hush"));
    }
}
