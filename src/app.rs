//! The composition root: builds the parts of one instance, runs them until shutdown, drains.

mod bell;
mod serving;

use std::{sync::Arc, time::Duration};

use axum::Router;
use secrecy::{ExposeSecret, SecretString};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use uuid::Uuid;

use self::{bell::doorbell, serving::serve};
use crate::{
    account::Accounts,
    api::{ApiState, Intake, router},
    auth::{AdminKey, Keys},
    clock::Clock,
    config::{Limits, PublicUrl, Sources},
    db::{Connection, Database, DbError},
    deliver::{Deliver, heartbeat::Heartbeat, outbox::Outbox},
    digest::Digest,
    foreign::{SourceStages, unconfigured},
    lookout::{Bells, Lookout},
    observe::{
        metrics,
        readiness::{Need, Readiness},
    },
    publish::Publish,
    registry::{SecretKeyError, live::LiveRegistry, secret_key_check},
    replay::Replay,
    sink::{AddressGuard, ClientError, MailSettings, Mailer, MailerError, Net, WebhookClient},
    stage::{Nudge, Stage, drive},
    subscription::{rekey::missing_keys_tell, secret::SecretKey, verify::VerifySettings},
    upkeep::Upkeep,
    verification::Verification,
};

/// How often histograms are tidied while nobody reads /metrics.
const METRICS_TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// What an instance is built from.
pub struct Settings {
    /// The repository; migrated already.
    pub database_url: SecretString,
    /// Encrypts secrets at rest.
    pub secret_key: SecretKey,
    /// The bootstrap admin key.
    pub admin_key: Option<SecretString>,
    /// Private networks that sinks may reach.
    pub allow_nets: Vec<Net>,
    /// The mail server, if there is one.
    pub mail: Option<MailSettings>,
    /// Where subscribers reach the API; without it events have no `dataschema`.
    pub public_url: Option<PublicUrl>,
    /// How receivers are verified.
    pub verify: VerifySettings,
    /// The other databases whose rows are captured.
    pub sources: Sources,
    /// Everything that has a bound.
    pub limits: Limits,
    /// Off only in tests: then nothing but the doorbell wakes the reader.
    pub safety_poll: bool,
}

/// Why an instance could not be built.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildError {
    /// The secret key is not the repository's.
    #[error(transparent)]
    #[diagnostic(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// The database could not be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Database(#[from] DbError),
    /// The HTTP client could not be built.
    #[error("the webhook client could not be built")]
    #[diagnostic(help("check the system's resolver (/etc/resolv.conf) and its certificates"))]
    Client(#[from] ClientError),
    /// The mailer could not be built.
    #[error(transparent)]
    #[diagnostic(help("correct ROWCALL_SMTP_URL, or leave it out and no mails are sent"))]
    Mailer(#[from] MailerError),
}

/// The parts of one instance, built and not yet running. Tests run the stages by hand.
pub struct Instance {
    /// Changes to events to deliveries.
    pub publish: Publish,
    /// Deliveries to attempts.
    pub deliver: Deliver,
    /// Tells receivers how far their numbers go.
    pub beats: Heartbeat,
    /// Settled deliveries, sent again on request.
    pub replay: Replay,
    /// Windows of digests to deliveries.
    pub digest: Digest,
    /// Asks receivers for consent.
    pub verification: Verification,
    /// Asks for these whether there is anything to do.
    pub lookout: Lookout,
    /// Rotation, retention, triggers.
    pub upkeep: Upkeep,
    /// The same for the other databases, and the copying of their changes.
    pub sources: Vec<SourceStages>,
    /// The API.
    pub router: Router,
    /// What is claimed and under way.
    pub outbox: Outbox,
    /// What /readyz tells.
    pub readiness: Readiness,
    clock: Clock,
    drain: Duration,
}

/// Which parts an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The HTTP API.
    Api,
    /// Publishing, with digests and upkeep.
    Publish,
    /// Delivering.
    Deliver,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Api, Self::Publish, Self::Deliver];
}

