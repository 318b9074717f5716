//! `make bench-capture`: what capture costs the writers, as ratios within one run.
//!
//! Six equal tables: one that nobody captures; one whose every change is captured with both images;
//! two whose changes no event type matches, judged in the trigger's function and in its WHEN; one
//! whose trigger notifies at every commit, as a comparison; and one with a trigger that does
//! nothing. Each round visits all of them, and a ratio is taken within its round; what is reported
//! is the median of the ratios. A round in which something else used the machine is one among
//! several.
//!
//! `ROWCALL_BENCH_ROUNDS`, `ROWCALL_BENCH_SECONDS` and `ROWCALL_BENCH_COPY_ROWS` make it longer or
//! shorter; `ROWCALL_BENCH_ONLY` names the parts that are to be measured. The report is printed,
//! and written as JSON to target/bench/capture.json.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can't run has nothing to report"
)]

mod bed;
#[path = "../ground/cluster.rs"]
mod cluster;
#[path = "../ground/machine.rs"]
mod machine;
mod report;
#[path = "../ground/repository.rs"]
mod repository;
mod serving;
mod writers;

use self::{bed::Bed, report::Report};

fn main() {
    let settings = Settings::read();
    let bed = Bed::make();
    let mut report = Report::new(bed.machine());
    for (name, measure) in PARTS {
        if settings.only.is_empty() || settings.only.iter().any(|only| only == name) {
            measure(&bed, &settings, &mut report);
        }
    }
    report.write("target/bench/capture.json");
}

/// A part of the benchmark, which tells what it measured.
type Part = fn(&Bed, &Settings, &mut Report);

/// In their order.
const PARTS: [(&str, Part); 7] = [
    ("stopped", writers::stopped),
    ("bulk", writers::bulk),
    ("copy", writers::copy),
    ("held", writers::held),
    ("awake", serving::awake),
    ("paced", serving::paced),
    ("saturated", serving::saturated),
];

/// How long it takes, and what.
struct Settings {
    rounds: usize,
    seconds: u32,
    copy_rows: u32,
    /// The parts that are measured; all, if there is none.
    only: Vec<String>,
}

impl Settings {
    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark has no configuration"
    )]
    fn read() -> Self {
        let number = |name: &str, default: u32| match std::env::var(name) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => default,
        };
        Self {
            rounds: number("ROWCALL_BENCH_ROUNDS", 5) as usize,
            seconds: number("ROWCALL_BENCH_SECONDS", 5),
            copy_rows: number("ROWCALL_BENCH_COPY_ROWS", 1_000_000),
            only: only(),
        }
    }
}

/// The parts that `ROWCALL_BENCH_ONLY` names, with commas between them.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark has no configuration"
)]
fn only() -> Vec<String> {
    let names = std::env::var("ROWCALL_BENCH_ONLY").unwrap_or_default();
    let names: Vec<String> = names.split_terminator(',').map(str::to_owned).collect();
    for name in &names {
        let is_known = PARTS.iter().any(|(part, _)| part == name);
        assert!(is_known, "ROWCALL_BENCH_ONLY: there is no part {name}");
    }
    names
}
