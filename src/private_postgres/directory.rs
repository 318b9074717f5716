//! The directory of a cluster: made, refused, given to the server's account, filled by initdb.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::binaries::Binaries;
use super::error::{PrivatePostgresError, Result, cannot};
use super::guardian::Guardian;
use super::lock::LOCK_FILE;

const DATA: &str = "data";
/// initdb works here and the result is renamed, so that `data` is always a finished one.
const UNFINISHED: &str = "data.new";
const LOG: &str = "server.log";
const LAST_LOG: &str = "server.log.1";

/// The end of a log that is shown in errors.
const TAIL_LINES_MAX: usize = 20;
const TAIL_BYTES_MAX: i64 = 8 * 1024;

/// Only the server's account may enter: whoever can reach the socket is trusted.
pub(super) const PRIVATE: u32 = 0o700;

/// A directory that belongs to a cluster, with the account that its server runs as.
#[derive(Debug)]
pub(super) struct ClusterDirectory {
    pub(super) path: PathBuf,
    account: Option<Account>,
}

impl ClusterDirectory {
    /// The major version that wrote the data in `directory`; `None` when there is none yet.
    pub(super) fn major(directory: &Path) -> Option<u32> {
        let text = fs::read_to_string(directory.join(DATA).join("PG_VERSION")).ok()?;
        text.trim().parse().ok()
    }

    /// Makes the directory, or takes one that is empty or a cluster's; refuses any other.
    pub(super) fn prepare(directory: &Path, binaries: &Binaries) -> Result<Self> {
        let path = resolve(directory)?;
        if path.to_str().is_none() {
            return Err(PrivatePostgresError::NotUtf8 { directory: path });
        }
        let account = Account::for_server(&path.join(DATA))?;
        if let Some(account) = &account {
            account.check_reaches(&path)?;
            account.check_reaches(&binaries.bin("postgres"))?;
        }
        if path.exists() {
            if !is_ours(&path).map_err(cannot("look into", &path))? {
                return Err(PrivatePostgresError::NotOurs { directory: path });
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(PRIVATE))
                .map_err(cannot("make private", &path))?;
        } else {
            DirBuilder::new()
                .mode(PRIVATE)
                .create(&path)
                .map_err(cannot("create", &path))?;
        }
        let prepared = Self { path, account };
        prepared.hand_over(&prepared.path)?;
        Ok(prepared)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Gives a path to the server's account, if that is not our own, and checks that it gets there.
    pub(super) fn hand_over(&self, path: &Path) -> Result<()> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        account.check_reaches(path)?;
        account.own(path)
    }

    /// A command that runs as the server's account, apart from our terminal: Ctrl-C reaches
    /// Rowcall, which then stops the server in order.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Postgres insists on a working directory it can enter; ours may be closed to its account.
        command
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(account) = &self.account {
            account.apply_to(&mut command);
        }
        command
    }

    /// Runs initdb unless it has been done; one that was cut short is done again.
    pub(super) fn initialise(
        &self,
        binaries: &Binaries,
        is_durable: bool,
        guardian: &mut Guardian,
    ) -> Result<()> {
        let (data, unfinished) = (self.data(), self.path.join(UNFINISHED));
        if data.exists() {
            return Ok(());
        }
        remove_directory(&unfinished)?;
        let log = self.new_log()?;
        let program = binaries.bin("initdb");
        let mut initdb = self.command(&program);
        initdb
            .arg("--pgdata")
            .arg(&unfinished)
            .args(["--username=rowcall", "--encoding=UTF8", "--locale=C"])
            .args([
                "--auth-local=trust",
                "--auth-host=reject",
                "--no-instructions",
            ])
            .stdout(
                log.try_clone()
                    .map_err(cannot("share", &self.path.join(LOG)))?,
            )
            .stderr(log);
        if !is_durable {
            initdb.arg("--no-sync");
        }
        let mut child = initdb.spawn().map_err(cannot("run", &program))?;
        guardian.watch_initdb(child.id());
        let status = child.wait().map_err(cannot("wait for", &program))?;
        guardian.watch_nothing();
        if !status.success() {
            let directory = self.path.clone();
            return Err(PrivatePostgresError::InitFailed {
                directory,
                output: self.log_tail(),
            });
        }
        fs::rename(&unfinished, &data).map_err(cannot("rename", &unfinished))?;
        let made_permanent = File::open(&self.path).and_then(|directory| directory.sync_all());
        made_permanent.map_err(cannot("sync", &self.path))
    }

    /// An empty log; the one of the last run is kept beside it.
    pub(super) fn new_log(&self) -> Result<File> {
        let log = self.path.join(LOG);
        match fs::rename(&log, self.path.join(LAST_LOG)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("rename", &log)(error));
            }
            _ => {}
        }
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&log)
            .map_err(cannot("create", &log))
    }

    /// The last lines of the log, for an error's text.
    pub(super) fn log_tail(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.path.join(LOG)).and_then(|mut file| {
            // Fails when the file is shorter than that; then all of it is the tail.
            let _ = file.seek(SeekFrom::End(-TAIL_BYTES_MAX));
            file.read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            return format!("(no log: {error})");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
    }
}

/// The real path of a directory that need not exist; its parents are made.
fn resolve(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        return directory
            .canonicalize()
            .map_err(cannot("resolve", directory));
    }
    let full = std::path::absolute(directory).map_err(cannot("resolve", directory))?;
    let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else {
        return Err(cannot("create", directory)(
            io::ErrorKind::InvalidInput.into(),
        ));
    };
    fs::create_dir_all(parent).map_err(cannot("create", parent))?;
    Ok(parent
        .canonicalize()
        .map_err(cannot("resolve", parent))?
        .join(name))
}

/// Whether a directory is empty or bears the marks of a cluster.
fn is_ours(path: &Path) -> io::Result<bool> {
    let mut is_empty = true;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if [DATA, UNFINISHED, LOG, LOCK_FILE]
            .map(OsStr::new)
            .contains(&name.as_os_str())
        {
            return Ok(true);
        }
        // A file system that was just mounted has this.
        is_empty &= name == "lost+found";
    }
    Ok(is_empty)
}

/// Removes a directory with all it holds; one that is not there is fine.
pub(super) fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path)(error)),
        _ => Ok(()),
    }
}
