//! What all mails share: the way out, its connections, and how many mails are under way.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lettre::transport::smtp::client::AsyncSmtpConnection;
use rustls::pki_types::CertificateDer;
use tokio::{sync::Semaphore, task::AbortHandle};

use super::{
    compose::Mail,
    server::{Failure, MailServer, Step, quit, transfer},
    settings::{MailSettings, Route},
    verdict,
};
use crate::sink::Outcome;

/// How long a connection to the mail server is kept without use. Shorter than the 60 s and more
/// after which common servers close theirs.
pub const MAIL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The status of a mail that was written to a file: what a server would have answered.
const WRITTEN: u16 = 250;

/// Sends mails by one mail server, or writes them to files; clones share connections and limits.
#[derive(Clone)]
pub struct Mailer {
    inner: Arc<Inner>,
}

struct Inner {
    settings: MailSettings,
    way: Way,
    /// What a sink's limits are kept by: `host:port`, or the directory.
    host: String,
    /// Mails under way; lettre's pool would bound the idle connections alone.
    permits: Semaphore,
}

enum Way {
    Files(PathBuf),
    Server {
        server: Box<MailServer>,
        idle: Mutex<Vec<Idle>>,
    },
}

/// A connection that waits for its next mail.
struct Idle {
    connection: AsyncSmtpConnection,
    /// Closes it when nobody takes it.
    closer: AbortHandle,
    number: u64,
}

/// Why a mailer could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// TLS is unusable.
    #[error("{0}")]
    Tls(String),
    /// The directory for mails can't be made.
    #[error("the directory {directory} of ROWCALL_SMTP_URL can't be made")]
    Directory {
        /// Its path.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Mailer {
    /// A mailer by the operator's settings. Opens no connection yet; makes the directory of
    /// `file://`.
    ///
    /// # Errors
    ///
    /// [`MailerError`].
    pub fn new(settings: MailSettings) -> Result<Self, MailerError> {
        Self::trusting(settings, Vec::new())
    }

    /// The same, trusting `extra_roots` (DER) besides: a company's own authority, or a test's.
    ///
    /// # Errors
    ///
    /// [`MailerError`], as for [`Mailer::new`], or if an extra root is no certificate.
    pub fn trusting(
        settings: MailSettings,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, MailerError> {
        let (way, host) = match &settings.route {
            Route::File(directory) => {
                fs::create_dir_all(directory).map_err(|source| MailerError::Directory {
                    directory: directory.clone(),
                    source,
                })?;
                (Way::Files(directory.clone()), "file".to_owned())
            }
            Route::Smtp(route) => {
                let server = MailServer::new(route, extra_roots).map_err(MailerError::Tls)?;
                let way = Way::Server {
                    server: Box::new(server),
                    idle: Mutex::default(),
                };
                (way, format!("{}:{}", route.host, route.port))
            }
        };
        let permits = Semaphore::new(settings.connections_max);
        let inner = Inner {
            settings,
            way,
            host,
            permits,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn settings(&self) -> &MailSettings {
        &self.inner.settings
    }

    pub(super) fn host(&self) -> &str {
        &self.inner.host
    }

    /// Waits until fewer than the limit are under way.
    pub(super) async fn permit(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // Never closed.
        self.inner.permits.acquire().await.ok()
    }

    /// Hands one mail over. Dropped before its end, it takes its connection with it. `step` tells
    /// how far it came.
    pub(super) async fn hand_over(&self, mail: Mail, step: &mut Step) -> Outcome {
        match &self.inner.way {
            Way::Files(directory) => write(directory.clone(), mail).await,
            Way::Server { server, .. } => match self.transfer(server, &mail, step).await {
                Ok(status) => Outcome::Delivered { status },
                Err(failure) => verdict::outcome(&failure, *step, &self.inner.host),
            },
        }
    }

    async fn transfer(
        &self,
        server: &MailServer,
        mail: &Mail,
        step: &mut Step,
    ) -> Result<u16, Failure> {
        if let Some(mut connection) = self.idle_take() {
            match transfer(&mut connection, &mail.envelope, &mail.bytes, step).await {
                Ok(status) => {
                    self.idle_keep(connection);
                    return Ok(status);
                }
                Err(failure) if verdict::is_stale(&failure, *step) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut connection = server.connect(step).await?;
        let status = transfer(&mut connection, &mail.envelope, &mail.bytes, step).await?;
        self.idle_keep(connection);
        Ok(status)
    }

    fn idle_take(&self) -> Option<AsyncSmtpConnection> {
        let idle = self.inner.idle()?.pop()?;
        idle.closer.abort();
        Some(idle.connection)
    }

    /// Keeps a connection that is in step. There are never more than mails under way.
    fn idle_keep(&self, connection: AsyncSmtpConnection) {
        let Some(mut idle) = self.inner.idle() else {
            return;
        };
        let number = idle.iter().map(|idle| idle.number + 1).max().unwrap_or(0);
        let inner = Arc::downgrade(&self.inner);
        let closer = tokio::spawn(async move {
            tokio::time::sleep(MAIL_IDLE_TIMEOUT).await;
            if let Some(connection) = inner.upgrade().and_then(|inner| inner.idle_drop(number)) {
                quit(connection).await;
            }
        });
        idle.push(Idle {
            connection,
            closer: closer.abort_handle(),
            number,
        });
    }
}

impl Inner {
    fn idle(&self) -> Option<MutexGuard<'_, Vec<Idle>>> {
        match &self.way {
            Way::Files(_) => None,
            Way::Server { idle, .. } => Some(idle.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn idle_drop(&self, number: u64) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle()?;
        let place = idle.iter().position(|idle| idle.number == number)?;
        Some(idle.remove(place).connection)
    }
}

/// Writes a mail under its own name, whole or not at all. The same mail again replaces itself.
async fn write(directory: PathBuf, mail: Mail) -> Outcome {
    let written = tokio::task::spawn_blocking(move || write_file(&directory, &mail)).await;
    let reason = match written {
        Ok(Ok(())) => return Outcome::Delivered { status: WRITTEN },
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the writer ended early".to_owned(),
    };
    Outcome::Retry {
        status: None,
        detail: format!(
            "the mail can't be written: {reason}; check the directory of ROWCALL_SMTP_URL"
        ),
        retry_after: None,
    }
}

fn write_file(directory: &Path, mail: &Mail) -> std::io::Result<()> {
    let partial = directory.join(format!(".{}.partial", mail.file_name));
    fs::write(&partial, &mail.bytes)?;
    fs::rename(&partial, directory.join(&mail.file_name))
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
