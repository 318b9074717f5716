//! `rowcall doctor`: names every hole in capture, and what mends it.

use std::{io::Write as _, time::Duration};

use clap::Args;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;

use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    db::DbError,
    doctor::{Question, examine},
};

/// Names every hole in capture, and what mends it
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// From which age on open transactions are told of, such as 30s, 10m or 2h
    #[arg(long, value_name = "AGE", default_value = "10m", value_parser = humantime::parse_duration)]
    long_transaction: Duration,
}

/// Runs the sub-command. It writes nothing into the database.
///
/// # Errors
///
/// If the database can't be reached, and if there is an error or a warning among the findings, so
/// that scripts see it.
pub async fn run(args: DoctorArgs, config: &Config) -> miette::Result<()> {
    let url = config.database_url.clone().ok_or(ConfigError::NoDatabase)?;
    let question = Question {
        limits: config.limits.clone(),
        long_transaction: args.long_transaction,
        now: Clock::System.now(),
    };
    let task = tokio::task::spawn_blocking(move || examine(url.expose_secret(), &question));
    let report = task.await.map_err(|_| DbError::Panicked)??;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).into_diagnostic()? + "\n",
        false => report.to_string(),
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .into_diagnostic()
        .wrap_err("the findings could not be written")?;
    if report.is_healthy() {
        return Ok(());
    }
    Err(miette!(
        help = "each finding names what mends it; docs/OPERATIONS.md says more of them",
        "something is to be done: {}",
        report.summary()
    ))
}
