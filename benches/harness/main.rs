//! `make bench` and `make bench-peers`: Rowcall measured end to end, as it runs in production.
//!
//! Four programs: a private Postgres whose commits are durable; `rowcall serve` with a
//! configuration file and a metadata folder; a receiver of webhooks (`receiver`), which is this
//! program started once more; and this program itself, which drives the load and reports. What
//! Rowcall is compared with is in benches/peers. Each measurement has a database of its own.
//!
//! `ROWCALL_BENCH_ONLY` names the parts that are run; `settings` tells what else can be set.
//! `ROWCALL_BENCH_SMOKE=1` makes everything small: figures mean nothing then, but every part ran
//! and its report is whole (`shape`). `cargo test` runs it so.
//!
//! The report is printed, and written as JSON to target/bench/harness.json (peers.json if those are
//! all that was measured, smoke.json of a smoke run).

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can't run has nothing to report"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark is set by variables, and waits for other programs"
)]

mod bed;
#[path = "../ground/cluster.rs"]
mod cluster;
mod figures;
mod http;
mod inbox;
mod instance;
#[path = "../ground/machine.rs"]
mod machine;
mod parts;
#[path = "../peers/mod.rs"]
mod peers;
mod process;
mod receiver;
mod report;
mod schedule;
mod settings;
mod shape;
mod site;

use std::process::ExitCode;

use self::{bed::Bed, report::Report, settings::Settings};

/// What a part has to work with.
pub(crate) struct Run<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) settings: &'a Settings,
    pub(crate) report: &'a mut Report,
    /// From 1.
    pub(crate) round: usize,
}

/// One thing that is measured.
pub(crate) struct Part {
    /// As `ROWCALL_BENCH_ONLY` names it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Measures once; called for each round, so that parts take turns with the machine's moods.
    measure: fn(&mut Run<'_>),
    /// Whether it is run unless it is named.
    is_usual: bool,
}

impl Part {
    const fn usual(name: &'static str, title: &'static str, measure: fn(&mut Run<'_>)) -> Self {
        Self {
            name,
            title,
            measure,
            is_usual: true,
        }
    }
}

/// In their order.
static PARTS: [Part; 9] = [
    Part::usual(
        "latency",
        "commit to receipt, open loop",
        parts::latency::measure,
    ),
    Part::usual(
        "drain",
        "what was changed while Rowcall was down",
        parts::drain::measure,
    ),
    Part::usual(
        "fan-out",
        "one change to many subscriptions",
        parts::fan_out::measure,
    ),
    Part::usual(
        "events",
        "events published through the API",
        parts::events::measure,
    ),
    Part::usual(
        "digest",
        "many changes in one digest",
        parts::digest::measure,
    ),
    Part::usual("idle", "nothing to do, and starting", parts::idle::measure),
    Part::usual(
        "instances",
        "a drain by several instances",
        parts::instances::measure,
    ),
    Part::usual(
        "backlog",
        "stored changes, then pending deliveries",
        parts::backlog::measure,
    ),
    Part {
        is_usual: false,
        ..Part::usual(
            "peers",
            "the same work by Rowcall and others",
            peers::measure,
        )
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "receiver") {
        return receiver::run();
    }
    // `cargo bench` says so; `cargo test` does not, and passes on what tests are asked for.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    let is_meant = |argument: &String| argument.starts_with('-') || "harness".contains(&**argument);
    if !is_bench && (!arguments.iter().all(is_meant) || arguments.iter().any(|one| one == "--list"))
    {
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_os = "linux") {
        report::progress("not run: what programs use is read from /proc, which only Linux has");
        return ExitCode::SUCCESS;
    }
    let settings = Settings::read(!is_bench);
    let parts: Vec<&Part> = settings.parts(&PARTS);
    let bed = Bed::make();
    let mut report = Report::new(&bed, &settings);
    for round in 1..=settings.rounds {
        for part in &parts {
            report::progress(&format!("round {round}: {}", part.title));
            report.begin(part);
            (part.measure)(&mut Run {
                bed: &bed,
                settings: &settings,
                report: &mut report,
                round,
            });
        }
    }
    let path = report.finish(settings.file());
    let faults = shape::faults(&path, &parts, settings.rounds);
    for fault in &faults {
        report::progress(&format!("the report is not whole: {fault}"));
    }
    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
