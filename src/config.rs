//! What an operator sets: flags before environment before `rowcall.toml` before defaults.

mod limits;
mod public_url;
mod sources;
mod verify;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use self::{
    limits::Limits,
    public_url::{PublicUrl, PublicUrlError},
    sources::Sources,
    verify::VerifyFlags,
};
use crate::{
    sink::{MailSettings, Net},
    subscription::{
        secret::{SecretError, SecretKey},
        verify::{Verify, VerifySettings},
    },
};

/// The settings of a program that serves or uses a repository, as flags and environment.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The repository's database: postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<SecretString>,
    /// Runs a private Postgres in this directory instead of using --database-url
    #[arg(long, value_name = "DIR", global = true)]
    pub embedded: Option<PathBuf>,
    /// The address of the API [default: 127.0.0.1:8080]
    #[arg(long, env = "ROWCALL_LISTEN", value_name = "ADDRESS", global = true)]
    pub listen: Option<SocketAddr>,
    /// Where subscribers reach the API, such as https://rowcall.example.com; for links in events
    #[arg(long, env = "ROWCALL_PUBLIC_URL", value_name = "URL", global = true)]
    pub public_url: Option<PublicUrl>,
    /// A folder of metadata, applied at start
    #[arg(long, env = "ROWCALL_METADATA", value_name = "DIR", global = true)]
    pub metadata: Option<PathBuf>,
    /// Private networks that sinks may reach, such as 10.0.0.0/8,127.0.0.0/8 [default: none]
    #[arg(
        long,
        env = "ROWCALL_ALLOW_NETS",
        value_delimiter = ',',
        value_name = "NETS",
        global = true
    )]
    pub allow_nets: Option<Vec<Net>>,
    /// A bootstrap admin key for the API, 32 characters or more
    #[arg(
        long,
        env = "ROWCALL_ADMIN_KEY",
        hide_env_values = true,
        hide = true,
        global = true
    )]
    pub admin_key: Option<SecretString>,
    /// Encrypts secrets at rest: 64 hexadecimal digits
    #[arg(
        long,
        env = "ROWCALL_SECRET_KEY",
        hide_env_values = true,
        hide = true,
        global = true
    )]
    pub secret_key: Option<SecretString>,
    /// Former secret keys, which open what they encrypted, separated by commas
    #[arg(
        long,
        env = "ROWCALL_SECRET_KEYS_OLD",
        hide_env_values = true,
        hide = true,
        value_delimiter = ',',
        global = true
    )]
    pub secret_keys_old: Option<Vec<SecretString>>,
    /// How receivers are verified
    #[command(flatten)]
    pub verify: VerifyFlags,
    /// The mail server: smtps://user:password@host:port, smtp:// or file:///directory
    #[arg(long, env = "ROWCALL_SMTP_URL", hide_env_values = true, global = true)]
    pub smtp_url: Option<SecretString>,
    /// The sender of mails, such as "Rowcall <rowcall@example.com>"
    #[arg(long, env = "ROWCALL_SMTP_FROM", value_name = "ADDRESS", global = true)]
    pub smtp_from: Option<String>,
    /// Where the binaries of a private Postgres are [default: the newest that is found]
    #[arg(long, env = "PG_BIN", value_name = "DIR", global = true)]
    pub pg_bin: Option<PathBuf>,
    /// The file with settings and limits [default: rowcall.toml, if it is there]
    #[arg(long, env = "ROWCALL_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// `rowcall.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    database_url: Option<SecretString>,
    embedded: Option<PathBuf>,
    listen: Option<SocketAddr>,
    public_url: Option<String>,
    metadata: Option<PathBuf>,
    allow_nets: Option<Vec<String>>,
    admin_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    secret_keys_old: Option<Vec<SecretString>>,
    verify: Option<Verify>,
    verify_origin: Option<String>,
    verify_rate: Option<std::num::NonZeroU32>,
    smtp_url: Option<SecretString>,
    smtp_from: Option<String>,
    pg_bin: Option<PathBuf>,
    source: sources::SourceTables,
    limits: Limits,
}

