//! What an operator sets: flags before environment before `rowcall.toml` before defaults.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{sink::MailSettings, sink::Net, subscription::secret::SecretKey};

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
    metadata: Option<PathBuf>,
    allow_nets: Option<Vec<String>>,
    admin_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    smtp_url: Option<SecretString>,
    smtp_from: Option<String>,
    pg_bin: Option<PathBuf>,
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
    /// The folder of metadata that is applied at start.
    pub metadata: Option<PathBuf>,
    /// Private networks that sinks may reach.
    pub allow_nets: Vec<Net>,
    /// The bootstrap admin key.
    pub admin_key: Option<SecretString>,
    /// The key that encrypts secrets at rest; embedded mode makes its own.
    pub secret_key: Option<SecretString>,
    /// The mail server and the sender of mails.
    pub mail: Option<MailSettings>,
    /// Where the binaries of a private Postgres are.
    pub pg_bin: Option<PathBuf>,
    /// Everything that has a bound.
    pub limits: Limits,
}

/// The bounds of everything that could grow or wait. Names end in their unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in the repository's pool; two more are opened for capture.
    pub connections_max: u32,
    /// Changes that one publishing transaction takes.
    pub changes_per_batch_max: usize,
    /// The largest before and after image together, in bytes; a larger change is published as a
    /// gap.
    pub value_bytes_max: u32,
    /// How long a sleeping reader trusts the doorbell before it looks by itself.
    pub safety_poll_ms: u64,
    /// Deliveries that wait for a sender in memory, at most.
    pub deliveries_in_memory_max: usize,
    /// Requests under way at once.
    pub senders_max: usize,
    /// Requests under way at once to one host.
    pub senders_per_host_max: usize,
    /// The deadline of one request, from resolving the name to the answer's last byte.
    pub request_timeout_ms: u64,
    /// How long a claim holds; longer than a request may take.
    pub lease_ms: u64,
    /// How often due deliveries are looked for without a nudge.
    pub deliver_poll_ms: u64,
    /// The largest body of one part of a digest, in bytes, unless a single item is larger.
    pub digest_part_bytes_max: usize,
    /// Items in one part of a digest.
    pub digest_part_items_max: usize,
    /// How long changes are kept.
    pub change_retention_hours: u64,
    /// How long one leaf of the change table is written.
    pub rotation_hours: u64,
    /// The largest request body of the API, in bytes.
    pub body_bytes_max: usize,
    /// The largest event that is submitted to the API, in bytes.
    pub event_bytes_max: usize,
    /// Events that one request submits, at most.
    pub events_per_request_max: usize,
    /// How long the ids of submitted events are remembered, so that one that is sent again is
    /// published once.
    pub event_accepted_days: u32,
    /// How long stopping may take before requests under way are left to be sent again.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10,
            changes_per_batch_max: 2_000,
            value_bytes_max: 4 * 1024 * 1024,
            safety_poll_ms: 5_000,
            deliveries_in_memory_max: 8_000,
            senders_max: 256,
            senders_per_host_max: 64,
            request_timeout_ms: 15_000,
            lease_ms: 60_000,
            deliver_poll_ms: 2_000,
            digest_part_bytes_max: 1024 * 1024,
            digest_part_items_max: 10_000,
            change_retention_hours: 7 * 24,
            rotation_hours: 24,
            body_bytes_max: 1024 * 1024,
            event_bytes_max: 256 * 1024,
            events_per_request_max: 1_000,
            event_accepted_days: 7,
            drain_ms: 10_000,
        }
    }
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
            metadata: flags.metadata.or(file.metadata),
            allow_nets,
            admin_key: flags.admin_key.or(file.admin_key),
            secret_key: flags.secret_key.or(file.secret_key),
            mail: mail.transpose()?,
            pg_bin: flags.pg_bin.or(file.pg_bin),
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
        }
        self.limits.validate()
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

impl Limits {
    /// Limits for tests: small, so that their edges are reached.
    #[must_use]
    pub fn for_testing() -> Self {
        Self {
            connections_max: 6,
            changes_per_batch_max: 100,
            value_bytes_max: 100_000,
            request_timeout_ms: 2_000,
            lease_ms: 10_000,
            deliveries_in_memory_max: 400,
            senders_max: 16,
            senders_per_host_max: 16,
            deliver_poll_ms: 20,
            drain_ms: 2_000,
            ..Self::default()
        }
    }

    /// Checks each limit and the relations between them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("connections_max", u64::from(self.connections_max)),
            ("changes_per_batch_max", self.changes_per_batch_max as u64),
            ("value_bytes_max", u64::from(self.value_bytes_max)),
            ("safety_poll_ms", self.safety_poll_ms),
            (
                "deliveries_in_memory_max",
                self.deliveries_in_memory_max as u64,
            ),
            ("senders_max", self.senders_max as u64),
            ("senders_per_host_max", self.senders_per_host_max as u64),
            ("request_timeout_ms", self.request_timeout_ms),
            ("deliver_poll_ms", self.deliver_poll_ms),
            ("digest_part_items_max", self.digest_part_items_max as u64),
            ("rotation_hours", self.rotation_hours),
            ("body_bytes_max", self.body_bytes_max as u64),
            ("event_bytes_max", self.event_bytes_max as u64),
            ("events_per_request_max", self.events_per_request_max as u64),
            ("event_accepted_days", u64::from(self.event_accepted_days)),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(invalid(format!(
                    "limits.{name} is 0; it must be at least 1"
                )));
            }
        }
        let relations = [
            (
                self.connections_max >= 5,
                "limits.connections_max must be at least 5: publishing, delivering, digests, upkeep \
                 and the API use connections at the same time",
            ),
            (
                self.digest_part_bytes_max >= 4_096,
                "limits.digest_part_bytes_max must be at least 4096: what is round the items takes \
                 some of it",
            ),
            (
                self.lease_ms >= 2 * self.request_timeout_ms,
                "limits.lease_ms must be at least twice limits.request_timeout_ms, or a delivery \
                 would be sent again while its request is still under way",
            ),
            (
                self.senders_per_host_max <= self.senders_max,
                "limits.senders_per_host_max must not be larger than limits.senders_max",
            ),
            (
                self.senders_max <= self.deliveries_in_memory_max,
                "limits.senders_max must not be larger than limits.deliveries_in_memory_max",
            ),
            (
                self.event_accepted_days <= 3_650,
                "limits.event_accepted_days must not be larger than 3650",
            ),
            (
                self.event_bytes_max <= self.body_bytes_max,
                "limits.event_bytes_max must not be larger than limits.body_bytes_max: a request \
                 holds at least one event",
            ),
            (
                self.change_retention_hours >= self.rotation_hours,
                "limits.change_retention_hours must not be smaller than limits.rotation_hours: \
                 changes are dropped a whole leaf at a time",
            ),
        ];
        match relations.into_iter().find(|(holds, _)| !holds) {
            Some((_, text)) => Err(invalid(text)),
            None => Ok(()),
        }
    }

    /// The longest that a delayed delivery waits for its event's synchronous ones: an attempt, and
    /// a lease of whoever was to make it and vanished (design section 4).
    #[must_use]
    pub fn barrier(&self) -> Duration {
        self.request_timeout() + self.lease()
    }

    /// `request_timeout_ms` as a duration.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// `lease_ms` as a duration.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
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
