//! Who runs the server: Postgres refuses root, so root hands it to an account without rights.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{PrivatePostgresError, Result, cannot};

const PASSWD: &str = "/etc/passwd";

/// In order of preference; `_postgres` is macOS's.
const NAMES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// An account of the operating system other than our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account to run the server as: `None` is our own, which will do unless we are root. The
    /// owner of data that exists already goes before any name, because only the owner can read it.
    pub(super) fn for_server(data: &Path) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(owner) = fs::metadata(data)
            && owner.uid() != 0
        {
            let name = format!("uid {}", owner.uid());
            return Ok(Some(Self {
                name,
                uid: owner.uid(),
                gid: owner.gid(),
            }));
        }
        let passwd = fs::read_to_string(PASSWD).map_err(cannot("read", Path::new(PASSWD)))?;
        Self::among(&passwd)
            .map(Some)
            .ok_or(PrivatePostgresError::NoAccount)
    }

    fn among(passwd: &str) -> Option<Self> {
        NAMES.into_iter().find_map(|name| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next() == Some(name)).then_some(())?;
                let mut numbers = fields.skip(1).map(str::parse);
                let (uid, gid) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
                Some(Self {
                    name: name.to_owned(),
                    uid,
                    gid,
                })
            })
        })
    }

    /// Makes the command run as this account. The standard library clears the supplementary groups
    /// when root sets a uid.
    pub(super) fn apply_to(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a path to this account.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(cannot("hand over", path))
    }

    /// Checks that this account may enter every directory above `path`.
    pub(super) fn check_reaches(&self, path: &Path) -> Result<()> {
        match self.first_closed(path).map_err(cannot("look up", path))? {
            None => Ok(()),
            Some(parent) => Err(PrivatePostgresError::NotTraversable {
                parent,
                path: path.to_owned(),
                account: self.name.clone(),
            }),
        }
    }

    fn first_closed(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let parents: Vec<_> = path.ancestors().skip(1).collect();
        for parent in parents
            .into_iter()
            .rev()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let found = fs::metadata(parent)?;
            // As the kernel does: the first class that fits decides, even if a later one allows
            // more.
            let may_enter = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if found.mode() & may_enter == 0 {
                return Ok(Some(parent.to_owned()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_server_account_is_postgres_else_nobody() {
        let nobody = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        let both = format!("{nobody}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        let account = |name: &str, uid, gid| Account {
            name: name.to_owned(),
            uid,
            gid,
        };
        assert_eq!(
            Account::among(nobody),
            Some(account("nobody", 65534, 65533))
        );
        assert_eq!(Account::among(&both), Some(account("postgres", 101, 104)));
        assert_eq!(
            Account::among("root:x:0:0:root:/root:/bin/sh\nbroken\n"),
            None
        );
    }

    #[test]
    fn a_closed_parent_is_named() {
        let mode = fs::Permissions::from_mode;
        let closed = tempfile::Builder::new()
            .permissions(mode(0o700))
            .tempdir()
            .unwrap();
        let stranger = Account {
            name: "stranger".to_owned(),
            uid: 54_321,
            gid: 54_321,
        };
        let path = closed.path().join("cluster");

        let error = stranger.check_reaches(&path).unwrap_err().to_string();
        let expected = format!(
            "user `stranger`, who runs the server, cannot enter {}",
            closed.path().display()
        );
        assert!(error.starts_with(&expected), "{error}");

        fs::set_permissions(closed.path(), mode(0o711)).unwrap();
        stranger.check_reaches(&path).unwrap();
    }
}
