//! `rowcall migrate`

use std::io::Write as _;

use miette::IntoDiagnostic as _;

use super::database::{migrated, resolve};
use crate::config::Config;

/// Brings the schema to this version and tells what was done.
///
/// # Errors
///
/// If the database can't be reached, lacks a privilege, or a migration fails.
pub async fn run(config: Config) -> miette::Result<()> {
    let (config, _running) = resolve(config).await?;
    let applied = migrated(&config).await?;
    let mut out = std::io::stdout().lock();
    if applied.is_empty() {
        writeln!(out, "the schema is up to date").into_diagnostic()?;
    }
    for version in applied {
        writeln!(out, "applied {version}").into_diagnostic()?;
    }
    Ok(())
}
