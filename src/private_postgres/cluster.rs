//! One private cluster from start to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::binaries::Binaries;
use super::directory::{ClusterDirectory, remove_directory};
use super::error::{PrivatePostgresError, Result};
use super::guardian::Guardian;
use super::lock::DirectoryLock;
use super::poll::poll_until;
use super::postmaster_file::{self, PostmasterFile};
use super::server::{Server, StopMode};
use super::socket::{SocketDirectory, unique_temporary_path};

/// After a postmaster was killed, its other processes leave within this time.
const ORPHANS_LIMIT: Duration = Duration::from_secs(10);
/// What the server logs while they have not (PostgreSQL: `utils/init/miscinit.c`).
const ORPHANS_MESSAGE: &str = "pre-existing shared memory block";

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where the cluster lives; created if it does not exist, together with its parents.
    pub directory: PathBuf,
    /// Settings of the server, `("max_connections", "200")`. They win over the defaults; those that
    /// would open the server to the network have no effect.
    pub settings: Vec<(String, String)>,
    /// Whether committed rows survive a crash of the machine. Without it tests run faster; a crash
    /// of Postgres or Rowcall alone loses nothing either way.
    pub durable: bool,
    /// Whether the directory is removed when the cluster stops.
    pub temporary: bool,
    /// The value of `PG_BIN`: the directory of the programs to use instead of the newest found.
    pub pg_bin: Option<PathBuf>,
}

impl ClusterOptions {
    /// A durable cluster that stays in `directory`.
    #[must_use]
    pub fn persistent(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            settings: Vec::new(),
            durable: true,
            temporary: false,
            pg_bin: None,
        }
    }

    /// A cluster without durability in a new directory below the temporary directory, removed with
    /// the cluster.
    #[must_use]
    pub fn temporary() -> Self {
        let durable = false;
        Self {
            durable,
            temporary: true,
            ..Self::persistent(unique_temporary_path())
        }
    }

    /// Adds a setting of the server.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn all_settings(&self) -> Vec<String> {
        let mut all = vec![
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
            // The role is called as Rowcall's schema is: by the default, "$user" first, what people
            // create in this cluster without naming a schema would land among Rowcall's tables.
            "search_path=public".to_owned(),
        ];
        if !self.durable {
            all.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        // Later ones win.
        all.extend(
            self.settings
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        all
    }
}

/// A running private Postgres. Dropping it stops the server, if it was started here.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    binaries: Binaries,
    directory: ClusterDirectory,
    socket: SocketDirectory,
    /// `None` before the start, after the stop, after a crash, and for a server that was joined.
    server: Option<Server>,
    /// `None` after the stop, and for a server that was joined.
    guardian: Option<Guardian>,
    lock: Option<DirectoryLock>,
    reused: bool,
}

impl Cluster {
    /// Starts a cluster, making it first where there is none. A server that runs in the directory
    /// already, left by someone who owns it no longer, is joined.
    ///
    /// Blocks: about 50 ms for an existing cluster, 1 s for a new one, up to 2 minutes when a
    /// server has much to recover.
    ///
    /// # Errors
    /// [`PrivatePostgresError`]; nothing is left running then.
    pub fn start(options: ClusterOptions) -> Result<Self> {
        let pg_bin = options.pg_bin.as_deref();
        let binaries = match ClusterDirectory::major(&options.directory) {
            Some(major) => Binaries::find_for_data(pg_bin, major, &options.directory)?,
            None => Binaries::find(pg_bin)?,
        };
        let directory = ClusterDirectory::prepare(&options.directory, &binaries)?;
        let lock = DirectoryLock::take(&directory.path)?;
        let joined = running_server(&directory.data());
        let reused = joined.is_some();
        let socket = match joined {
            Some(socket) => socket,
            None => SocketDirectory::for_cluster(&directory)?,
        };
        // From here on Drop cleans up.
        let mut cluster = Self {
            options,
            binaries,
            directory,
            socket,
            server: None,
            guardian: None,
            lock: Some(lock),
            reused,
        };
        if !reused {
            cluster.guard()?;
            cluster.launch()?;
        }
        Ok(cluster)
    }

    /// Stops the server, unless it was only joined, and leaves nothing behind but the data of a
    /// cluster that is not temporary.
    ///
    /// # Errors
    /// When a process cannot be waited for, or a directory not be removed.
    pub fn stop(mut self, mode: StopMode) -> Result<()> {
        self.shut_down(mode)
    }