impl Instance {
    /// Builds the parts. Fails if the secret key is not the repository's.
    pub async fn build(settings: Settings, clock: Clock) -> Result<Self, BuildError> {
        let Settings {
            database_url,
            secret_key,
            admin_key,
            allow_nets,
            mail,
            public_url,
            verify,
            sources,
            limits,
            safety_poll,
        } = settings;
        metrics::install();
        let url = database_url.expose_secret();
        let database = Database::new(url, limits.connections_max);
        let secret_key = Arc::new(secret_key);
        let checked = Arc::clone(&secret_key);
        let check = move |connection: &mut Connection| secret_key_check(connection, &checked);
        database.transaction(check).await?;

        let readiness = Readiness::default();
        missing_keys_tell(&database, secret_key.ids(), &readiness).await?;
        let accounts = Accounts::new(readiness.clone(), limits.account_interval_minutes);
        let configured = sources.clone();
        let unconfigured = move |connection: &mut Connection| unconfigured(connection, &configured);
        for (name, text) in database.transaction(unconfigured).await? {
            tracing::warn!("{text}");
            readiness.warning_set(name, text);
        }
        let guard = AddressGuard::new(allow_nets);
        let client = WebhookClient::new(guard.clone())?;
        let mailer = mail.clone().map(Mailer::new).transpose()?;
        let registry = LiveRegistry::new(Arc::clone(&secret_key), client, mailer);
        let registry = registry.asking_as(&verify.origin);
        let [deliver_nudge, wake, digests, ask] = std::array::from_fn(|_| Nudge::default());
        let (outbox, results) = Outbox::new(clock.clone(), &limits, deliver_nudge.clone());
        // Names this run in attempts.
        let instance = Uuid::new_v4();
        let safety_poll = safety_poll.then(|| Duration::from_millis(limits.safety_poll_ms));
        let bell = doorbell(None, url, &database, safety_poll, &readiness);
        let publish = Publish::new(
            database.of_stage(),
            bell,
            url,
            registry.clone(),
            outbox.clone(),
            digests.clone(),
            public_url,
            &limits,
        );
        let deliver = Deliver::new(
            database.of_stage(),
            registry.clone(),
            outbox.clone(),
            results,
            deliver_nudge,
            wake.clone(),
            instance,
            &limits,
        );
        let replay = Replay::new(&database, &registry, &outbox, instance, &limits);
        let beats = Heartbeat::new(database.clone(), registry.clone(), &limits);
        let verification = Verification::new(
            database.clone(),
            registry.clone(),
            verify.clone(),
            ask.clone(),
            wake.clone(),
            &limits,
        );
        let upkeep = Upkeep::new(database.clone(), limits.clone(), Nudge::default()).watching(
            registry.clone(),
            readiness.clone(),
            accounts.clone(),
        );
        let bells = Bells {
            deliver: wake.clone(),
            digest: digests.clone(),
            heartbeat: beats.nudge(),
            replay: replay.nudge(),
            verification: ask.clone(),
        };
        let lookout = Lookout::new(database.clone(), bells, &limits);
        let digest = Digest::new(database.clone(), registry, digests, wake.clone(), &limits);
        let publish = publish.telling(digest.gathered());
        let sources = sources
            .iter()
            .map(|(name, url)| {
                let there = Database::new(url.expose_secret(), 1);
                let url_there = url.expose_secret();
                let bell = doorbell(Some(name), url_there, &there, safety_poll, &readiness);
                SourceStages::new(name, url, &database_url, database.clone(), bell, &limits)
            })
            .collect();
        let drain = Duration::from_millis(limits.drain_ms);
        let router = router(ApiState {
            keys: Keys::new(database.clone()),
            intake: Intake::new(database.clone(), clock.clone(), &limits),
            database,
            clock: clock.clone(),
            secret_key,
            guard: Arc::new(guard),
            mail: mail.map(Arc::new),
            admin_key: admin_key.as_ref().map(AdminKey::new),
            limits,
            verify: verify.policy,
            wake,
            replays: replay.nudge(),
            ask,
            readiness: readiness.clone(),
            accounts,
        });
        Ok(Self {
            publish,
            deliver,
            beats,
            replay,
            digest,
            verification,
            lookout,
            upkeep,
            sources,
            router,
            outbox,
            readiness,
            clock,
            drain,
        })
    }

