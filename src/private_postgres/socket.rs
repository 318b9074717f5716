//! Where the server's socket is: in the cluster directory, or in a short one if that will not do.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::directory::{ClusterDirectory, PRIVATE, remove_directory};
use super::error::{PrivatePostgresError, Result, cannot};

/// The port only names the socket file, as no TCP port is opened.
pub(super) const PORT: u16 = 5432;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
const SOCKET_LOCK_FILE: &str = ".s.PGSQL.5432.lock";

/// `sun_path` with its final zero byte has 108 bytes on Linux and 104 on macOS.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// What needs no escape in the parts of a URL that are used here.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The directory of a server's socket.
#[derive(Debug)]
pub(super) struct SocketDirectory {
    pub(super) path: PathBuf,
    pub(super) port: u16,
    /// Made for the socket alone, and removed with it.
    pub(super) is_extra: bool,
}

impl SocketDirectory {
    /// The cluster's directory if its path will do, else a new one in the temporary
    /// directory.
    pub(super) fn for_cluster(cluster: &ClusterDirectory) -> Result<Self> {
        if can_hold_a_socket(&cluster.path) {
            return Ok(Self {
                path: cluster.path.clone(),
                port: PORT,
                is_extra: false,
            });
        }
        let path = unique_temporary_path();
        if !can_hold_a_socket(&path) {
            let bytes_max = SOCKET_PATH_BYTES_MAX;
            return Err(PrivatePostgresError::NoSocketPath { path, bytes_max });
        }
        // Fails if it exists: nobody can have prepared it for us.
        DirBuilder::new()
            .mode(PRIVATE)
            .create(&path)
            .map_err(cannot("create", &path))?;
        cluster.hand_over(&path)?;
        Ok(Self {
            path,
            port: PORT,
            is_extra: true,
        })
    }

    /// The setting `unix_socket_directories`, which is a list and hence needs quotes.
    pub(super) fn setting(&self) -> String {
        let path = self.path.to_string_lossy().replace('"', "\"\"");
        format!("unix_socket_directories=\"{path}\"")
    }

    /// A URL that libpq and diesel understand. It names the port because `PGPORT` may be set.
    pub(super) fn url(&self, database: &str) -> String {
        let path = self.path.to_string_lossy();
        let (database, path) = (
            utf8_percent_encode(database, ESCAPED),
            utf8_percent_encode(&path, ESCAPED),
        );
        format!(
            "postgresql:///{database}?host={path}&port={}&user=rowcall",
            self.port
        )
    }

    /// Removes what a killed server left, and the directory if it was made for the socket alone.
    pub(super) fn remove(&self) -> Result<()> {
        if self.is_extra {
            remove_directory(&self.path)
        } else {
            self.remove_files()
        }
    }

    /// Removes the socket and its lock file.
    pub(super) fn remove_files(&self) -> Result<()> {
        for name in [SOCKET_FILE, SOCKET_LOCK_FILE] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn can_hold_a_socket(directory: &Path) -> bool {
    let socket = directory.join(SOCKET_FILE);
    // libpq takes a comma in `host` for the end of a first host, escaped or not.
    socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX
        && !socket.as_os_str().as_bytes().contains(&b',')
}

/// A path in the temporary directory that nothing has.
pub(super) fn unique_temporary_path() -> PathBuf {
    let id = uuid::Uuid::new_v4().simple().to_string();
    std::env::temp_dir().join(format!("rowcall-{}", &id[..16]))
}