    /// Kills the server as a crash would (SIGKILL). [`Cluster::restart`] brings it back; the URLs
    /// stay the same. Does nothing to a server that was joined.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn crash(&mut self) -> Result<()> {
        match (self.server.take(), &mut self.guardian) {
            (Some(mut server), Some(guardian)) => server.kill(guardian),
            _ => Ok(()),
        }
    }

    /// Starts the server again, after a fast stop if it runs.
    ///
    /// # Errors
    /// As [`Cluster::start`]; also for a server that was joined.
    pub fn restart(&mut self) -> Result<()> {
        self.stop_server(StopMode::Fast)?;
        self.launch()
    }

    /// A URL of a database in this cluster, for libpq and diesel. A new cluster has the database
    /// `postgres`; the role is `rowcall`, a superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.socket.url(database)
    }

    /// The directory that holds the server's socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket.path
    }

    /// The cluster's directory, as an absolute path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// The process id of the server's main process; `None` when it does not run.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        PostmasterFile::read(&self.directory.data())
            .filter(PostmasterFile::accepts_connections)
            .map(|says| says.pid)
    }

    /// Whether the server was running already and was joined, so that it will not be stopped.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// The PostgreSQL programs in use.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The path of a program of the server's version, such as `pgbench`; it need not exist.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.binaries.bin(name)
    }

    /// A line to paste into a shell, to look into a database.
    #[must_use]
    pub fn psql_command(&self, database: &str) -> String {
        let own = self.bin("psql");
        let psql = if own.is_file() {
            own.to_string_lossy().into_owned()
        } else {
            "psql".to_owned()
        };
        let url = self.url(database).replace('\'', "'\\''");
        let psql = if is_plain(&psql) {
            psql
        } else {
            format!("'{}'", psql.replace('\'', "'\\''"))
        };
        format!("{psql} '{url}'")
    }

    fn guard(&mut self) -> Result<()> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let mut doomed = Vec::new();
        if self.socket.is_extra {
            doomed.push(self.socket.path.clone());
        }
        if self.options.temporary {
            doomed.push(self.directory.path.clone());
        }
        self.guardian = Some(Guardian::start(&self.directory.data(), &doomed, lock)?);
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let Some(guardian) = &mut self.guardian else {
            let directory = self.directory.path.clone();
            return Err(PrivatePostgresError::NotStartedHere { directory });
        };
        self.directory
            .initialise(&self.binaries, self.options.durable, guardian)?;
        remove_stale_files(&self.directory.data(), &self.socket)?;
        let settings = self.options.all_settings();
        let mut start = || {
            Server::start(
                &self.directory,
                &self.binaries,
                &self.socket,
                &settings,
                guardian,
            )
        };
        let server = poll_until(ORPHANS_LIMIT, || match start() {
            Err(PrivatePostgresError::StartFailed { log, .. }) if log.contains(ORPHANS_MESSAGE) => {
                Ok(None)
            }
            outcome => outcome.map(Some),
        })?;
        self.server = Some(match server {
            Some(server) => server,
            None => start()?,
        });
        Ok(())
    }

    fn stop_server(&mut self, mode: StopMode) -> Result<()> {
        match (self.server.take(), &mut self.guardian) {
            (Some(mut server), Some(guardian)) => server.stop(mode, guardian),
            _ => Ok(()),
        }
    }

    fn shut_down(&mut self, mode: StopMode) -> Result<()> {
        let stopped = self.stop_server(mode);
        let Some(guardian) = self.guardian.take() else {
            return stopped;
        };
        guardian.dismiss();
        self.socket.remove()?;
        if self.options.temporary {
            remove_directory(&self.directory.path)?;
        }
        stopped
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down(StopMode::Fast) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the private Postgres was not stopped cleanly");
        }
    }
}

/// The socket of a server that runs in a data directory and accepts connections.
fn running_server(data: &Path) -> Option<SocketDirectory> {
    let says = PostmasterFile::read(data).filter(PostmasterFile::accepts_connections)?;
    let path = says.socket_directory?;
    Some(SocketDirectory {
        path,
        port: says.port,
        is_extra: false,
    })
}

/// Removes the lock files of a killed server whose process id now belongs to another program.
fn remove_stale_files(data: &Path, socket: &SocketDirectory) -> Result<()> {
    if PostmasterFile::read(data).is_some_and(|says| says.is_of_another_program()) {
        let path = postmaster_file::path(data);
        fs::remove_file(&path).map_err(super::error::cannot("remove", &path))?;
        socket.remove_files()?;
    }
    Ok(())
}

fn is_plain(path: &str) -> bool {
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte))
}
