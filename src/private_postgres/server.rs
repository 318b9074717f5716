//! The postmaster as our child process: spawn, wait until it accepts connections, stop.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::binaries::Binaries;
use super::directory::ClusterDirectory;
use super::error::{PrivatePostgresError, Result, cannot};
use super::guardian::Guardian;
use super::poll::poll_until;
use super::postmaster_file::PostmasterFile;
use super::socket::{PORT, SocketDirectory};

const PROGRAM: &str = "postgres";

/// Includes the recovery after a crash, which on a slow disk takes its time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A fast stop ends sessions and writes a checkpoint.
const FAST_STOP_LIMIT: Duration = Duration::from_secs(20);
/// An immediate stop only ends processes; the server kills the stubborn ones after 5 s itself.
const IMMEDIATE_STOP_LIMIT: Duration = Duration::from_secs(10);

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// End sessions, roll back what is open, write a checkpoint. If that takes too long: immediate.
    Fast,
    /// End at once, as in a crash; the next start recovers.
    Immediate,
}

/// A running postmaster that we started.
#[derive(Debug)]
pub(super) struct Server {
    postmaster: Child,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub(super) fn start(
        directory: &ClusterDirectory,
        binaries: &Binaries,
        socket: &SocketDirectory,
        settings: &[String],
        guardian: &mut Guardian,
    ) -> Result<Self> {
        let log = directory.new_log()?;
        let program = binaries.bin(PROGRAM);
        let mut command = directory.command(&program);
        command.arg("-D").arg(directory.data());
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        // Last, so that no setting of a caller can open the server to the network.
        command
            .args(["-c", "listen_addresses=", "-c", &format!("port={PORT}")])
            .args([
                "-c",
                &socket.setting(),
                "-c",
                "unix_socket_permissions=0700",
            ])
            .args([
                "-c",
                "logging_collector=off",
                "-c",
                "log_destination=stderr",
            ])
            .stdout(log.try_clone().map_err(cannot("share", &directory.path))?)
            .stderr(log);
        let postmaster = command.spawn().map_err(cannot("run", &program))?;
        guardian.watch_server(postmaster.id());
        let mut server = Self { postmaster };
        let started = server.wait_until_ready(directory);
        if started.is_err() {
            server.stop(StopMode::Immediate, guardian)?;
        }
        started.map(|()| server)
    }

    fn wait_until_ready(&mut self, directory: &ClusterDirectory) -> Result<()> {
        let data = directory.data();
        let ready = poll_until(START_LIMIT, || {
            if self.has_ended()? {
                let log = directory.log_tail();
                return Err(PrivatePostgresError::StartFailed {
                    directory: directory.path.clone(),
                    log,
                });
            }
            let says = PostmasterFile::read(&data);
            Ok(says.filter(|says| says.is_ready && says.pid == self.postmaster.id()))
        })?;
        match ready {
            Some(_) => Ok(()),
            None => Err(PrivatePostgresError::StartTimedOut {
                directory: directory.path.clone(),
                waited_s: START_LIMIT.as_secs(),
                log: directory.log_tail(),
            }),
        }
    }

    /// Stops the server and waits for its end; each gentler way is followed by a harder one.
    pub(super) fn stop(&mut self, mode: StopMode, guardian: &mut Guardian) -> Result<()> {
        let fast = (Signal::INT, FAST_STOP_LIMIT);
        let immediate = (Signal::QUIT, IMMEDIATE_STOP_LIMIT);
        let ways: &[_] = match mode {
            StopMode::Fast => &[fast, immediate],
            StopMode::Immediate => &[immediate],
        };
        for &(signal, limit) in ways {
            self.signal(signal);
            let ended = poll_until(limit, || Ok(self.has_ended()?.then_some(())))?;
            if ended.is_some() {
                guardian.watch_nothing();
                return Ok(());
            }
            tracing::warn!(?signal, "the private Postgres does not stop in time");
        }
        self.kill(guardian)
    }

    /// Kills the postmaster, as in a crash. Its other processes notice and end by themselves.
    pub(super) fn kill(&mut self, guardian: &mut Guardian) -> Result<()> {
        guardian.watch_nothing();
        self.signal(Signal::KILL);
        self.postmaster
            .wait()
            .map(drop)
            .map_err(cannot("wait for", Path::new(PROGRAM)))
    }

    fn has_ended(&mut self) -> Result<bool> {
        let status = self
            .postmaster
            .try_wait()
            .map_err(cannot("wait for", Path::new(PROGRAM)))?;
        Ok(status.is_some())
    }

    fn signal(&mut self, signal: Signal) {
        // Once it has been waited for, its process id may be another program's.
        if matches!(self.postmaster.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Err(error) = kill_process(Pid::from_child(&self.postmaster), signal) {
            tracing::warn!(%error, ?signal, "the private Postgres cannot be signalled");
        }
    }
}
