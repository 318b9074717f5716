//! The log: text on a terminal, JSON lines elsewhere, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Begins to log; `ROWCALL_LOG` filters, such as `info,rowcall::deliver=debug`. Does nothing the
/// second time.
pub fn install() {
    // The scheduler tells of its own insides.
    install_at("info,tokio_cron_scheduler=warn");
}

/// As [`install`], with what is logged unless `ROWCALL_LOG` says otherwise.
pub fn install_at(default: &str) {
    let filter = EnvFilter::builder()
        .with_env_var("ROWCALL_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails only if a log is installed already.
    let _ = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().try_init()
    };
}
