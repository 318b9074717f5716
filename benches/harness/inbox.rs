//! What the receiver got, asked from outside.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::http::ask;

/// For how long nothing may arrive while something is waited for.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How often the receiver is asked how much it has; what is measured is not when it is asked.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The receiver that runs.
pub(crate) struct Inbox {
    child: Child,
    addresses: Vec<String>,
}

/// What arrived, each thing once.
pub(crate) struct Received {
    /// When the thing with this id first arrived at this place, in microseconds since 1970.
    pub(crate) first_at_us: HashMap<(usize, String), i64>,
    /// How many came again.
    pub(crate) duplicates: usize,
    /// The size of a body, on average.
    pub(crate) body_bytes: f64,
}

impl Inbox {
    /// Starts a receiver.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("receiver")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let addresses: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert!(!addresses.is_empty(), "the receiver did not start");
        Self { child, addresses }
    }

    /// Where the receiver of this number is; as many of them as there are ports have a host of
    /// their own.
    pub(crate) fn url(&self, place: usize) -> String {
        let address = &self.addresses[place % self.addresses.len()];
        format!("http://{address}/to/{place}")
    }

    fn ask(&self, path: &str) -> String {
        let (status, body) = ask(&self.addresses[0], "GET", path).unwrap();
        assert_eq!(status, 200, "the receiver refused {path}");
        body
    }

    /// Forgets what arrived.
    pub(crate) fn clear(&self) {
        self.ask("/clear");
    }

    /// Waits until so many things have arrived, each counted once; panics with what `tell` says if
    /// nothing comes any more.
    pub(crate) fn wait_for(&self, count: usize, tell: impl Fn() -> String) -> Received {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let now: usize = self.ask("/count").parse().unwrap();
            if now >= count {
                let received = self.received();
                if received.first_at_us.len() >= count {
                    return received;
                }
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(
                since.elapsed() < SILENCE_LIMIT,
                "{seen} requests of {count} arrived, and then none for {SILENCE_LIMIT:?}\n{}",
                tell()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// What has arrived.
    pub(crate) fn received(&self) -> Received {
        let (mut first_at_us, mut duplicates, mut bytes) = (HashMap::new(), 0, 0.0);
        let text = self.ask("/receipts");
        for line in text.lines() {
            let mut fields = line.splitn(4, ' ');
            let mut field = || fields.next().unwrap();
            let place: usize = field().parse().unwrap();
            let at_us: i64 = field().parse().unwrap();
            bytes += field().parse::<f64>().unwrap();
            match first_at_us.entry((place, field().to_owned())) {
                Entry::Vacant(entry) => {
                    entry.insert(at_us);
                }
                Entry::Occupied(mut entry) => {
                    duplicates += 1;
                    let first = entry.get_mut();
                    *first = at_us.min(*first);
                }
            }
        }
        Received {
            body_bytes: bytes / text.lines().count().max(1) as f64,
            first_at_us,
            duplicates,
        }
    }
}

impl Received {
    /// When the first and the last thing arrived, in microseconds since 1970.
    pub(crate) fn span_us(&self) -> (i64, i64) {
        let all = || self.first_at_us.values().copied();
        (all().min().unwrap(), all().max().unwrap())
    }

    /// Things a second, from the first to the last.
    pub(crate) fn rate(&self) -> f64 {
        let (first, last) = self.span_us();
        let seconds = (last - first).max(1) as f64 / 1e6;
        (self.first_at_us.len() - 1) as f64 / seconds
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
