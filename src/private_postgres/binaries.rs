//! Which PostgreSQL programs to run: the newest that are installed, or the ones that were named.
//!
//! Looking (`candidates`) is apart from judging ([`Binaries::choose`]), so that tests can judge
//! a list of their own.

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{PrivatePostgresError, Result};

/// The oldest major version that Rowcall supports.
pub const MAJOR_MIN: u32 = 15;

/// The programs without which a directory is no server installation. `pg_ctl` is for the operator:
/// advice in errors names it.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// A directory that may hold the programs, and who suggested it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The directory.
    pub directory: PathBuf,
    /// Where the idea came from: `PG_BIN`, `PATH`, ...
    pub origin: &'static str,
}

/// A candidate that cannot be used, and why.
#[derive(Clone, Debug)]
pub struct Refusal {
    candidate: Candidate,
    reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { directory, origin } = &self.candidate;
        write!(
            f,
            "{} (from {origin}): {}",
            directory.display(),
            self.reason
        )
    }
}

/// A PostgreSQL version; compares in order of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The part that decides whether data files can be read: the 15 of 15.8.
    pub major: u32,
    /// The 8 of 15.8; 0 for betas.
    pub minor: u32,
}

impl Version {
    /// Reads `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`, also `18beta1`.
    fn parse(text: &str) -> Option<Self> {
        let number = text.split_once("(PostgreSQL) ")?.1.trim_start();
        let (major, rest) = leading_number(number)?;
        let minor = rest
            .strip_prefix('.')
            .and_then(leading_number)
            .map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The programs of one installed PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
    version: Version,
}

impl Binaries {
    /// The newest usable installation on this machine. `pg_bin` is the value of `PG_BIN`: when it
    /// is given, it is the only place looked at, so that an older version can be asked for.
    ///
    /// # Errors
    /// [`PrivatePostgresError::NoBinaries`], which tells every place and what is wrong with it.
    pub fn find(pg_bin: Option<&Path>) -> Result<Self> {
        newest(&usable(&candidates(pg_bin))?)
    }

    /// The newest usable installation of `candidates`.
    ///
    /// # Errors
    /// As [`Binaries::find`].
    pub fn choose(candidates: &[Candidate]) -> Result<Self> {
        newest(&usable(candidates)?)
    }

    /// The newest installation that can read the data in `directory`, written by version `major`.
    pub(super) fn find_for_data(
        pg_bin: Option<&Path>,
        major: u32,
        directory: &Path,
    ) -> Result<Self> {
        let (fitting, others): (Vec<_>, Vec<_>) = usable(&candidates(pg_bin))?
            .into_iter()
            .partition(|binaries| binaries.version.major == major);
        newest(&fitting).map_err(|_| PrivatePostgresError::VersionMismatch {
            directory: directory.to_owned(),
            major,
            found: others.iter().map(|binaries| binaries.version).collect(),
        })
    }

    /// The version of the server.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path of a program of this installation, such as `pgbench`; it need not exist.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn inspect(candidate: &Candidate) -> Result<Self, String> {
        let directory = &candidate.directory;
        if !directory.is_dir() {
            return Err("no such directory".to_owned());
        }
        let missing: Vec<_> = PROGRAMS
            .into_iter()
            .filter(|name| !directory.join(name).is_file())
            .collect();
        if !missing.is_empty() {
            return Err(format!("has no {}", missing.join(", ")));
        }
        let said = Command::new(directory.join("postgres"))
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("postgres --version cannot be run: {error}"))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let version = Version::parse(&said)
            .ok_or_else(|| format!("postgres --version says {:?}", said.trim()))?;
        if version.major < MAJOR_MIN {
            return Err(format!(
                "version {version} is too old, {MAJOR_MIN} or later is needed"
            ));
        }
        Ok(Self {
            directory: directory.clone(),
            version,
        })
    }
}

fn newest(found: &[Binaries]) -> Result<Binaries> {
    // Of equal versions the first wins, because candidates come in order of preference.
    found
        .iter()
        .rev()
        .max_by_key(|binaries| binaries.version)
        .cloned()
        .ok_or(PrivatePostgresError::NoBinaries {
            refused: Vec::new(),
            install: install_line(),
        })
}

/// Every candidate that can be used; never an empty list.
fn usable(candidates: &[Candidate]) -> Result<Vec<Binaries>> {
    let mut seen = HashSet::new();
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let real = candidate.directory.canonicalize();
        if !seen.insert(real.unwrap_or_else(|_| candidate.directory.clone())) {
            continue;
        }
        match Binaries::inspect(candidate) {
            Ok(binaries) => found.push(binaries),
            Err(reason) => refused.push(Refusal {
                candidate: candidate.clone(),
                reason,
            }),
        }
    }
    if found.is_empty() {
        return Err(PrivatePostgresError::NoBinaries {
            refused,
            install: install_line(),
        });
    }
    Ok(found)
}

/// The places where PostgreSQL is found on Debian, Ubuntu, Fedora and macOS, best first.
fn candidates(pg_bin: Option<&Path>) -> Vec<Candidate> {
    if let Some(directory) = pg_bin {
        return vec![Candidate {
            directory: directory.to_owned(),
            origin: "PG_BIN",
        }];
    }
    let mut all = Vec::new();
    let mut add = |directory, origin| all.push(Candidate { directory, origin });
    if let Some(directory) = pg_config_bindir() {
        add(directory, "pg_config --bindir");
    }
    for directory in children(Path::new("/usr/lib/postgresql"), "") {
        add(directory.join("bin"), "/usr/lib/postgresql");
    }
    for prefix in ["/opt/homebrew/opt", "/usr/local/opt"] {
        for directory in children(Path::new(prefix), "postgresql") {
            add(directory.join("bin"), "Homebrew");
        }
    }
    // Only the directories of PATH that hold a server: the others would fill the error with noise.
    let path = env::var_os("PATH").unwrap_or_default();
    for directory in env::split_paths(&path).filter(|dir| dir.join("postgres").is_file()) {
        add(directory, "PATH");
    }
    all
}

fn pg_config_bindir() -> Option<PathBuf> {
    let said = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let path = String::from_utf8(said.stdout).ok()?;
    (said.status.success() && !path.trim().is_empty()).then(|| PathBuf::from(path.trim()))
}

fn children(parent: &Path, name_prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(name_prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn install_line() -> &'static str {
    if cfg!(target_os = "macos") {
        "brew install postgresql"
    } else if Path::new("/etc/debian_version").exists() {
        "sudo apt-get install postgresql libpq-dev"
    } else {
        "your package manager's PostgreSQL server and libpq development packages"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n",
                Some((15, 8)),
            ),
            ("postgres (PostgreSQL) 18.1\n", Some((18, 1))),
            ("postgres (PostgreSQL) 19beta2\n", Some((19, 0))),
            ("postgres (PostgreSQL) 9.6.24\n", Some((9, 6))),
            ("postgres (EnterpriseDB) 15.8\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }
}
