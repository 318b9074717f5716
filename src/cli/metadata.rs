//! `rowcall metadata`: says what a folder of metadata would change, and applies it.

use std::{io::Write, path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use miette::{IntoDiagnostic as _, WrapErr as _};
use secrecy::ExposeSecret as _;

use crate::{
    capture::install::reconcile,
    catalog::{
        apply::{Outcome, apply, plan},
        conflict::Take,
        examine::Order,
        load::Folder,
        model::Catalog,
    },
    clock::Clock,
    config::{Config, ConfigError},
    db::{Connection, Database, DbError, migrate},
    sink::AddressGuard,
};

/// The longest author and reason, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// Plans and applies a folder of metadata
#[derive(Args, Debug)]
pub struct MetadataArgs {
    #[command(subcommand)]
    command: MetadataCommand,
}

#[derive(Debug, Subcommand)]
enum MetadataCommand {
    /// Says what applying the folder would change, and changes nothing
    Plan {
        /// The folder of .toml files
        directory: PathBuf,
        /// Whose word holds where the API edited what the folder has
        #[arg(long)]
        take: Option<Take>,
    },
    /// Makes the folder the running catalogue, in one transaction
    Apply {
        /// The folder of .toml files
        directory: PathBuf,
        /// Why, for the list of versions
        #[arg(long, default_value = "", value_parser = text_read)]
        reason: String,
        /// Who, for the list of versions
        #[arg(long, env = "USER", default_value = "unknown", value_parser = text_read)]
        author: String,
        /// Whose word holds where the API edited what the folder has
        #[arg(long)]
        take: Option<Take>,
    },
}

fn text_read(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!(
            "write at most {TEXT_CHARS_MAX} characters, on one line"
        ));
    }
    Ok(text.to_owned())
}

/// Runs the sub-command.
///
/// # Errors
///
/// The report of an invalid folder; a database that can't be reached.
pub async fn run(args: MetadataArgs, config: &Config) -> miette::Result<()> {
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let text = match args.command {
        MetadataCommand::Plan { directory, take } => {
            let mut order = order(directory, config).await?;
            order.take = take;
            plan(&database, Arc::new(order)).await?.to_string()
        }
        MetadataCommand::Apply {
            directory,
            reason,
            author,
            take,
        } => {
            let mut order = order(directory, config).await?;
            order.take = take;
            order.reason = reason;
            order.author = author;
            let url = url.expose_secret().to_owned();
            tokio::task::spawn_blocking(move || migrate(&url))
                .await
                .map_err(|_| DbError::Panicked)??;
            let value_bytes_max = config.limits.value_bytes_max;
            let install = move |connection: &mut Connection, catalog: &Catalog, now| {
                reconcile(connection, catalog, value_bytes_max, now)
            };
            let outcome = apply(&database, Arc::new(order), Clock::System.now(), install).await?;
            outcome_text(&outcome)
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the answer could not be written")
}

async fn order(directory: PathBuf, config: &Config) -> miette::Result<Order> {
    let secret_key = config.secret_key().into_diagnostic()?.map(Arc::new);
    let guard = AddressGuard::new(config.allow_nets.clone());
    let folder = tokio::task::spawn_blocking(move || Folder::read(&directory))
        .await
        .into_diagnostic()??;
    let mut order = Order::new(folder, guard, secret_key);
    order.mail = config.mail.clone();
    order.sources = config.sources.clone();
    Ok(order)
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged { version } => {
            format!(
                "nothing to do: the folder is unchanged; the catalogue is at version {version}\n"
            )
        }
        Outcome::Applied {
            version,
            plan,
            secrets,
        } => {
            let mut text = plan.to_string();
            for (name, secret) in secrets {
                text.push_str(&format!(
                    "secret of subscription {name}, shown this once: {}\n",
                    secret.expose_secret()
                ));
            }
            text.push_str(&format!("applied as version {version}\n"));
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_told_in_words_with_generated_secrets_once() {
        let unchanged = outcome_text(&Outcome::Unchanged { version: 7 });
        assert_eq!(
            unchanged,
            "nothing to do: the folder is unchanged; the catalogue is at version 7\n"
        );
        let applied = outcome_text(&Outcome::Applied {
            version: 8,
            plan: Default::default(),
            secrets: vec![("erp".to_owned(), "whsec_x".to_owned().into())],
        });
        assert_eq!(
            applied,
            "0 to add, 0 to change, 0 to remove, 0 unchanged\n\
             secret of subscription erp, shown this once: whsec_x\n\
             applied as version 8\n"
        );
    }

    #[test]
    fn an_author_is_one_short_line() {
        assert_eq!(text_read(" ada ").as_deref(), Ok("ada"));
        assert!(text_read("a\nb").is_err());
        assert!(text_read(&"x".repeat(1_001)).is_err());
    }
}
