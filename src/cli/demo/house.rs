//! What the demo runs in: a private Postgres with the shop, Rowcall itself, and the receivers.

use std::{
    collections::{BTreeMap, HashSet},
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use miette::{IntoDiagnostic as _, WrapErr as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    ledger::{Early, Evidence, Ledger},
    mails::Mails,
    receivers::{Receivers, bind},
    shop::{CUSTOMERS, SKUS, store::shop_create},
    store::{
        WorkLeft, database_create, deliveries_suppressed, delivery_attempts, delivery_blocked,
        digest_counts, events_published, events_released, suppressions, work_left,
    },
    subscribers::{SUBSCRIBERS, metadata, place},
};
use crate::{
    account::{Account, account_read},
    app::{Instance, Role, Settings},
    capture::install::reconcile,
    catalog::{
        apply::{Outcome, apply},
        examine::Order,
        load::Folder,
    },
    clock::Clock,
    config::{Limits, Sources},
    db::{Connection, Database, DbError, migrate},
    private_postgres::{Cluster, ClusterOptions},
    sink::{AddressGuard, Net, SigningSecret},
    subscription::{secret::SecretKey, verify::VerifySettings},
};

const DATABASE: &str = "rowcall";
/// Where sinks may go: the receivers are on this machine.
const ALLOWED: &str = "127.0.0.0/8";
/// Connections of the demo itself, which asks for the account and for what is left to do.
const CONNECTIONS: u32 = 1;
/// Characters of the generated admin key.
const ADMIN_KEY_CHARS: usize = 32;

/// What Rowcall has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Events that were published.
    pub(super) events: i64,
    /// Deliveries that constraints suppressed.
    pub(super) suppressed: i64,
}

/// Everything that runs but the writers.
pub(super) struct House {
    pub(super) url: SecretString,
    pub(super) receivers: Receivers,
    receivers_at: SocketAddr,
    api_at: SocketAddr,
    admin_key: SecretString,
    database: Database,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    cluster: Cluster,
}

impl House {
    /// Starts it all.
    ///
    /// # Errors
    ///
    /// If Postgres can't be started, and whatever else a server may lack.
    pub(super) async fn start(
        listen: SocketAddr,
        pg_bin: Option<PathBuf>,
        mails: &Mails,
        ledger: &Arc<Ledger>,
    ) -> miette::Result<Self> {
        let mail = mails.settings()?;
        let (cluster, url) = tokio::task::spawn_blocking(move || cluster_start(pg_bin))
            .await
            .into_diagnostic()??;
        let (hooks, receivers_at) = bind().await.into_diagnostic()?;
        let net: Net = ALLOWED.parse().into_diagnostic()?;
        let limits = Limits::default();
        let key_text = SecretKey::generate_text().into_diagnostic()?;
        let secret_key = SecretKey::parse(&key_text).into_diagnostic()?;
        let admin_key = SecretKey::generate_text().into_diagnostic()?;
        let admin_key = SecretString::from(&admin_key[..ADMIN_KEY_CHARS]);

        let database = Database::new(url.expose_secret(), CONNECTIONS);
        let mut order = Order::new(
            Folder::of_text("shop.toml", &metadata(receivers_at)),
            AddressGuard::new(vec![net]),
            Some(Arc::new(secret_key)),
        );
        order.mail = Some(mail.clone());
        let secrets = metadata_apply(&database, order, limits.value_bytes_max).await?;
        let receivers = Receivers::start(hooks, secrets, ledger);
        let settings = Settings {
            database_url: url.clone(),
            secret_key: SecretKey::parse(&key_text).into_diagnostic()?,
            admin_key: Some(admin_key.clone()),
            allow_nets: vec![net],
            mail: Some(mail),
            public_url: None,
            verify: VerifySettings::default(),
            sources: Sources::default(),
            limits,
            safety_poll: true,
        };
        let instance = Instance::build(settings, Clock::System).await?;
        let listener = api_listen(listen).await?;
        let api_at = listener.local_addr().into_diagnostic()?;
        let (stop, stopped) = watch::channel(false);
        let running =
            tokio::spawn(async move { instance.run(Some(listener), &Role::ALL, stopped).await });
        Ok(Self {
            url,
            receivers,
            receivers_at,
            api_at,
            admin_key,
            database,
            stop,
            running,
            cluster,
        })
    }

    /// Commands to try while it runs, each to be pasted as it is.
    pub(super) fn how_to(&self, asked_for: SocketAddr, mails: &Path) -> String {
        let commands = include_str!("how_to.txt")
            .replace("{api}", &self.api_at.to_string())
            .replace("{receivers}", &self.receivers_at.to_string())
            .replace("{key}", self.admin_key.expose_secret())
            .replace("{mails}", &mails.display().to_string())
            .replace("{psql}", &self.cluster.psql_command(DATABASE));
        if asked_for.port() == 0 || asked_for == self.api_at {
            return commands;
        }
        let moved = format!("{asked_for} is in use, so the API is elsewhere.");
        format!("{moved}\n{commands}")
    }

