//! `rowcall account`: what came in, and what became of all of it.

use std::io::Write as _;

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;

use crate::{
    account::{Report, draw_up},
    clock::Clock,
    config::{Config, ConfigError},
    db::Database,
};

/// How long a statement may take, in seconds. Somebody waits, and can stop waiting.
const TIMEOUT_S: u32 = 3_600;

/// Draws up the conservation account
#[derive(Args, Debug)]
pub struct AccountArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Runs the sub-command. It writes nothing into the database.
///
/// # Errors
///
/// If the database can't be reached, and if the account does not add up, so that scripts see it.
pub async fn run(args: AccountArgs, config: &Config) -> miette::Result<()> {
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let now = Clock::System.now();
    let report = database
        .transaction(move |connection| draw_up(connection, TIMEOUT_S, now))
        .await?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report.shown()).into_diagnostic()? + "\n",
        false => report.to_string(),
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the account could not be written")?;
    judged(&report)
}

fn judged(report: &Report) -> miette::Result<()> {
    if report.adds_up() {
        return Ok(());
    }
    Err(miette!(
        help = "docs/OPERATIONS.md says what to do",
        "the account does not add up: {} changes or pairs are missing or too many",
        report.imbalance()
    ))
}
