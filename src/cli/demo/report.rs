//! The account at the end, and the judgement.

use std::{fmt::Write as _, path::PathBuf};

use super::{
    findings::Verdict,
    ledger::{Tally, Times},
    subscribers::RELEASED,
};
use crate::account::Account;

/// What the end of the demo tells.
pub(super) struct Report {
    pub(super) account: Account,
    pub(super) tally: Tally,
    pub(super) verdict: Verdict,
    /// Events that the condition made.
    pub(super) released: i64,
    /// Deliveries of the demo's subscriptions that the constraint suppressed.
    pub(super) suppressed: i64,
    pub(super) times: Times,
    /// Where the mails are.
    pub(super) mails: PathBuf,
}

impl Report {
    /// Whether the promise was kept: nothing lost, nothing out of order, nothing that was not to
    /// come.
    pub(super) fn is_clean(&self) -> bool {
        self.verdict.lost == 0
            && self.verdict.faults.iter().all(|(_, count)| *count == 0)
            && self.account.adds_up()
    }

    /// The account; its last line is `lost` and how many.
    pub(super) fn text(&self) -> String {
        let (account, tally) = (&self.account, &self.tally);
        let mut text = format!(
            "\nwritten     {:>8}  changes in {} transactions; {} transactions and {} savepoints rolled back, \
             {} conflicts\n",
            tally.changes,
            tally.transactions,
            tally.rolled_back,
            tally.savepoints_rolled_back,
            tally.conflicts,
        );
        for (name, number, meaning) in [
            ("captured", account.captured, "changes in the change table"),
            ("published", account.published, "of them"),
            ("unread", account.unread, "of them"),
            ("events", account.events, ""),
            (
                "matched",
                account.matched,
                "pairs of an event and a subscription",
            ),
            (
                "delivered",
                account.delivered,
                "of them, alone or in digests",
            ),
            (
                "condensed",
                account.condensed,
                "of them, in digests where they came to nothing",
            ),
            (
                "suppressed",
                account.suppressed,
                "of them, by the constraint",
            ),
            ("withdrawn", account.withdrawn, "of them"),
            ("held", account.held, "of them"),
            ("pending", account.pending, "of them"),
            ("dead", account.dead, "of them"),
            ("cancelled", account.cancelled, "of them"),
        ] {
            let line = format!("{name:<11} {number:>8}  {meaning}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let _ = write!(
            text,
            "received    {:>8}  alone, {} of them delayed; {} requests, {} refused, {} answers lost and {} \
             late on purpose, {} sent again, {} changed by hand\n\
             digested    {:>8}  received in {} digests of {} parts, {} of them mails\n",
            tally.accepted,
            tally.delayed,
            tally.requests,
            tally.refused,
            tally.answers_lost,
            tally.late,
            tally.repeats,
            tally.by_hand,
            tally.digest_events,
            tally.digests,
            tally.digest_parts,
            tally.mails,
        );
        let _ = write!(
            text,
            "condition   {:>8}  events {RELEASED}; the writers released {}\n\
             constraint  {:>8}  of them kept from billing; the writers say that {} were small\n\
             waited      {:>8}  synchronous ones for an earlier event of their object, while the \
             delayed one went ahead\n\
             commit to receipt     synchronous {}\n\
             commit to receipt     delayed     {}\n\
             close to receipt      digests     {}\n\
             mails                 {}\n",
            self.released,
            tally.released,
            self.suppressed,
            tally.spared,
            self.verdict.blocked,
            self.times.synchronous,
            self.times.delayed,
            self.times.digests,
            self.mails.display(),
        );
        for (fault, count) in &self.verdict.faults {
            let _ = writeln!(text, "{fault} {count}");
        }
        let _ = writeln!(text, "lost {}", self.verdict.lost);
        text
    }

    /// What went wrong, with examples; for when it is not clean.
    pub(super) fn complaint(&self) -> String {
        let mut text = String::from("the demo did not keep Rowcall's promise");
        if !self.account.adds_up() {
            text.push_str("\nthe account does not add up");
        }
        for example in &self.verdict.examples {
            let _ = write!(text, "\n{example}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::Fault;
    use super::*;

    fn report(lost: i64, faults: Vec<(Fault, u64)>) -> Report {
        Report {
            account: Account::default(),
            tally: Tally::default(),
            verdict: Verdict {
                lost,
                faults,
                examples: vec!["crm: an example".to_owned()],
                blocked: 0,
            },
            released: 0,
            suppressed: 0,
            times: Times::default(),
            mails: PathBuf::new(),
        }
    }

    #[test]
    fn the_last_line_is_what_was_lost() {
        let clean = report(0, vec![(Fault::OutOfOrder, 0)]);
        assert!(clean.is_clean());
        assert!(clean.text().ends_with("\nout of order 0\nlost 0\n"));
    }

    #[test]
    fn a_loss_a_fault_and_a_wrong_sum_are_complaints() {
        assert!(!report(1, vec![]).is_clean());
        assert!(!report(0, vec![(Fault::Unexpected, 1)]).is_clean());
        let mut wrong = report(0, vec![]);
        wrong.account.captured = 1;
        assert!(!wrong.is_clean());
        assert!(wrong.complaint().contains("does not add up"));
        assert!(wrong.complaint().contains("crm: an example"));
    }
}
