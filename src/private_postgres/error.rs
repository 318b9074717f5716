//! What can go wrong with a private Postgres, each with what the operator can do about it.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::binaries::{MAJOR_MIN, Refusal, Version};

/// Why a private Postgres could not be found, started or stopped.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum PrivatePostgresError {
    /// No directory holds a PostgreSQL server that Rowcall can run.
    #[error(
        "no PostgreSQL server of version {MAJOR_MIN} or later was found{}",
        bullets(refused)
    )]
    #[diagnostic(
        code(rowcall::private_postgres::no_binaries),
        help(
            "install one: {install}\nor name its programs' directory in PG_BIN, or a running server in DATABASE_URL"
        )
    )]
    NoBinaries {
        /// The places that were looked at and why each was refused.
        refused: Vec<Refusal>,
        /// The one command that installs what is missing on this system.
        install: &'static str,
    },

    /// The data directory was made by a PostgreSQL version that is not installed.
    #[error(
        "the data in {} was written by PostgreSQL {major}, but the versions found are: {}",
        directory.display(),
        versions(found)
    )]
    #[diagnostic(
        code(rowcall::private_postgres::version_mismatch),
        help(
            "install PostgreSQL {major} or name its programs' directory in PG_BIN; \
              or choose another directory to start with an empty cluster"
        )
    )]
    VersionMismatch {
        /// The cluster directory.
        directory: PathBuf,
        /// The major version that wrote it.
        major: u32,
        /// The versions that could be run instead, which cannot read it.
        found: Vec<Version>,
    },

    /// The directory holds something else.
    #[error("{} is not empty and holds no cluster made by Rowcall", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::not_ours),
        help("choose an empty directory, or one that does not exist yet")
    )]
    NotOurs {
        /// The directory that was refused.
        directory: PathBuf,
    },

    /// Another Rowcall owns the directory.
    #[error("--embedded {} is in use by process {pid}", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::in_use),
        help("stop process {pid} first, or choose another directory")
    )]
    InUse {
        /// The cluster directory.
        directory: PathBuf,
        /// The process that holds its lock.
        pid: u32,
    },

    /// A former owner is dead, but its guardian did not finish in time.
    #[error("--embedded {} is still being shut down after its owner died", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::lock_not_released),
        help("try again; if it stays so, look for a process that holds {}", lock.display())
    )]
    LockNotReleased {
        /// The cluster directory.
        directory: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },

    /// Rowcall runs as root and finds no account for the server, which refuses root.
    #[error("PostgreSQL does not run as root, and /etc/passwd has neither `postgres` nor `nobody`")]
    #[diagnostic(
        code(rowcall::private_postgres::no_account),
        help("create one: useradd --system postgres; or run Rowcall as an ordinary user")
    )]
    NoAccount,

    /// The server's account cannot get to a path it needs.
    #[error("user `{account}`, who runs the server, cannot enter {} on the way to {}",
        parent.display(), path.display())]
    #[diagnostic(
        code(rowcall::private_postgres::not_traversable),
        help("choose a directory this user can reach, for example below /var/lib; \
              or open the parent: chmod o+x {}", parent.display())
    )]
    NotTraversable {
        /// The first directory on the way that is closed.
        parent: PathBuf,
        /// Where the way leads.
        path: PathBuf,
        /// The account that was stopped.
        account: String,
    },

    /// No directory could be had whose path will do for a Unix socket.
    #[error("the socket cannot be in {}: its path may have {bytes_max} bytes and no comma",
        path.display())]
    #[diagnostic(
        code(rowcall::private_postgres::no_socket_path),
        help("set TMPDIR to a directory with a short, plain path")
    )]
    NoSocketPath {
        /// The directory that was refused.
        path: PathBuf,
        /// The longest path of a socket that the operating system accepts.
        bytes_max: usize,
    },

    /// The path cannot be written into a connection URL.
    #[error("{} is not valid UTF-8", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::not_utf8),
        help("choose a directory whose path is plain text")
    )]
    NotUtf8 {
        /// The cluster directory.
        directory: PathBuf,
    },

    /// initdb said no.
    #[error("initdb could not prepare {}:\n{output}", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::init_failed),
        help("initdb's last words are above; check free space and permissions of the directory")
    )]
    InitFailed {
        /// The cluster directory.
        directory: PathBuf,
        /// The end of what initdb printed.
        output: String,
    },

    /// The server ended instead of accepting connections.
    #[error("the private Postgres in {} did not start; its log ends with:\n{log}", directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::start_failed),
        help("the whole log is {}/server.log; a line with FATAL names the cause", directory.display())
    )]
    StartFailed {
        /// The cluster directory.
        directory: PathBuf,
        /// The end of the server's log.
        log: String,
    },

    /// The server neither ended nor accepted connections in time.
    #[error("the private Postgres in {} was not ready after {waited_s} s; its log ends with:\n{log}",
        directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::start_timed_out),
        help("recovery after a crash can take long on a slow disk: try again, and watch {}/server.log",
            directory.display())
    )]
    StartTimedOut {
        /// The cluster directory.
        directory: PathBuf,
        /// How long it was given, in seconds.
        waited_s: u64,
        /// The end of the server's log.
        log: String,
    },

    /// The server belongs to someone else, who started it before this process joined it.
    #[error("the server in {} was not started by this process, so it cannot be restarted by it",
        directory.display())]
    #[diagnostic(
        code(rowcall::private_postgres::not_started_here),
        help("stop it with: pg_ctl stop -D {}/data", directory.display())
    )]
    NotStartedHere {
        /// The cluster directory.
        directory: PathBuf,
    },

    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(
        code(rowcall::private_postgres::io),
        help("check the path, its permissions and the free space")
    )]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) type Result<T, E = PrivatePostgresError> = std::result::Result<T, E>;

/// Says what was tried on which path: `fs::read(path).map_err(cannot("read", path))?`.
pub(super) fn cannot(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> PrivatePostgresError {
    move |source| PrivatePostgresError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn bullets(refused: &[Refusal]) -> String {
    refused
        .iter()
        .map(|refusal| format!("\n  - {refusal}"))
        .collect()
}

fn versions(found: &[Version]) -> String {
    found
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
