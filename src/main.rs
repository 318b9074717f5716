//! Parses the command line, runs it, prints the diagnostic.

use clap::Parser as _;
use rowcall::cli::Cli;

fn main() -> miette::Result<()> {
    // Fails only if a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| miette::miette!("the runtime can't be started: {error}"))?;
    let ended = runtime.block_on(cli.run());
    // A thread that waits for a server that hangs would be waited for.
    runtime.shutdown_background();
    ended
}
