//! One owner a directory: an advisory lock on a file in it, which also says who holds it.
//!
//! The guardian holds the same lock, through a copy of the descriptor. So the directory is free
//! only when a dead owner's server has been stopped, and a successor waits for exactly that.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, test_kill_process};

use super::error::{PrivatePostgresError, Result, cannot};
use super::poll::poll_until;

pub(super) const LOCK_FILE: &str = "rowcall.lock";

/// Longer than the guardian gives a server before it kills it (15 s).
const RELEASE_LIMIT: Duration = Duration::from_secs(30);

/// The lock of a cluster directory, held until it is dropped and every copy of it is closed.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
    path: PathBuf,
}

impl DirectoryLock {
    /// Takes the lock. Waits while a dead owner's guardian still holds it, never for a living
    /// owner.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        let taken = poll_until(RELEASE_LIMIT, || {
            let mut file = open(&path).map_err(cannot("open", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => Ok(Some(file)),
                // The last owner removed the file between our opening and locking it.
                Ok(()) => Ok(None),
                Err(TryLockError::WouldBlock) => match living_owner(&mut file) {
                    Some(pid) => Err(PrivatePostgresError::InUse {
                        directory: directory.to_owned(),
                        pid,
                    }),
                    None => Ok(None),
                },
                Err(TryLockError::Error(error)) => Err(cannot("lock", &path)(error)),
            }
        })?;
        let Some(mut file) = taken else {
            let directory = directory.to_owned();
            return Err(PrivatePostgresError::LockNotReleased {
                directory,
                lock: path,
            });
        };
        write_pid(&mut file).map_err(cannot("write", &path))?;
        Ok(Self { file, path })
    }

    /// A copy of the descriptor: as long as one is open anywhere, the lock is held.
    pub(super) fn copy(&self) -> Result<File> {
        self.file.try_clone().map_err(cannot("share", &self.path))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Removed while it is still locked: whoever opens it now finds at `is_at` that it is gone.
        // A failure leaves an unlocked file, which is harmless.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Root must not follow a link that the server's account may have put here.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

/// The process named in the file, if it lives. The name can be missing for a moment, while a new
/// owner writes it.
fn living_owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let pid = text.strip_suffix('\n')?.parse::<u32>().ok()?;
    is_alive(pid).then_some(pid)
}

/// Whether a process exists; one of another user's, which we may not signal, does.
pub(super) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}
