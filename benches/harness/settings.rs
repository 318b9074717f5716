//! What is measured, how large, and how often: environment variables, with their defaults for a
//! real run and for a smoke run.

use std::str::FromStr;

use crate::Part;

/// Everything that can be set.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `ROWCALL_BENCH_SMOKE=1`: small sizes, whose figures mean nothing.
    pub(crate) is_smoke: bool,
    /// `ROWCALL_BENCH_ONLY`: parts, separated by commas; the usual ones, if there is none.
    only: Vec<String>,
    /// `ROWCALL_BENCH_ROUNDS`: how often each part is measured; medians are reported.
    pub(crate) rounds: usize,
    /// `ROWCALL_BENCH_SECONDS`: for how long latencies are measured in one go.
    pub(crate) seconds: u32,
    /// `ROWCALL_BENCH_WARM_SECONDS`: for how long commits come before that, at the same rate.
    pub(crate) warm_seconds: u32,
    /// `ROWCALL_BENCH_RATES`: commits a second.
    pub(crate) rates: Vec<u32>,
    /// `ROWCALL_BENCH_PEER_RATES`: the same, where Rowcall is compared with others.
    pub(crate) peer_rates: Vec<u32>,
    /// `ROWCALL_BENCH_WRITERS`: connections that commit.
    pub(crate) writers: usize,
    /// `ROWCALL_BENCH_DELIVERIES`: that a drain makes.
    pub(crate) deliveries: usize,
    /// `ROWCALL_BENCH_RECEIVERS`: to how many receivers small events are drained.
    pub(crate) receivers: Vec<usize>,
    /// `ROWCALL_BENCH_SUBSCRIPTIONS`: of the fan-out.
    pub(crate) subscriptions: usize,
    /// `ROWCALL_BENCH_EVENTS`: published through the API.
    pub(crate) events: usize,
    /// `ROWCALL_BENCH_DIGEST_CHANGES`: of one digest.
    pub(crate) digest_changes: usize,
    /// `ROWCALL_BENCH_DIGEST_OBJECTS`: that they are changes of.
    pub(crate) digest_objects: usize,
    /// `ROWCALL_BENCH_IDLE_SECONDS`: of watching an idle instance.
    pub(crate) idle_seconds: u32,
    /// `ROWCALL_BENCH_INSTANCES`: how many drain together.
    pub(crate) instances: Vec<usize>,
    /// `ROWCALL_BENCH_BACKLOGS`: stored changes and pending deliveries.
    pub(crate) backlogs: Vec<usize>,
}

impl Settings {
    /// Reads the variables; panics at one that can't be read.
    pub(crate) fn read(is_test: bool) -> Self {
        let usual = Sizes { is_smoke: false };
        let sizes = Sizes {
            is_smoke: is_test || usual.one("SMOKE", 0_u32, 0) != 0,
        };
        Self {
            is_smoke: sizes.is_smoke,
            only: usual.many("ONLY", "", ""),
            rounds: sizes.one("ROUNDS", 3, 1),
            seconds: sizes.one("SECONDS", 10, 1),
            warm_seconds: sizes.one("WARM_SECONDS", 2, 1),
            rates: sizes.many("RATES", "200,1000,3000", "50"),
            peer_rates: sizes.many("PEER_RATES", "200,1000", "50"),
            writers: sizes.one("WRITERS", 16, 4),
            deliveries: sizes.one("DELIVERIES", 100_000, 400),
            receivers: sizes.many("RECEIVERS", "1,10,100", "2"),
            subscriptions: sizes.one("SUBSCRIPTIONS", 1_000, 20),
            events: sizes.one("EVENTS", 50_000, 200),
            digest_changes: sizes.one("DIGEST_CHANGES", 1_000_000, 1_000),
            digest_objects: sizes.one("DIGEST_OBJECTS", 100_000, 100),
            idle_seconds: sizes.one("IDLE_SECONDS", 30, 1),
            instances: sizes.many("INSTANCES", "1,2,3", "2"),
            backlogs: sizes.many("BACKLOGS", "10000,100000,1000000", "3000"),
        }
    }

    /// The file of the report: one of each kind is kept.
    pub(crate) fn file(&self) -> &'static str {
        match self.only.as_slice() {
            _ if self.is_smoke => "smoke.json",
            [only] if only == "peers" => "peers.json",
            _ => "harness.json",
        }
    }

    /// The parts that are run; panics if one that is named is not there.
    pub(crate) fn parts(&self, all: &'static [Part]) -> Vec<&'static Part> {
        for name in &self.only {
            let is_known = all.iter().any(|part| part.name == name);
            assert!(is_known, "ROWCALL_BENCH_ONLY: there is no part {name}");
        }
        let is_run = |part: &&Part| match self.only.as_slice() {
            [] => part.is_usual,
            only => only.iter().any(|name| part.name == name),
        };
        all.iter().filter(is_run).collect()
    }
}

/// Which defaults hold.
struct Sizes {
    is_smoke: bool,
}

impl Sizes {
    fn one<T: FromStr>(&self, name: &str, usual: T, smoke: T) -> T {
        let name = format!("ROWCALL_BENCH_{name}");
        match std::env::var(&name) {
            Ok(text) => parsed(&name, &text),
            Err(_) if self.is_smoke => smoke,
            Err(_) => usual,
        }
    }

    fn many<T: FromStr>(&self, name: &str, usual: &str, smoke: &str) -> Vec<T> {
        let texts: String = self.one(name, usual.to_owned(), smoke.to_owned());
        let texts = texts.split(',').filter(|text| !text.is_empty());
        texts.map(|text| parsed(name, text.trim())).collect()
    }
}

fn parsed<T: FromStr>(name: &str, text: &str) -> T {
    let value = text.parse();
    value.unwrap_or_else(|_| panic!("{name}: {text} is not what is expected there"))
}
