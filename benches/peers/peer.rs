//! Those that are compared, and how each is set up and run.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{bed::Bed, instance::Instance, parts::synchronous, process::Usage, site::Site};

/// Where `make bench-peers` installs what is not Rowcall, from the repository's root.
const FOLDER: &str = "target/bench/peers";

/// What a change is told as by all but Rowcall.
const MESSAGE: &str = "json_build_object('id', new.id, 'op', tg_op, 'at', clock_timestamp(), \
     'before', row_to_json(old), 'after', row_to_json(new))";

/// One that tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Rowcall,
    /// A trigger that notifies at every change, and one listener that posts.
    Notify,
    /// graphile-worker with a job for each row, and without any option.
    Graphile,
    /// The same with many jobs at once.
    GraphileMany,
    /// The same with a local queue and batched completion, too.
    GraphileTuned,
}

impl Peer {
    pub(super) const ALL: [Self; 5] = [
        Self::Rowcall,
        Self::Notify,
        Self::Graphile,
        Self::GraphileMany,
        Self::GraphileTuned,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rowcall => "Rowcall",
            Self::Notify => "NOTIFY and one listener",
            Self::Graphile => "graphile-worker",
            Self::GraphileMany => "graphile-worker, 24 at once",
            Self::GraphileTuned => "graphile-worker, tuned",
        }
    }

    /// Whether it tells later of what was changed while it was down.
    pub(super) fn keeps_changes(self) -> bool {
        self != Self::Notify
    }

    /// What Rowcall knows of the site.
    pub(super) fn metadata(self, bed: &Bed) -> String {
        match self {
            Self::Rowcall => synchronous(bed, 1),
            _ => String::new(),
        }
    }

    /// Makes its schema and its trigger.
    pub(super) fn prepare(self, site: &Site, bed: &Bed) {
        let tell = match self {
            Self::Rowcall => return site.prepare(),
            Self::Notify => format!("pg_notify('bench', {MESSAGE}::text)"),
            Self::Graphile | Self::GraphileMany | Self::GraphileTuned => {
                let status = node(site, bed, "graphile.mjs", "migrate")
                    .stderr(File::create(site.log()).unwrap())
                    .status()
                    .unwrap();
                assert!(status.success(), "graphile-worker made no schema: {status}");
                format!("graphile_worker.add_job('post', {MESSAGE})")
            }
        };
        site.execute(&format!(
            "create function public.tell() returns trigger language plpgsql as \
                 $$ begin perform {tell}; return null; end $$; \
             create trigger tell after insert or update on public.captured \
                 for each row execute function public.tell()"
        ));
    }
}

/// Panics if what is not Rowcall is not installed.
pub(super) fn check_installed() {
    let is_there = folder().join("node_modules/graphile-worker").is_dir();
    assert!(
        is_there,
        "{FOLDER} is not installed; `make bench-peers` does that"
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER)
}

fn node(site: &Site, bed: &Bed, program: &str, way: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(folder().join(program))
        .args([site.url.as_str(), &bed.inbox.url(0), way])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// One of them at work.
pub(super) enum Running {
    Rowcall(Instance),
    Node(Node),
}

/// A program of Node's; killed when it is dropped.
pub(super) struct Node {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, and waits until it works.
    pub(super) fn start(peer: Peer, site: &Site, bed: &Bed) -> Self {
        let (program, way) = match peer {
            Peer::Rowcall => return Self::Rowcall(site.serve()),
            Peer::Notify => ("notify.mjs", ""),
            Peer::Graphile => ("graphile.mjs", "default"),
            Peer::GraphileMany => ("graphile.mjs", "many"),
            Peer::GraphileTuned => ("graphile.mjs", "tuned"),
        };
        let log = site.log();
        let child = node(site, bed, program, way)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut node = Node { child, log };
        let output = BufReader::new(node.child.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line == "ready");
        // What it says afterwards is read by nobody, and must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let running = Self::Node(node);
        assert!(is_ready, "{program} did not start:\n{}", running.log_end());
        running
    }

    /// What it said last.
    pub(super) fn log_end(&self) -> String {
        match self {
            Self::Rowcall(instance) => instance.log_end(),
            Self::Node(node) => std::fs::read_to_string(&node.log).unwrap_or_default(),
        }
    }

    /// Ends it; tells what it used until then.
    pub(super) fn stop(self) -> Usage {
        match self {
            Self::Rowcall(instance) => instance.stop(),
            Self::Node(node) => Usage::of(node.child.id()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
