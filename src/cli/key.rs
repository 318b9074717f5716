//! `rowcall key`: makes, lists and revokes the keys of the API.

use std::io::Write as _;

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;

use crate::{
    auth::{
        Role,
        store::{key_create, key_list, key_revoke},
    },
    clock::Clock,
    config::Config,
    db::{Database, DbError},
};

/// Manages the keys of the API
#[derive(Args, Debug)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key and prints it, once
    Create {
        /// For people: who or what uses the key
        #[arg(long, value_parser = name_read)]
        name: String,
        /// What the key may do
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Lists the keys, without their secrets
    List,
    /// Makes a key stop working
    Revoke {
        /// The key's id: the 12 characters after rck_
        id: String,
    },
}

/// The longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;

fn name_read(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty()
        || name.chars().count() > NAME_CHARS_MAX
        || name.chars().any(char::is_control)
    {
        return Err(format!(
            "a name has 1 to {NAME_CHARS_MAX} characters, on one line"
        ));
    }
    Ok(name.to_owned())
}

/// Runs the sub-command.
///
/// # Errors
///
/// If the database can't be reached, or there is no key to revoke.
pub async fn run(args: KeyArgs, config: &Config) -> miette::Result<()> {
    let url = config.database_url.as_ref().ok_or_else(|| {
        miette!(
            help = "name the database with DATABASE_URL or --database-url; for a private Postgres \
                    take its address from the log of `rowcall serve --embedded`",
            "keys are kept in a database, and none was named"
        )
    })?;
    let database = Database::new(url.expose_secret(), 1);
    let now = Clock::System.now();
    let text = match args.command {
        KeyCommand::Create { name, role } => {
            let key = database
                .run(move |connection| key_create(connection, &name, role, now))
                .await?;
            format!("{}\n", key.expose())
        }
        KeyCommand::List => list(&database).await?,
        KeyCommand::Revoke { id } => {
            // People paste the whole key; nothing of its secret is kept.
            let id = id.strip_prefix("rck_").unwrap_or(&id);
            let id = id.split('_').next().unwrap_or_default().to_owned();
            let asked = id.clone();
            let is_revoked = database
                .run(move |connection| Ok::<_, DbError>(key_revoke(connection, &asked, now)?))
                .await?;
            if !is_revoked {
                return Err(miette!(
                    help = "`rowcall key list` shows the keys and which of them are revoked",
                    "there is no key {id} that works"
                ));
            }
            format!("revoked {id}\n")
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the answer could not be written")
}

async fn list(database: &Database) -> miette::Result<String> {
    let keys = database
        .run(|connection| Ok::<_, DbError>(key_list(connection)?))
        .await?;
    let mut text = format!(
        "{:<12}  {:<10}  {:<20}  {:<20}  NAME\n",
        "ID", "ROLE", "CREATED", "REVOKED"
    );
    for key in keys {
        let time = |time: chrono::DateTime<chrono::Utc>| time.format("%FT%TZ").to_string();
        let line = format!(
            "{:<12}  {:<10}  {:<20}  {:<20}  {}\n",
            key.id,
            key.role,
            time(key.created_at),
            key.revoked_at.map_or_else(|| "-".to_owned(), time),
            key.name
        );
        text.push_str(&line);
    }
    Ok(text)
}