    /// Runs the parts that `roles` name until `shutdown` turns true, then stops them in the order
    /// of the flow: no more requests, no more publishing, then delivering drains.
    pub async fn run(
        self,
        listener: Option<TcpListener>,
        roles: &[Role],
        mut shutdown: watch::Receiver<bool>,
    ) {
        let (stop_deliver, deliver_stopped) = watch::channel(false);
        let (mut front, mut back) = (JoinSet::new(), JoinSet::new());
        let mut away = JoinSet::new();
        if let Some(listener) = listener {
            let (router, shutdown, drain) = (self.router, shutdown.clone(), self.drain);
            front.spawn(serve(listener, router, shutdown, drain));
        }
        let (clock, readiness) = (self.clock, self.readiness);
        let start = |name: &str, need| {
            let (health, reported) = watch::channel(None);
            readiness.check_add(name, need, reported);
            health
        };
        if !roles.contains(&Role::Deliver) {
            // Nobody here would write results, so what this instance publishes is left for others.
            self.outbox.close();
        }
        if roles.iter().any(|role| *role != Role::Api) {
            let health = start(self.lookout.name(), Need::Shown);
            front.spawn(drive(self.lookout, clock.clone(), health, shutdown.clone()));
        }
        let deliver = self.deliver.rung(self.digest.gathered());
        if roles.contains(&Role::Publish) {
            let health = start(self.publish.name(), Need::Necessary);
            front.spawn(drive(self.publish, clock.clone(), health, shutdown.clone()));
            for SourceStages { copy, upkeep } in self.sources {
                let health = start(copy.name(), Need::Shown);
                away.spawn(drive(copy, clock.clone(), health, shutdown.clone()));
                let health = start(upkeep.name(), Need::Shown);
                away.spawn(drive(upkeep, clock.clone(), health, shutdown.clone()));
            }
            let health = start(self.digest.name(), Need::Shown);
            front.spawn(drive(self.digest, clock.clone(), health, shutdown.clone()));
            let health = start(self.upkeep.name(), Need::Shown);
            front.spawn(drive(self.upkeep, clock.clone(), health, shutdown.clone()));
        }
        if roles.contains(&Role::Deliver) {
            let health = start(self.beats.name(), Need::Shown);
            front.spawn(drive(self.beats, clock.clone(), health, shutdown.clone()));
            let health = start(self.replay.name(), Need::Shown);
            back.spawn(drive(
                self.replay,
                clock.clone(),
                health,
                deliver_stopped.clone(),
            ));
            let health = start(self.verification.name(), Need::Shown);
            let stopped = shutdown.clone();
            front.spawn(drive(self.verification, clock.clone(), health, stopped));
            let health = start(deliver.name(), Need::Shown);
            back.spawn(drive(deliver, clock.clone(), health, deliver_stopped));
        }
        let tidy = tokio::spawn(async {
            loop {
                tokio::time::sleep(METRICS_TIDY_INTERVAL).await;
                metrics::tidy();
            }
        });
        // A sender that is gone asks for the end as well.
        let _ = shutdown.wait_for(|stop| *stop).await;
        while front.join_next().await.is_some() {}
        // Of a source that hangs nothing is waited for: what is not copied will be read again.
        let ended = async { while away.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.drain, ended).await;
        away.abort_all();
        stop_deliver.send_replace(true);
        while back.join_next().await.is_some() {}
        tidy.abort();
    }
}