/// The settings, put together.
#[derive(Debug)]
pub struct Config {
    /// `None` if `embedded` is set.
    pub database_url: Option<SecretString>,
    /// The directory of a private Postgres.
    pub embedded: Option<PathBuf>,
    /// The address of the API.
    pub listen: SocketAddr,
    /// Where subscribers reach the API; without it events have no `dataschema`.
    pub public_url: Option<PublicUrl>,
    /// The folder of metadata that is applied at start.
    pub metadata: Option<PathBuf>,
    /// Private networks that sinks may reach.
    pub allow_nets: Vec<Net>,
    /// The bootstrap admin key.
    pub admin_key: Option<SecretString>,
    /// The key that encrypts secrets at rest; embedded mode makes its own.
    pub secret_key: Option<SecretString>,
    /// Former ones, which open what they encrypted.
    pub secret_keys_old: Vec<SecretString>,
    /// How receivers are verified.
    pub verify: VerifySettings,
    /// The mail server and the sender of mails.
    pub mail: Option<MailSettings>,
    /// Where the binaries of a private Postgres are.
    pub pg_bin: Option<PathBuf>,
    /// The other databases whose rows are captured.
    pub sources: Sources,
    /// Everything that has a bound.
    pub limits: Limits,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read")]
    #[diagnostic(help("name an existing file with --config, or leave the option out"))]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {path} is not valid:\n{detail}")]
    #[diagnostic(help("docs/CONFIGURATION.md lists every setting"))]
    Parse {
        /// Its path.
        path: PathBuf,
        /// Where and what, in the parser's words.
        detail: String,
    },
    /// A value, or a pair of values, can't be.
    #[error("{0}")]
    Invalid(String),
    /// No database was named.
    #[error("no database was named")]
    #[diagnostic(help(
        "set DATABASE_URL or --database-url to postgres://user:password@host:port/database, or use \
         --embedded DIR to run a private Postgres there"
    ))]
    NoDatabase,
}

impl Config {
    /// Puts flags, environment and file together and checks the result.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None if Path::new("rowcall.toml").exists() => File::read(Path::new("rowcall.toml"))?,
            None => File::default(),
        };
        let allow_nets = match (flags.allow_nets, file.allow_nets) {
            (Some(nets), _) => nets,
            (None, Some(texts)) => texts
                .iter()
                .map(|text| {
                    text.parse()
                        .map_err(|error| invalid(format!("allow_nets: {error}")))
                })
                .collect::<Result<_, _>>()?,
            (None, None) => Vec::new(),
        };
        let public_url = match (flags.public_url, file.public_url) {
            (Some(url), _) => Some(url),
            (None, Some(text)) => Some(
                text.parse()
                    .map_err(|error| invalid(format!("public_url: {error}")))?,
            ),
            (None, None) => None,
        };
        let verify = verify::VerifyFile {
            verify: file.verify,
            verify_origin: file.verify_origin,
            verify_rate: file.verify_rate,
        };
        let verify = flags.verify.settings(verify, public_url.as_ref())?;
        let smtp_from = flags.smtp_from.or(file.smtp_from);
        let mail = flags.smtp_url.or(file.smtp_url).map(|url| {
            MailSettings::parse(&url, smtp_from.as_deref())
                .map_err(|error| invalid(error.to_string()))
        });
        let config = Self {
            database_url: flags.database_url.or(file.database_url),
            embedded: flags.embedded.or(file.embedded),
            listen: flags
                .listen
                .or(file.listen)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            public_url,
            metadata: flags.metadata.or(file.metadata),
            allow_nets,
            admin_key: flags.admin_key.or(file.admin_key),
            secret_key: flags.secret_key.or(file.secret_key),
            secret_keys_old: flags
                .secret_keys_old
                .or(file.secret_keys_old)
                .unwrap_or_default(),
            verify,
            mail: mail.transpose()?,
            pg_bin: flags.pg_bin.or(file.pg_bin),
            sources: Sources::load(file.source, std::env::vars_os())?,
            limits: file.limits,
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks values and the relations between them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.database_url.is_none() && self.embedded.is_none() {
            return Err(ConfigError::NoDatabase);
        }
        if let Some(key) = &self.admin_key
            && key.expose_secret().len() < 32
        {
            return Err(invalid(
                "ROWCALL_ADMIN_KEY has fewer than 32 characters; make one with `openssl rand -hex 32`",
            ));
        }
        if let Some(key) = &self.secret_key {
            SecretKey::parse(key.expose_secret())
                .map_err(|error| invalid(format!("ROWCALL_SECRET_KEY: {error}")))?;
            self.secret_key()
                .map_err(|error| invalid(format!("ROWCALL_SECRET_KEYS_OLD: {error}")))?;
        }
        self.limits.validate()
    }

    /// The key that encrypts secrets at rest, with the former ones; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If one of them is no key.
    pub fn secret_key(&self) -> Result<Option<SecretKey>, SecretError> {
        let Some(text) = &self.secret_key else {
            return Ok(None);
        };
        let former = self.secret_keys_old.iter().map(ExposeSecret::expose_secret);
        let key = SecretKey::parse(text.expose_secret())?.with_former(former)?;
        Ok(Some(key))
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            detail: place_and_message(&text, &error),
        })
    }
}

/// Where and what, without the line itself: it may hold a secret.
fn place_and_message(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return error.message().to_owned();
    };
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("line {line}, column {column}: {}", error.message())
}

/// The secret that an environment variable holds, for metadata that names one. `None` if it is not
/// set, is empty, or is no UTF-8.
#[must_use]
pub fn secret_from_environment(name: &str) -> Option<SecretString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "metadata names the variable, so it can't be read before the metadata is"
    )]
    let value = std::env::var(name).ok()?;
    (!value.is_empty()).then(|| SecretString::from(value))
}

fn invalid(text: impl Into<String>) -> ConfigError {
    ConfigError::Invalid(text.into())
}

#[cfg(test)]
mod tests;
