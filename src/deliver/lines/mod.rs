//! Whose turn it is, of all that waits for a sender. Pure.
//!
//! Each receiver has a [`line`](self::line): a subscription's at a host. Of a line, of a host and
//! in all only so many requests are under way at once. So that nobody who hangs, and nothing that
//! has time, keeps others waiting:
//!
//! - A receiver is *slow* when a request to it has been under way for long, or its last one was.
//!   The senders of slow receivers are counted apart, and are so few each and so many in all.
//! - Receivers that have not answered yet, and slow ones, leave half of the senders to the others.
//! - Lines with something fresh go first, then lines without a request under way. Each such rank
//!   leaves a share of the senders to the ones before it.
//! - A line whose breaker, or whose host's breaker, is open has nothing here: it was sent back.
//! - A line of which nothing good is known has a small share of memory, and all of them half.
//!
//! Starting and ending cost the logarithm of the number of lines.

#[cfg(test)]
mod ends;
mod line;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use self::line::{FULL_WAIT, Line, Rank, Waiting, Weight};
pub(super) use self::{
    line::LineKey,
    words::{Back, Bounds, Ended, Probes, Start, Turn},
};
use super::breaker::{Breaker, Passage, Sign};

/// Each rank leaves one part of so many of the senders to the ranks before it.
const RESERVE_PARTS: usize = 16;
/// Lines, and hosts, that are remembered when nothing is owed to them,
const REMEMBERED_MAX: usize = 10_000;
/// and with them those that failed last.
const FAILING_REMEMBERED_MAX: usize = 100_000;

#[derive(Default)]
struct Host {
    senders: usize,
    breaker: Breaker,
    /// Lines that wait for one of its senders, or for its probe.
    behind: VecDeque<LineKey>,
}

/// All lines of an instance.
pub(super) struct Lines<T> {
    bounds: Bounds,
    lines: HashMap<LineKey, Line<T>>,
    hosts: HashMap<Arc<str>, Host>,
    /// Lines whose turn comes, and nothing of their own is in the way.
    turns: BTreeMap<(Rank, u64), LineKey>,
    ticket: u64,
    used: Weight,
    back: Vec<Back<T>>,
}

