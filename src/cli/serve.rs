//! `rowcall serve`

use std::sync::Arc;

use clap::Args;
use miette::{IntoDiagnostic as _, miette};
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, signal::unix::SignalKind, sync::watch};

use super::database::{migrated, resolve};
use crate::{
    app::{Instance, Role, Settings},
    capture::install::reconcile,
    catalog::{
        apply::{Outcome, apply},
        examine::Order,
        load::Folder,
    },
    clock::Clock,
    config::{Config, ConfigError},
    db::{Connection, Database},
    observe::logging,
    sink::AddressGuard,
    stage::Stage as _,
    subscription::secret::SecretKey,
};

/// The arguments of `rowcall serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Which parts this instance runs
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Role::ALL)]
    roles: Vec<Role>,
}

/// Serves until SIGINT or SIGTERM, then drains. A second signal ends it at once.
///
/// # Errors
///
/// If it can't start; what fails while it runs is tried again and shown by /readyz.
pub async fn run(args: ServeArgs, config: Config) -> miette::Result<()> {
    logging::install();
    let (config, cluster) = resolve(config).await?;
    // Before anything is changed.
    let secret_key = secret_key(&config)?;
    for version in migrated(&config).await? {
        tracing::info!(version, "migrated");
    }
    apply_folder(&config).await?;
    let url = config.database_url.clone().ok_or(ConfigError::NoDatabase)?;
    if let Some(cluster) = &cluster {
        tracing::info!(
            psql = cluster.psql_command("rowcall"),
            "the private Postgres runs"
        );
    }
    let settings = Settings {
        database_url: url,
        secret_key,
        admin_key: config.admin_key.clone(),
        allow_nets: config.allow_nets.clone(),
        mail: config.mail.clone(),
        public_url: config.public_url.clone(),
        verify: config.verify.clone(),
        sources: config.sources.clone(),
        limits: config.limits.clone(),
        safety_poll: true,
    };
    let mut instance = Instance::build(settings, Clock::System).await?;
    // Once before the doors open, so that the first writer meets its triggers.
    if args.roles.contains(&Role::Publish)
        && let Err(error) = instance.upkeep.run_once(Clock::System.now()).await
    {
        tracing::warn!(
            error = crate::stage::chain(&error),
            "upkeep failed; it will be tried again"
        );
    }
    // Before the log says that it listens: who reads that may stop it.
    let shutdown = shutdown_on_signal()?;
    let listener = if args.roles.contains(&Role::Api) {
        Some(listen(&config).await?)
    } else {
        None
    };
    instance.run(listener, &args.roles, shutdown).await;
    // Stopping the private Postgres blocks.
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .into_diagnostic()
}

/// The key that encrypts secrets.
///
/// # Errors
///
/// If none was set.
pub fn secret_key(config: &Config) -> miette::Result<SecretKey> {
    config.secret_key().into_diagnostic()?.ok_or_else(|| {
        miette!(
            help = "set it to 64 hexadecimal digits and keep it: without it the secrets of \
                    subscriptions can't be read again. Make it with `openssl rand -hex 32`",
            "ROWCALL_SECRET_KEY is not set"
        )
    })
}

async fn listen(config: &Config) -> miette::Result<TcpListener> {
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        miette!(
            help = "name an address of this machine with a free port: --listen 127.0.0.1:8081, or \
                    ROWCALL_LISTEN",
            "the API can't listen on {}: {error}",
            config.listen
        )
    })?;
    tracing::info!(address = %listener.local_addr().into_diagnostic()?, "the API listens");
    Ok(listener)
}

async fn apply_folder(config: &Config) -> miette::Result<()> {
    let Some(directory) = config.metadata.clone() else {
        return Ok(());
    };
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let guard = AddressGuard::new(config.allow_nets.clone());
    let folder = tokio::task::spawn_blocking(move || Folder::read(&directory));
    let folder = folder.await.into_diagnostic()??;
    let mut order = Order::new(folder, guard, Some(Arc::new(secret_key(config)?)));
    order.mail = config.mail.clone();
    order.sources = config.sources.clone();
    let value_bytes_max = config.limits.value_bytes_max;
    let install = move |connection: &mut Connection, catalog: &_, now| {
        reconcile(connection, catalog, value_bytes_max, now)
    };
    match apply(&database, Arc::new(order), Clock::System.now(), install).await? {
        Outcome::Unchanged { version } => {
            tracing::info!(version, "the metadata folder is unchanged");
        }
        Outcome::Applied {
            version, secrets, ..
        } => {
            tracing::info!(version, "applied the metadata folder");
            for (subscription, _) in secrets {
                tracing::warn!(
                    subscription,
                    "a secret was generated and is not shown in logs; apply the folder with \
                     `rowcall metadata apply` to see it, or set it with secret = {{ env = ... }}"
                );
            }
        }
    }
    Ok(())
}

/// Turns true at the first SIGINT or SIGTERM; the second ends the process.
///
/// # Errors
///
/// If the handlers can't be installed.
pub fn shutdown_on_signal() -> miette::Result<watch::Receiver<bool>> {
    let (stop, shutdown) = watch::channel(false);
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt()).into_diagnostic()?;
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate()).into_diagnostic()?;
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            tracing::info!("stopping; another signal stops at once");
            stop.send_replace(true);
        }
    });
    Ok(shutdown)
}
