//! Which database a command works with: the one that was named, or a private one that it runs.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use miette::{IntoDiagnostic as _, WrapErr as _};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    config::Config,
    db::{DbError, database_ensure, migrate},
    private_postgres::{Cluster, ClusterOptions},
    subscription::secret::SecretKey,
};

/// The database of a private cluster.
const DATABASE: &str = "rowcall";
/// Where a private cluster's secret key is kept, beside its data.
const KEY_FILE: &str = "secret.key";

/// Starts the private Postgres if the configuration asks for one, and fills in its URL and its
/// secret key. The cluster runs as long as the second value lives.
///
/// # Errors
///
/// If the private Postgres can't be started or its key can't be kept.
pub async fn resolve(mut config: Config) -> miette::Result<(Config, Option<Cluster>)> {
    let Some(directory) = config.embedded.clone() else {
        return Ok((config, None));
    };
    let pg_bin = config.pg_bin.clone();
    let has_key = config.secret_key.is_some();
    let started = tokio::task::spawn_blocking(move || start(&directory, pg_bin, has_key));
    let (cluster, url, key) = started.await.into_diagnostic()??;
    config.database_url = Some(url);
    config.secret_key = config.secret_key.or(key);
    Ok((config, Some(cluster)))
}

/// Migrates the configuration's database, on a blocking thread.
///
/// # Errors
///
/// Those of [`migrate`].
pub async fn migrated(config: &Config) -> miette::Result<Vec<String>> {
    let url = config
        .database_url
        .clone()
        .ok_or(crate::config::ConfigError::NoDatabase)?;
    let task = tokio::task::spawn_blocking(move || migrate(url.expose_secret()));
    Ok(task.await.map_err(|_| DbError::Panicked)??)
}

type Started = (Cluster, SecretString, Option<SecretString>);

fn start(directory: &Path, pg_bin: Option<PathBuf>, has_key: bool) -> miette::Result<Started> {
    let mut options = ClusterOptions::persistent(directory);
    options.pg_bin = pg_bin;
    // The cluster first: it refuses a directory that holds anything but its own.
    let cluster = Cluster::start(options)?;
    database_ensure(&cluster.url("postgres"), DATABASE)?;
    let key = if has_key {
        None
    } else {
        Some(kept_key(&directory.join(KEY_FILE))?)
    };
    let url = SecretString::from(cluster.url(DATABASE));
    Ok((cluster, url, key))
}

/// The key in the file; a new one if there is no file.
fn kept_key(path: &Path) -> miette::Result<SecretString> {
    let failed = || format!("the secret key can't be kept in {}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(SecretString::from(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = SecretKey::generate_text().into_diagnostic()?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .into_diagnostic()
                .wrap_err_with(failed)?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .into_diagnostic()
                .wrap_err_with(failed)?;
            Ok(SecretString::from(text))
        }
        Err(error) => Err(error).into_diagnostic().wrap_err_with(failed),
    }
}
