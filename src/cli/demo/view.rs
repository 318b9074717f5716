//! What is seen while the demo runs: on a terminal a block that is drawn anew, elsewhere plain
//! lines.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    house::Progress,
    ledger::{Ledger, Tally, Times},
};

/// How often a terminal is drawn.
const BLOCK_INTERVAL: Duration = Duration::from_millis(250);
/// How often a plain line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Over how long rates are taken.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the demo is seen.
pub(super) struct View {
    block: Option<ProgressBar>,
    shown_at: Option<Instant>,
}

impl View {
    pub(super) fn new() -> Self {
        let block = io::stdout().is_terminal().then(|| {
            let target = ProgressDrawTarget::stdout();
            let style = ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self {
            block,
            shown_at: None,
        }
    }

    /// Writes lines that stay.
    ///
    /// # Errors
    ///
    /// If nobody reads them any more.
    pub(super) fn line(&self, text: &str) -> io::Result<()> {
        // Before there is a block to be kept below, as it is: what is to be pasted must not be
        // broken up.
        if let (Some(block), Some(_)) = (&self.block, self.shown_at) {
            block.println(text);
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Whether it is time to show how it goes.
    pub(super) fn is_due(&self) -> bool {
        let interval = if self.block.is_some() {
            BLOCK_INTERVAL
        } else {
            LINE_INTERVAL
        };
        self.shown_at.is_none_or(|at| at.elapsed() >= interval)
    }

    /// Shows how it goes.
    ///
    /// # Errors
    ///
    /// If nobody reads it any more.
    pub(super) fn show(&mut self, frame: &Frame) -> io::Result<()> {
        self.shown_at = Some(Instant::now());
        match &self.block {
            Some(block) => {
                block.set_message(frame.block());
                Ok(())
            }
            None => self.line(&frame.line()),
        }
    }

    /// Leaves a last block on the terminal.
    pub(super) fn finish(&self, frame: &Frame) {
        if let Some(block) = &self.block {
            block.set_message(frame.block());
            block.abandon();
        }
    }
}

/// What is shown.
pub(super) struct Frame {
    pub(super) elapsed: Duration,
    /// `running`, or what is waited for.
    pub(super) doing: String,
    pub(super) tally: Tally,
    pub(super) progress: Progress,
    pub(super) rates: Rates,
    pub(super) recent: Times,
    pub(super) total: Times,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    changes: f64,
    events: f64,
    deliveries: f64,
}

impl Frame {
    fn block(&self) -> String {
        let (tally, rates) = (&self.tally, &self.rates);
        let mut text = format!("\n{:>6.1} s  {}\n", self.elapsed.as_secs_f64(), self.doing);
        let _ = write!(
            text,
            "changes     {:>8}  {:>6.0}/s   rolled back {}, conflicts {}\n\
             events      {:>8}  {:>6.0}/s   {} orders released: those that the condition is for\n\
             deliveries  {:>8}  {:>6.0}/s   on the way {}, refused on purpose {}, sent again {}, \
             suppressed by the constraint {}\n\
             digests     {:>8}  with {} events, {} mails; gathering {}\n\
             commit to receipt   in the last 5 s             in all\n\
             \x20 synchronous     {:<26}  {}\n\
             \x20 delayed         {:<26}  {}",
            tally.changes,
            rates.changes,
            tally.rolled_back,
            tally.conflicts,
            self.progress.events,
            rates.events,
            tally.released,
            tally.accepted,
            rates.deliveries,
            tally.owed,
            tally.refused,
            tally.repeats,
            self.progress.suppressed,
            tally.digests,
            tally.digest_events,
            tally.mails,
            tally.owed_in_digests,
            self.recent.synchronous.to_string(),
            self.total.synchronous,
            self.recent.delayed.to_string(),
            self.total.delayed
        );
        text
    }

    fn line(&self) -> String {
        let (tally, rates) = (&self.tally, &self.rates);
        format!(
            "{:>6.1} s  {}: changes {:.0}/s, events {:.0}/s, deliveries {:.0}/s, on the way {}, \
             sent again {}, released {}, suppressed {}, digests {}, commit to receipt {}, \
             delayed {}",
            self.elapsed.as_secs_f64(),
            self.doing,
            rates.changes,
            rates.events,
            rates.deliveries,
            tally.owed,
            tally.repeats,
            tally.released,
            self.progress.suppressed,
            tally.digests,
            self.recent.synchronous,
            self.recent.delayed
        )
    }
}

/// Makes frames, and rates of the totals in them.
pub(super) struct Meter {
    started: Instant,
    since: Instant,
    tally: Tally,
    events: i64,
    rates: Rates,
}

impl Meter {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            since: now,
            tally: Tally::default(),
            events: 0,
            rates: Rates::default(),
        }
    }

    pub(super) fn frame(&mut self, ledger: &Ledger, progress: Progress, doing: String) -> Frame {
        let (tally, events) = (ledger.tally(), progress.events);
        let passed = self.since.elapsed();
        if passed >= RATE_INTERVAL {
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / passed.as_secs_f64();
            self.rates = Rates {
                changes: rate(tally.changes, self.tally.changes),
                events: (events - self.events) as f64 / passed.as_secs_f64(),
                deliveries: rate(tally.accepted, self.tally.accepted),
            };
            (self.since, self.tally, self.events) = (Instant::now(), tally, events);
            ledger.turn();
        }
        let (recent, total) = ledger.times();
        Frame {
            elapsed: self.started.elapsed(),
            doing,
            tally,
            progress,
            rates: self.rates,
            recent,
            total,
        }
    }
}