    /// Whether Rowcall ended by itself, which it never should.
    pub(super) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// What Rowcall has done so far.
    pub(super) async fn progress(&self) -> Result<Progress, DbError> {
        self.database
            .run(|c| {
                Ok(Progress {
                    events: events_published(c)?,
                    suppressed: suppressions(c)?,
                })
            })
            .await
    }

    /// What is still to be worked on.
    pub(super) async fn work_left(&self) -> Result<WorkLeft, DbError> {
        self.database.transaction(|c| Ok(work_left(c)?)).await
    }

    pub(super) async fn account(&self) -> Result<Account, DbError> {
        self.database
            .transaction(|c| Ok(account_read(c, "default")?))
            .await
    }

    /// Events of digests that came to nothing and were not sent.
    pub(super) async fn untold(&self) -> Result<i64, DbError> {
        let counts = self
            .database
            .run(|c| digest_counts(c).map_err(DbError::from))
            .await?;
        Ok(counts.iter().map(|count| count.untold).sum())
    }

    /// What the repository says of what the ledger knows; `early` is what was early.
    pub(super) async fn evidence(&self, early: Vec<Early>) -> Result<Evidence, DbError> {
        self.database
            .transaction(move |c| {
                let mut evidence = Evidence {
                    blocked: blocked(c, &early)?,
                    released: events_released(c)?,
                    suppressed: deliveries_suppressed(c)?,
                    ..Evidence::default()
                };
                for (name, id, attempts) in delivery_attempts(c)? {
                    if let Some(place) = place(&name) {
                        evidence.attempts.insert((place, id), attempts);
                    }
                }
                for count in digest_counts(c)? {
                    if let Some(place) = place(&count.name) {
                        evidence.digest_events.insert(place, count.events);
                        evidence.untold.insert(place, count.untold);
                    }
                }
                Ok(evidence)
            })
            .await
    }

    /// Stops Rowcall, then the receivers, then Postgres, and removes its directory.
    pub(super) async fn stop(self) -> miette::Result<()> {
        self.stop.send_replace(true);
        self.running.await.into_diagnostic()?;
        drop((self.receivers, self.database));
        let cluster = self.cluster;
        tokio::task::spawn_blocking(move || drop(cluster))
            .await
            .into_diagnostic()
    }
}

fn cluster_start(pg_bin: Option<PathBuf>) -> miette::Result<(Cluster, SecretString)> {
    let options = ClusterOptions {
        // A commit waits for the disk, as in earnest; otherwise the times shown would flatter.
        durable: true,
        pg_bin,
        ..ClusterOptions::temporary()
    };
    let cluster = Cluster::start(options)?;
    database_create(&cluster.url("postgres"), DATABASE)?;
    let url = cluster.url(DATABASE);
    migrate(&url)?;
    shop_create(&url, CUSTOMERS, SKUS)?;
    Ok((cluster, SecretString::from(url)))
}

fn blocked(connection: &mut Connection, early: &[Early]) -> Result<HashSet<Early>, DbError> {
    let (events, names): (Vec<_>, Vec<_>) = early
        .iter()
        .map(|(event, place)| (*event, SUBSCRIBERS[*place].name))
        .unzip();
    let blocked = delivery_blocked(connection, &events, &names)?.into_iter();
    Ok(blocked
        .filter_map(|(event, name)| Some((event, place(&name)?)))
        .collect())
}

/// Applies the metadata and returns the secrets that were made for its subscriptions.
async fn metadata_apply(
    database: &Database,
    order: Order,
    value_bytes_max: u32,
) -> miette::Result<BTreeMap<String, SigningSecret>> {
    let install = move |connection: &mut Connection, catalog: &_, now| {
        reconcile(connection, catalog, value_bytes_max, now)
    };
    let outcome = apply(database, Arc::new(order), Clock::System.now(), install).await?;
    let secrets = match outcome {
        Outcome::Applied { secrets, .. } => secrets,
        Outcome::Unchanged { .. } => Vec::new(),
    };
    secrets
        .into_iter()
        .map(|(name, text)| {
            let secret = SigningSecret::parse(text.expose_secret()).into_diagnostic()?;
            Ok((name, secret))
        })
        .collect()
}

/// Listens where it was asked to, or on a free port if that one is in use.
async fn api_listen(address: SocketAddr) -> miette::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            TcpListener::bind((address.ip(), 0)).await
        }
        bound => bound,
    };
    bound
        .into_diagnostic()
        .wrap_err_with(|| format!("the API can't listen on {address}"))
}