impl<T> Lines<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: HashMap::new(),
            hosts: HashMap::new(),
            turns: BTreeMap::new(),
            ticket: 0,
            used: Weight::default(),
            back: Vec::new(),
        }
    }

    /// Requests under way, those to slow receivers included.
    pub(super) fn senders(&self) -> usize {
        self.used.quick + self.used.slow
    }

    /// Chains under way to slow receivers.
    pub(super) fn slow_senders(&self) -> usize {
        self.used.slow
    }

    /// What was sent back since this was asked last.
    pub(super) fn take_back(&mut self) -> Vec<Back<T>> {
        std::mem::take(&mut self.back)
    }

    /// Puts a chain in its line, or sends it back.
    pub(super) fn push(
        &mut self,
        key: &LineKey,
        (chain, deliveries): (T, usize),
        is_fresh: bool,
        now: DateTime<Utc>,
    ) {
        let of_host = self
            .hosts
            .get(&key.host)
            .map(|host| host.breaker.passage(now));
        let (unproven, bounds) = (self.used.unproven, self.bounds);
        let back = self.change(key, |line| {
            let passages = [Some(line.breaker.passage(now)), of_host];
            let until = passages
                .into_iter()
                .flatten()
                .filter_map(Passage::until)
                .max();
            if let Some(until) = until {
                let not_before = line.back_at(until);
                return Some(Back {
                    chain,
                    not_before,
                    is_deferred: true,
                });
            }
            if !line.has_place((deliveries, is_fresh), unproven, &bounds) {
                let not_before = line.full_until(now);
                return Some(Back {
                    chain,
                    not_before,
                    is_deferred: false,
                });
            }
            line.push(Waiting { chain, deliveries }, is_fresh);
            None
        });
        self.back.extend(back);
        self.settle(key);
    }

    /// The next chain to send, if a sender may take one.
    pub(super) fn next(&mut self, now: DateTime<Utc>) -> Option<Start<T>> {
        for rank in Rank::ALL {
            while self.has_sender(rank) {
                let from = (rank, 0)..=(rank, u64::MAX);
                let Some((place, key)) = self.turns.range(from).next() else {
                    break;
                };
                let (place, key) = (*place, key.clone());
                self.turns.remove(&place);
                let start = self.start(&key, now);
                if start.is_some() {
                    return start;
                }
            }
        }
        None
    }

    /// A request has been under way for long.
    pub(super) fn request_slow(&mut self, key: &LineKey, now: DateTime<Utc>) {
        let bounds = self.bounds;
        let shed = self.change(key, |line| {
            let shed = line.turned_slow(&bounds);
            let back = |chain| Back {
                chain,
                not_before: line.full_until(now),
                is_deferred: false,
            };
            shed.into_iter().map(back).collect::<Vec<_>>()
        });
        self.back.extend(shed);
        self.host_freed(&key.host, false);
    }

    /// A request has ended. Its chain may go on.
    pub(super) fn request_ended(
        &mut self,
        key: &LineKey,
        ended: Ended,
        now: DateTime<Utc>,
    ) -> Option<Turn> {
        let Ended {
            sign,
            was_slow,
            probes,
        } = ended;
        let patience = self.bounds.patience;
        let (opened, closed) = self.change(key, |line| {
            line.ended(was_slow, sign);
            line.breaker
                .judge(sign, sign.is_good(), probes.line, &patience, now)
        });
        // Of a host, any answer shows that it is there.
        let host = self.hosts.entry(Arc::clone(&key.host)).or_default();
        let (host_opened, host_closed) =
            host.breaker
                .judge(sign, sign.is_there(), probes.host, &patience, now);
        if let Some(until) = host_opened {
            let lines = self.lines.keys().filter(|other| other.host == key.host);
            for key in lines.cloned().collect::<Vec<_>>() {
                self.send_back(&key, until);
            }
        } else if let Some(until) = opened {
            self.send_back(key, until);
        } else if sign == Sign::Gone {
            // It is about to be disabled: nothing more is sent meanwhile.
            self.send_back(key, now + FULL_WAIT);
        }
        // The probe's end concerns all that wait for it.
        let all = host_closed || host_opened.is_some() || probes.any();
        self.host_freed(&key.host, all);
        match opened.max(host_opened) {
            Some(until) => Some(Turn::Opened(key.clone(), until)),
            None if closed || host_closed => Some(Turn::Closed(key.clone())),
            None => None,
        }
    }

    /// A chain has ended, and its sender is free.
    pub(super) fn sender_ended(&mut self, key: &LineKey) {
        self.change(key, |line| line.senders -= 1);
        if let Some(host) = self.hosts.get_mut(&key.host) {
            host.senders -= 1;
        }
        self.host_freed(&key.host, false);
        self.settle(key);
    }

    /// Whether the receiver is to be left alone now.
    pub(super) fn is_open(&self, key: &LineKey, now: DateTime<Utc>) -> bool {
        let of_line = self.lines.get(key).map(|line| line.breaker.passage(now));
        let of_host = self
            .hosts
            .get(&key.host)
            .map(|host| host.breaker.passage(now));
        let is_open = |passage: Passage| passage.until().is_some();
        of_line.is_some_and(is_open) || of_host.is_some_and(is_open)
    }

    /// Takes everything that waits.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let keys: Vec<LineKey> = self.lines.keys().cloned().collect();
        let mut all = Vec::new();
        for key in keys {
            all.extend(self.change(&key, Line::drain));
        }
        all
    }

    /// Whether a line of this rank may have one more of the senders.
    fn has_sender(&self, rank: Rank) -> bool {
        let Bounds {
            senders_max,
            senders_slow_max,
            ..
        } = self.bounds;
        let Weight {
            quick,
            slow,
            strangers,
            ..
        } = self.used;
        if quick + slow >= senders_max + senders_slow_max {
            return false;
        }
        // Half of the senders are only for those that are known to answer.
        let is_unproven = matches!(rank, Rank::Stranger | Rank::Slow);
        if is_unproven && strangers + slow >= senders_max / 2 + senders_slow_max {
            return false;
        }
        if rank == Rank::Slow {
            return slow < senders_slow_max;
        }
        quick < senders_max - senders_max / RESERVE_PARTS * rank as usize
    }

    /// Starts the line's next chain, unless its host is in the way.
    fn start(&mut self, key: &LineKey, now: DateTime<Utc>) -> Option<Start<T>> {
        let host = self.hosts.entry(Arc::clone(&key.host)).or_default();
        let passage = host.breaker.passage(now);
        if host.senders >= self.bounds.senders_per_host_max || passage == Passage::Probing {
            host.behind.push_back(key.clone());
            self.change(key, |line| line.is_behind_host = true);
            return None;
        }
        let of_line = self.lines.get(key).map(|line| line.breaker.passage(now));
        let until = [Some(passage), of_line].into_iter().flatten();
        if let Some(until) = until.filter_map(Passage::until).max() {
            self.send_back(key, until);
            self.host_freed(&key.host, false);
            return None;
        }
        let probes = Probes {
            line: of_line == Some(Passage::Probe),
            host: passage == Passage::Probe,
        };
        let chain = self.change(key, |line| {
            let chain = line.pop();
            if chain.is_some() {
                line.senders += 1;
                if probes.line {
                    line.breaker.probe();
                }
            }
            chain
        })?;
        let host = self.hosts.entry(Arc::clone(&key.host)).or_default();
        host.senders += 1;
        if probes.host {
            host.breaker.probe();
        }
        Some(Start {
            key: key.clone(),
            chain,
            probes,
        })
    }

    /// Sends back what waits in a line until its receiver may be asked again.
    fn send_back(&mut self, key: &LineKey, until: DateTime<Utc>) {
        let back = self.change(key, |line| {
            let drained = line.drain();
            let back = |chain| Back {
                chain,
                not_before: line.back_at(until),
                is_deferred: true,
            };
            drained.into_iter().map(back).collect::<Vec<_>>()
        });
        self.back.extend(back);
    }

    /// The host may take another request: those behind it, or the first of them, are in turn again.
    fn host_freed(&mut self, name: &Arc<str>, all: bool) {
        while let Some(host) = self.hosts.get_mut(name) {
            if !all && host.senders >= self.bounds.senders_per_host_max {
                return;
            }
            let Some(key) = host.behind.pop_front() else {
                return;
            };
            self.change(&key, |line| line.is_behind_host = false);
            let has_turn = self
                .lines
                .get(&key)
                .is_some_and(|line| line.place.is_some());
            if has_turn && !all {
                return;
            }
        }
    }

    /// Changes a line, and what follows from it: what all use, and whose turn comes.
    fn change<R>(&mut self, key: &LineKey, act: impl FnOnce(&mut Line<T>) -> R) -> R {
        let line = self.lines.entry(key.clone()).or_default();
        let before = line.weight();
        let result = act(line);
        let after = line.weight();
        let used = &mut self.used;
        used.quick = used.quick + after.quick - before.quick;
        used.strangers = used.strangers + after.strangers - before.strangers;
        used.slow = used.slow + after.slow - before.slow;
        used.unproven = used.unproven + after.unproven - before.unproven;
        let rank = line.rank(&self.bounds);
        if line.place.map(|(rank, _)| rank) != rank
            || line
                .place
                .is_some_and(|place| !self.turns.contains_key(&place))
        {
            if let Some(place) = line.place.take() {
                self.turns.remove(&place);
            }
            line.place = rank.map(|rank| (rank, self.ticket));
            if let Some(place) = line.place {
                self.turns.insert(place, key.clone());
                self.ticket += 1;
            }
        }
        result
    }

    /// Forgets a line, and its host, of which nothing is to be remembered.
    fn settle(&mut self, key: &LineKey) {
        let (lines, hosts) = (self.lines.len(), self.hosts.len());
        let forgets = |line: &Line<T>| {
            let is_many = lines > REMEMBERED_MAX && line.is_good();
            line.is_idle() && (is_many || lines > FAILING_REMEMBERED_MAX)
        };
        if self.lines.get(key).is_some_and(forgets) {
            self.lines.remove(key);
        }
        let is_done = |host: &Host| {
            let is_idle = host.senders == 0 && host.behind.is_empty();
            is_idle && (host.breaker.is_clean() || hosts > FAILING_REMEMBERED_MAX)
        };
        if self.hosts.get(&key.host).is_some_and(is_done) {
            self.hosts.remove(&key.host);
        }
    }
}
