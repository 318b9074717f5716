//! `rowcall serve`, as an operator starts it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{http::ask, process::Usage, site::Site};

/// Every role, as in production.
pub(crate) const ROLES: &str = "api,publish,deliver";
/// The program; `cargo bench` builds it optimised.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rowcall");
/// The log line with the address of the API.
const LISTENS: &str = "the API listens";
/// An instance that is not ready by then never will be.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at; this is the grain of the time that starting takes.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// For how long nothing may be published while that is waited for, and how often it is asked about.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const PUBLISHED_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a log is told when something went wrong.
const LOG_LINES_MAX: usize = 20;

/// An instance that runs; killed when it is dropped.
pub(crate) struct Instance {
    child: Child,
    log: PathBuf,
    /// The API's.
    pub(crate) address: String,
    started: Instant,
    /// From its start until /readyz said so.
    pub(crate) ready_after: Duration,
}

impl Instance {
    /// Starts one, and waits until it is ready.
    pub(crate) fn start(site: &Site, roles: &str) -> Self {
        let mut instance = Self::spawn(site, roles);
        instance.wait_until_ready();
        instance
    }

    /// Starts one.
    pub(crate) fn spawn(site: &Site, roles: &str) -> Self {
        let log = site.log();
        let started = Instant::now();
        let child = Command::new(PROGRAM)
            .args(["serve", "--roles", roles])
            .env_clear()
            .current_dir(site.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Not a pipe: who reads it would use the processor that is measured.
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            log,
            address: String::new(),
            started,
            ready_after: Duration::ZERO,
        }
    }

    /// Waits until it is ready; panics, with the end of its log, if it never is.
    pub(crate) fn wait_until_ready(&mut self) {
        while !self.is_ready() {
            let has_ended = self.child.try_wait().unwrap().is_some();
            assert!(
                !has_ended && self.started.elapsed() < START_LIMIT,
                "rowcall serve did not get ready:\n{}",
                self.log_end()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
        self.ready_after = self.started.elapsed();
    }

    fn is_ready(&mut self) -> bool {
        if self.address.is_empty() {
            let log = fs::read_to_string(&self.log).unwrap();
            let line = log.lines().find(|line| line.contains(LISTENS));
            let Some(at) = line.and_then(|line| Some(&line[line.find("127.0.0.1:")?..])) else {
                return false;
            };
            let is_of_it = |c: &char| c.is_ascii_digit() || matches!(c, '.' | ':');
            self.address = at.chars().take_while(is_of_it).collect();
        }
        ask(&self.address, "GET", "/readyz").is_ok_and(|(status, _)| status == 200)
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(LOG_LINES_MAX).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The value of a counter of /metrics, all its labels together.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (status, text) = ask(&self.address, "GET", "/metrics").unwrap();
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with([' ', '{']));
        let values = values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Waits until so many changes are published; panics if no more are.
    pub(crate) fn wait_for_published(&self, changes: usize) {
        let (mut seen, mut since) = (0.0, Instant::now());
        while seen < changes as f64 {
            std::thread::sleep(PUBLISHED_INTERVAL);
            let now = self.metric("rowcall_changes_published_total");
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < SILENCE_LIMIT,
                "{seen} changes of {changes} were published, and then none for {SILENCE_LIMIT:?}\n{}",
                self.log_end()
            );
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }

    /// Asks it to end, and waits until it has; tells what it used until then.
    pub(crate) fn stop(mut self) -> Usage {
        let usage = self.usage();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log_end());
        usage
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
