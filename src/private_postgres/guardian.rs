//! The guardian: a shell that waits for our death, and then stops the server that we cannot.
//!
//! It reads from a pipe that only we can write to. When this process ends in any way, even by
//! SIGKILL, the pipe closes; no timer and no polling is involved. It also holds a copy of the
//! directory's lock, so that a successor starts only when it has finished.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::error::{Result, cannot};
use super::lock::DirectoryLock;
use super::postmaster_file;

const SHELL: &str = "/bin/sh";

/// Stops what it was last told to watch, at the end of its input; ends at once when told `done`.
///
/// A process id is told only while the process is our child and not yet waited for, so it cannot
/// have become another program's. The server is asked for an immediate stop (SIGQUIT), 10 s later
/// it is killed. A dead server may stay a zombie where nobody collects those, hence the second
/// test, for the file that a stopping server removes.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
pid_file=$1
shift
what=nothing pid=
while read -r word number; do
    [ "$word" = done ] && exit 0
    what=$word pid=$number
done
case $what in
initdb)
    kill -KILL "-$pid" ;;
server)
    kill -QUIT "$pid"
    looks=0
    while kill -0 "$pid" && [ -e "$pid_file" ] && [ "$looks" -lt 150 ]; do
        looks=$((looks + 1))
        [ "$looks" -eq 100 ] && kill -KILL "$pid"
        sleep 0.1
    done ;;
esac 2>/dev/null
[ "$#" -eq 0 ] || rm -rf -- "$@"
"#;

/// The running guardian of one cluster.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Starts the guardian. It removes `doomed` when it has to act.
    pub(super) fn start(data: &Path, doomed: &[PathBuf], lock: &DirectoryLock) -> Result<Self> {
        let shell = Command::new(SHELL)
            .args(["-c", SCRIPT, "rowcall-guardian"])
            .arg(postmaster_file::path(data))
            .args(doomed)
            .current_dir("/")
            .stdin(Stdio::piped())
            // Nothing is printed; this is how the lock gets into the other process.
            .stdout(lock.copy()?)
            .stderr(Stdio::null())
            // Its own group: Ctrl-C in the terminal must not end it before us.
            .process_group(0)
            .spawn()
            .map_err(cannot("run", Path::new(SHELL)))?;
        Ok(Self { shell })
    }

    /// From now on a death of ours kills this initdb and its children.
    pub(super) fn watch_initdb(&mut self, pid: u32) {
        self.tell(&format!("initdb {pid}\n"));
    }

    /// From now on a death of ours stops this server.
    pub(super) fn watch_server(&mut self, pid: u32) {
        self.tell(&format!("server {pid}\n"));
    }

    /// The process watched so far is about to be collected; its id is worth nothing from then on.
    pub(super) fn watch_nothing(&mut self) {
        self.tell("nothing\n");
    }

    /// Sends the guardian home, without acting.
    pub(super) fn dismiss(mut self) {
        self.tell("done\n");
        if let Err(error) = self.shell.wait() {
            tracing::warn!(%error, "the guardian of the private Postgres cannot be waited for");
        }
    }

    fn tell(&mut self, line: &str) {
        let Some(pipe) = &mut self.shell.stdin else {
            return;
        };
        if let Err(error) = pipe.write_all(line.as_bytes()) {
            // Someone killed it. We go on: it is needed only if we are killed as well.
            tracing::warn!(%error, "the guardian of the private Postgres is gone");
        }
    }
}
