//! The command line: one file a sub-command.

pub mod account;
pub mod database;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod key;
pub mod metadata;
pub mod migrate;
pub mod secrets;
pub mod serve;
pub mod source;

use clap::{Parser, Subcommand};

use crate::config::{Config, Flags};

/// Tells subscribers of committed row changes of Postgres tables.
#[derive(Debug, Parser)]
#[command(name = "rowcall", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves: captures, publishes, delivers, and answers the API
    Serve(serve::ServeArgs),
    /// Shows it all at work: private Postgres, sample shop, writers, receivers, and the account
    Demo(demo::DemoArgs),
    /// Brings the repository's schema to this version
    Migrate,
    /// Shows or applies a folder of metadata
    Metadata(metadata::MetadataArgs),
    /// Names every hole in capture, and what mends it
    Doctor(doctor::DoctorArgs),
    /// Draws up the conservation account: what came in, and what became of all of it
    Account(account::AccountArgs),
    /// Tells why an event was, or was not, sent to a subscription
    Explain(explain::ExplainArgs),
    /// Creates, lists or revokes API keys
    Key(key::KeyArgs),
    /// Shows which keys encrypt secrets, and encrypts them anew with the present one
    Secrets(secrets::SecretsArgs),
    /// Shows the captured databases, detaches, rebases and uninstalls them
    Source(source::SourceArgs),
}

impl Cli {
    /// Runs the sub-command.
    ///
    /// # Errors
    ///
    /// What went wrong, for people: what, where, and what to do.
    pub async fn run(self) -> miette::Result<()> {
        let command = match self.command {
            // It brings its own database, so the settings need not name one.
            Command::Demo(args) => return demo::run(args, self.flags).await,
            command => command,
        };
        let config = Config::load(self.flags)?;
        match command {
            // Has returned already.
            Command::Demo(_) => Ok(()),
            Command::Serve(args) => serve::run(args, config).await,
            Command::Migrate => migrate::run(config).await,
            Command::Metadata(args) => {
                let (config, _running) = database::resolve(config).await?;
                metadata::run(args, &config).await
            }
            Command::Doctor(args) => {
                let (config, _running) = database::resolve(config).await?;
                doctor::run(args, &config).await
            }
            Command::Account(args) => {
                let (config, _running) = database::resolve(config).await?;
                account::run(args, &config).await
            }
            Command::Explain(args) => {
                let (config, _running) = database::resolve(config).await?;
                explain::run(args, &config).await
            }
            Command::Key(args) => {
                let (config, _running) = database::resolve(config).await?;
                key::run(args, &config).await
            }
            Command::Secrets(args) => {
                let (config, _running) = database::resolve(config).await?;
                secrets::run(args, &config).await
            }
            Command::Source(args) => {
                let (config, _running) = database::resolve(config).await?;
                source::run(args, &config).await
            }
        }
    }
}
