//! `rowcall demo`: everything at work on one machine, and the account at the end.
//!
//! Players: the [`house`] is a private Postgres with a small [`shop`], Rowcall, and the
//! [`receivers`] of its [`subscribers`], of all modes; [`writers`] do the shop's business in
//! ordinary SQL; the [`ledger`] holds what they committed against what was received, as events, as
//! [`digest`]s and as [`mails`]; the [`view`] shows it and the [`report`] judges it.
//!
//! The end is always the same, whether the time is up or a signal came: the writers stop, what they
//! wrote is delivered, the last digests leave, the account is drawn up, and nothing is left behind
//! but the mails.

mod digest;
mod findings;
mod house;
mod latency;
mod ledger;
mod mails;
mod receipt;
mod receivers;
mod report;
mod shop;
mod store;
mod subscribers;
mod view;
mod writers;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use miette::{IntoDiagnostic as _, miette};
use tokio::sync::watch;

use self::{
    house::{House, Progress},
    ledger::Ledger,
    mails::Mails,
    report::Report,
    subscribers::{MAIL_SUBSCRIPTION, place},
    view::{Meter, View},
    writers::Writers,
};
use super::serve::shutdown_on_signal;
use crate::{config::Flags, observe::logging};

/// How often the demo looks at itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long may be waited for the last deliveries: longer than the retry schedule of the receivers
/// and the longest window of a digest together.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// The most changes a second that can be asked for.
const RATE_MAX: i64 = 100_000;

/// The arguments of `rowcall demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Ends by itself after this time, such as 20s or 5m [default: runs until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    run_for: Option<Duration>,
    /// About how many changes a second the writers make together
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=RATE_MAX))]
    rate: u32,
    /// Where mails are written to, as files that stay when the demo ends
    #[arg(long, value_name = "DIR", default_value = "rowcall-demo-mails")]
    mail_dir: PathBuf,
}

/// Runs the demo until its time is up or a signal comes.
///
/// # Errors
///
/// If it can't start, or if anything was lost, out of order, unexpected, repeated without a reason
/// or counted wrong.
pub async fn run(args: DemoArgs, flags: Flags) -> miette::Result<()> {
    // What is refused on purpose is logged as information, and would drown the view.
    logging::install_at("warn");
    let shutdown = shutdown_on_signal()?;
    let listen = flags
        .listen
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let mut view = View::new();
    view.line("starting a private Postgres with a small shop, Rowcall, and receivers ...")
        .into_diagnostic()?;
    let ledger = Arc::new(Ledger::default());
    let mut mails = Mails::open(&args.mail_dir)?;
    let mut house = House::start(listen, flags.pg_bin, &mails, &ledger).await?;
    let how_to = house.how_to(listen, mails.directory());
    let running = Running {
        view: &mut view,
        meter: Meter::start(),
        house: &mut house,
        mails: &mut mails,
        ledger: &ledger,
    };
    let judged = running.see_through(&how_to, &args, shutdown).await;
    // Also when something failed: nothing may be left behind.
    house.stop().await?;
    let report = judged?;
    let text = report.text();
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .into_diagnostic()?;
    if report.is_clean() {
        Ok(())
    } else {
        Err(miette!("{}", report.complaint()))
    }
}

/// A demo under way.
struct Running<'a> {
    view: &'a mut View,
    meter: Meter,
    house: &'a mut House,
    mails: &'a mut Mails,
    ledger: &'a Arc<Ledger>,
}

impl Running<'_> {
    /// Writes until it is time to stop, lets everything arrive, and judges.
    async fn see_through(
        mut self,
        how_to: &str,
        args: &DemoArgs,
        shutdown: watch::Receiver<bool>,
    ) -> miette::Result<Report> {
        self.view.line(how_to).into_diagnostic()?;
        let writers = Writers::start(&self.house.url, args.rate, self.ledger);
        let watched = self.watch(&writers, args.run_for, shutdown).await;
        // First of all the writers stop, whatever happened.
        writers.stop().await.and(watched)?;
        self.drain().await?;
        let progress = self.house.progress().await?;
        let last = self.meter.frame(self.ledger, progress, "done".to_owned());
        self.view.finish(&last);
        let evidence = self.house.evidence(self.ledger.early()).await?;
        Ok(Report {
            account: self.house.account().await?,
            tally: self.ledger.tally(),
            verdict: self.ledger.verdict(&evidence),
            released: evidence.released,
            suppressed: evidence.suppressed,
            times: self.ledger.times().1,
            mails: self.mails.directory().to_owned(),
        })
    }

    /// Shows how it goes until the time is up, a signal comes, or a part fails.
    async fn watch(
        &mut self,
        writers: &Writers,
        run_for: Option<Duration>,
        mut shutdown: watch::Receiver<bool>,
    ) -> miette::Result<()> {
        let end = run_for.map(|run_for| Instant::now() + run_for);
        let doing = match run_for {
            Some(run_for) => format!("of {}", humantime::format_duration(run_for)),
            None => "until Ctrl-C".to_owned(),
        };
        while end.is_none_or(|end| Instant::now() < end) && !writers.has_ended() {
            self.show(doing.clone()).await?;
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
        Ok(())
    }

    /// Waits, for a time, until what was written is received and settled, and the last digests have
    /// left.
    async fn drain(&mut self) -> miette::Result<()> {
        let end = Instant::now() + DRAIN_MAX;
        loop {
            let left = self.house.work_left().await?;
            // After that: what is settled now was received before.
            self.tell()?;
            if left.is_nothing() && self.is_received().await? || Instant::now() >= end {
                return Ok(());
            }
            let (deliveries, digests) = (left.changes + left.deliveries, left.digests);
            let doing =
                format!("stopped writing, {deliveries} deliveries and {digests} digests left");
            self.show(doing).await?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether all that is owed was received.
    async fn is_received(&self) -> miette::Result<bool> {
        let tally = self.ledger.tally();
        Ok(tally.owed == 0 && tally.owed_in_digests == self.house.untold().await?)
    }

    async fn show(&mut self, doing: String) -> miette::Result<()> {
        if self.house.has_ended() {
            return Err(miette!("Rowcall ended by itself; see what it logged"));
        }
        self.tell()?;
        if !self.view.is_due() {
            return Ok(());
        }
        let progress: Progress = self.house.progress().await?;
        let frame = self.meter.frame(self.ledger, progress, doing);
        self.view.show(&frame).into_diagnostic()
    }

    /// Tells of what has come: the echo, digests, mails.
    fn tell(&mut self) -> miette::Result<()> {
        while let Ok(line) = self.house.receivers.lines.try_recv() {
            self.view.line(&line).into_diagnostic()?;
        }
        for mail in self.mails.look().into_diagnostic()? {
            if let Some(place) = place(MAIL_SUBSCRIPTION) {
                self.ledger.mail(place, &mail.part);
            }
            let line = format!(
                "digest {MAIL_SUBSCRIPTION}: {}, as a mail: {}",
                mail.subject,
                mail.page.display()
            );
            self.view.line(&line).into_diagnostic()?;
        }
        Ok(())
    }
}
