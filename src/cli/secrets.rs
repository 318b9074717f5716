//! `rowcall secrets`: which keys encrypt what is kept secret, and encrypting it anew.

use std::io::Write as _;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;

use super::serve::secret_key;
use crate::{
    config::{Config, ConfigError},
    db::{Connection, Database, DbError},
    registry::secret_key_check,
    subscription::{
        rekey::{REKEY_BATCH_MAX, Rekeyed, keys_used, rekey_batch},
        secret::SecretKey,
    },
};

/// Shows which keys encrypt secrets, and encrypts them anew with the present one
#[derive(Args, Debug)]
pub struct SecretsArgs {
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// Lists the ids of the keys that secrets are encrypted with, and how many each
    Keys,
    /// Encrypts everything anew with ROWCALL_SECRET_KEY; may be ended and begun again at any time
    Rekey,
}

/// Runs the sub-command.
///
/// # Errors
///
/// If the database or the keys can't be used, or, of `rekey`, if something can't be decrypted.
pub async fn run(args: SecretsArgs, config: &Config) -> miette::Result<()> {
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let text = match args.command {
        SecretsCommand::Keys => keys(&database, &secret_key(config)?).await?,
        SecretsCommand::Rekey => {
            let checked = secret_key(config)?;
            let check = move |connection: &mut Connection| secret_key_check(connection, &checked);
            database.transaction(check).await?;
            rekey(&database, config).await?
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the answer could not be written")
}

async fn keys(database: &Database, key: &SecretKey) -> miette::Result<String> {
    let used = database
        .run(|connection| Ok::<_, DbError>(keys_used(connection)?))
        .await?;
    let known = key.ids();
    let mut text = format!("{:<16}  {:>8}  KEY\n", "ID", "SECRETS");
    for one in &used {
        let id = one.key_id.as_deref().unwrap_or("not recorded");
        let what = match known.iter().position(|known| known == id) {
            Some(0) => "ROWCALL_SECRET_KEY",
            Some(_) => "in ROWCALL_SECRET_KEYS_OLD",
            None if one.key_id.is_none() => "one that is known, or missing",
            None => "missing",
        };
        text += &format!("{id:<16}  {:>8}  {what}\n", one.count);
    }
    for id in known {
        if used.iter().all(|one| one.key_id.as_ref() != Some(&id)) {
            text += &format!("{id:<16}  {:>8}  known, and not used\n", 0);
        }
    }
    Ok(text)
}

async fn rekey(database: &Database, config: &Config) -> miette::Result<String> {
    let mut so_far = Rekeyed::default();
    while !so_far.is_ended() {
        let (key, given) = (secret_key(config)?, so_far.clone());
        let batch = move |connection: &mut Connection| {
            rekey_batch(connection, &key, given, REKEY_BATCH_MAX)
        };
        so_far = database.transaction(batch).await?;
        // Progress that nobody can see is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{} secrets encrypted anew", so_far.done);
    }
    let id = secret_key(config)?.id();
    if so_far.unreadable.is_empty() {
        let done = format!("encrypted {} secrets anew with the key {id}", so_far.done);
        let used = database
            .run(|connection| Ok::<_, DbError>(keys_used(connection)?))
            .await?;
        let others = used.iter().filter(|one| one.key_id.as_ref() != Some(&id));
        return Ok(match others.map(|one| one.count).sum::<i64>() {
            0 => format!(
                "{done}; ROWCALL_SECRET_KEYS_OLD is needed no more when every instance runs with \
                 this key\n"
            ),
            others => format!(
                "{done}; {others} were written with another key meanwhile: run it once more when \
                 every instance runs with this key, and keep ROWCALL_SECRET_KEYS_OLD until then\n"
            ),
        });
    }
    let missing = so_far.unreadable.iter();
    let missing: Vec<String> = missing
        .map(|(id, count)| format!("{count} with the key {id}"))
        .collect();
    Err(miette!(
        help = "add these keys to ROWCALL_SECRET_KEYS_OLD and run it again, or give these \
                subscriptions new secrets; the others are done and are left alone",
        "encrypted {} secrets anew with the key {id}; these can't be decrypted: {}",
        so_far.done,
        missing.join(", ")
    ))
}
