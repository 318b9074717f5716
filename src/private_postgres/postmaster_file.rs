//! `postmaster.pid`: what a running server says about itself (PostgreSQL: `utils/pidfile.h`).

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::lock::is_alive;

/// The lines of a server's `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PostmasterFile {
    pub(super) pid: u32,
    pub(super) port: u16,
    /// `None` when the server has no Unix socket.
    pub(super) socket_directory: Option<PathBuf>,
    pub(super) is_ready: bool,
}

impl PostmasterFile {
    /// Reads the file of a data directory; `None` when there is none, or not all of it yet.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path(data)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let socket_directory = lines.get(4).filter(|line| !line.is_empty());
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3)?.parse().ok()?,
            socket_directory: socket_directory.map(PathBuf::from),
            is_ready: lines.get(7) == Some(&"ready"),
        })
    }

    /// Whether the server lives and takes connections on its socket. The file alone proves nothing:
    /// it outlives a killed server, and its process id may have been given to another program.
    pub(super) fn accepts_connections(&self) -> bool {
        let Some(directory) = &self.socket_directory else {
            return false;
        };
        let socket = directory.join(format!(".s.PGSQL.{}", self.port));
        self.is_ready && is_alive(self.pid) && UnixStream::connect(socket).is_ok()
    }

    /// Whether the process id now certainly belongs to some other program. Postgres itself cannot
    /// tell and would refuse to start; in containers, where few ids are in use, that is common.
    pub(super) fn is_of_another_program(&self) -> bool {
        // Linux only; elsewhere Postgres is left to judge.
        fs::read_to_string(format!("/proc/{}/comm", self.pid))
            .is_ok_and(|name| !matches!(name.trim(), "postgres" | "postmaster"))
    }
}

/// Where the file of a data directory is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        let ready = "71\n/c/data\n1763751000\n5432\n/c\n\n  1234   7\nready   \n";
        let starting = "71\n/c/data\n1763751000\n5432\n\n";
        let expected = PostmasterFile {
            pid: 71,
            port: 5432,
            socket_directory: Some(PathBuf::from("/c")),
            is_ready: true,
        };
        assert_eq!(PostmasterFile::parse(ready), Some(expected));
        let found = PostmasterFile::parse(starting).unwrap();
        assert_eq!((found.socket_directory, found.is_ready), (None, false));
        assert_eq!(PostmasterFile::parse("71\n/c/data\n"), None);
    }
}
