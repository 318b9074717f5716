//! What is claimed and waits for a sender, in memory, bounded in all and per host.
//!
//! Publishing and claiming put chains in; senders take them, at most so many at once and so many
//! per host, one host after the other. So a receiver that hangs fills its own share only.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use tokio::sync::mpsc;

use super::{
    chain::Chain,
    send::{Done, return_all, send_chain},
};
use crate::{clock::Clock, config::Limits, stage::Nudge};

/// When deliveries are tried again for which a host's share of memory had no place.
const HOST_FULL_WAIT: TimeDelta = TimeDelta::seconds(1);

/// The claimed deliveries of one instance; clones share them.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    clock: Clock,
    memory_max: usize,
    host_memory_max: usize,
    senders_max: usize,
    senders_per_host_max: usize,
    timeout: Duration,
    /// Deliveries from reservation to the writing of their result.
    in_memory: AtomicUsize,
    queue: Mutex<Queue>,
    done: mpsc::UnboundedSender<Done>,
    nudge: Nudge,
    /// Somebody left deliveries in the repository that are due.
    has_due: AtomicBool,
}

#[derive(Default)]
struct Queue {
    senders: usize,
    hosts: HashMap<String, Host>,
    /// Hosts with waiting chains and free senders of their own, in turn.
    turn: VecDeque<String>,
    is_closed: bool,
}

#[derive(Default)]
struct Host {
    senders: usize,
    waiting: VecDeque<Chain>,
    waiting_deliveries: usize,
    in_turn: bool,
}

/// Places in memory; those that are not used are given back when it is dropped.
pub struct Room {
    outbox: Outbox,
    places: usize,
}

impl Room {
    /// How many deliveries fit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places
    }

    /// Takes places for deliveries that no sender is needed for.
    pub(super) fn take(&mut self, deliveries: usize) {
        self.places = self.places.saturating_sub(deliveries);
    }

    /// Whether none fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.outbox
            .0
            .in_memory
            .fetch_sub(self.places, Ordering::AcqRel);
    }
}

impl Outbox {
    /// An empty outbox, and where the results arrive. Their number is bounded by the deliveries in
    /// memory. `nudge` is rung when there are any.
    #[must_use]
    pub fn new(
        clock: Clock,
        limits: &Limits,
        nudge: Nudge,
    ) -> (Self, mpsc::UnboundedReceiver<Done>) {
        let (done, results) = mpsc::unbounded_channel();
        let inner = Inner {
            clock,
            memory_max: limits.deliveries_in_memory_max,
            host_memory_max: limits.deliveries_in_memory_max / 2,
            senders_max: limits.senders_max,
            senders_per_host_max: limits.senders_per_host_max,
            timeout: limits.request_timeout(),
            in_memory: AtomicUsize::new(0),
            queue: Mutex::default(),
            done,
            nudge,
            has_due: AtomicBool::new(true),
        };
        (Self(Arc::new(inner)), results)
    }

    /// Reserves half of what is free, so that publishing and claiming never shut each other out.
    /// Nothing, once it is closed.
    #[must_use]
    pub fn reserve(&self) -> Room {
        let mut places = 0;
        if self.queue().is_closed {
            return Room {
                outbox: self.clone(),
                places,
            };
        }
        let _ = self
            .0
            .in_memory
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                places = self.0.memory_max.saturating_sub(used).div_ceil(2);
                Some(used + places)
            });
        Room {
            outbox: self.clone(),
            places,
        }
    }

    /// Hands a chain to the senders; its deliveries take their places from `room`.
    pub fn push(&self, chain: Chain, room: &mut Room) {
        room.places = room.places.saturating_sub(chain.deliveries.len());
        let host = chain.subscription.host().to_owned();
        let mut queue = self.queue();
        let is_closed = queue.is_closed;
        let entry = queue.hosts.entry(host.clone()).or_default();
        let is_full = entry.waiting_deliveries + chain.deliveries.len() > self.0.host_memory_max
            && !entry.waiting.is_empty();
        if is_closed || is_full {
            drop(queue);
            let not_before = (!is_closed).then(|| self.0.clock.now() + HOST_FULL_WAIT);
            return return_all(chain, not_before, |done| self.tell(done));
        }
        entry.waiting_deliveries += chain.deliveries.len();
        entry.waiting.push_back(chain);
        self.start_more(&mut queue, Some(host));
    }

    /// The time that the senders go by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Says that there are due deliveries in the repository.
    pub fn look(&self) {
        self.0.has_due.store(true, Ordering::Release);
        self.0.nudge.ring();
    }

    /// Whether somebody said so since this was asked last.
    pub fn take_look(&self) -> bool {
        self.0.has_due.swap(false, Ordering::AcqRel)
    }

    /// Frees the places of deliveries whose results are written.
    pub fn free(&self, deliveries: usize) {
        self.0.in_memory.fetch_sub(deliveries, Ordering::AcqRel);
    }

    /// Deliveries that are claimed and whose results are not yet written.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.0.in_memory.load(Ordering::Acquire)
    }

    /// Requests under way.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.queue().senders
    }

    /// Starts nothing more and returns what waits. Requests under way go on, and what waits behind
    /// them in their chains is returned.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        let waiting: Vec<Chain> = queue
            .hosts
            .values_mut()
            .flat_map(|host| std::mem::take(&mut host.waiting))
            .collect();
        queue.turn.clear();
        drop(queue);
        for chain in waiting {
            return_all(chain, None, |done| self.tell(done));
        }
    }

    fn tell(&self, done: Done) {
        if let Some(again) = done.delivery().again.clone() {
            return again.tell(done);
        }
        // Nobody listens any more only when the instance is gone; the leases run out then.
        let _ = self.0.done.send(done);
        self.0.nudge.ring();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts senders as the limits allow. `host` may have got work or a free sender.
    fn start_more(&self, queue: &mut Queue, host: Option<String>) {
        if let Some(host) = host {
            queue.line_up(host, self.0.senders_per_host_max);
        }
        while queue.senders < self.0.senders_max {
            let Some(name) = queue.turn.pop_front() else {
                return;
            };
            let Some(host) = queue.hosts.get_mut(&name) else {
                continue;
            };
            host.in_turn = false;
            let Some(chain) = host.waiting.pop_front() else {
                continue;
            };
            host.waiting_deliveries -= chain.deliveries.len();
            host.senders += 1;
            queue.senders += 1;
            queue.line_up(name.clone(), self.0.senders_per_host_max);
            let outbox = self.clone();
            tokio::spawn(async move {
                let mut sender = Sender {
                    outbox: &outbox,
                    host: name,
                    untold: chain.deliveries.len(),
                };
                let tell = |done| {
                    sender.untold -= 1;
                    outbox.tell(done);
                };
                let (clock, timeout) = (&outbox.0.clock, outbox.0.timeout);
                let is_closed = || outbox.queue().is_closed;
                send_chain(chain, clock, timeout, is_closed, tell).await;
            });
        }
    }
}

/// A sender at work. Its turn ends with it, also if a sink panics; the leases return the deliveries
/// then.
struct Sender<'a> {
    outbox: &'a Outbox,
    host: String,
    /// Deliveries that nothing was told of yet.
    untold: usize,
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.host);
        self.outbox.free(self.untold);
        let mut queue = self.outbox.queue();
        queue.senders -= 1;
        if let Some(host) = queue.hosts.get_mut(&name) {
            host.senders -= 1;
            if host.senders == 0 && host.waiting.is_empty() {
                queue.hosts.remove(&name);
            }
        }
        if !queue.is_closed {
            self.outbox.start_more(&mut queue, Some(name));
        }
        drop(queue);
        self.outbox.0.nudge.ring();
    }
}

impl Queue {
    /// Puts a host in turn if it has a chain waiting and may have another sender.
    fn line_up(&mut self, name: String, senders_per_host_max: usize) {
        if let Some(host) = self.hosts.get_mut(&name)
            && !host.in_turn
            && !host.waiting.is_empty()
            && host.senders < senders_per_host_max
        {
            host.in_turn = true;
            self.turn.push_back(name);
        }
    }
}
