//! What is claimed and waits for a sender, in memory and bounded.
//!
//! Publishing and claiming put chains in; senders take them, as [`lines`](super::lines) says. So a
//! receiver that hangs fills its own share only.

mod sender;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use self::sender::send;
use super::{
    aside::Aside,
    barrier::{self, Standing},
    chain::Chain,
    lines::{Bounds, Ended, LineKey, Lines, Start, Turn},
    send::{Done, return_all},
};
use crate::{
    clock::Clock, config::Limits, observe::metrics::BREAKERS_OPENED, stage::Nudge,
    subscription::model::Mode,
};

/// What is claimed leaves this part of the memory to what is born.
const BIRTHS_PART: usize = 4;
/// What waits for a barrier takes no more than this part of the memory.
const ASIDE_PART: usize = 4;

/// How long publishing waits for the next place that gets free.
const FREED_WAIT: Duration = Duration::from_millis(20);
/// The longest that it waits for all that it wants.
const FREED_WAIT_MAX: Duration = Duration::from_millis(250);

/// The claimed deliveries of one instance; clones share them.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    clock: Clock,
    memory_max: usize,
    slow_after: Duration,
    timeout: Duration,
    /// Places that are taken, from reservation to the writing of the result.
    in_memory: AtomicUsize,
    queue: Mutex<Queue>,
    done: mpsc::UnboundedSender<Done>,
    nudge: Nudge,
    /// Somebody left deliveries in the repository that are due.
    has_due: AtomicBool,
    /// Rung when places are given back.
    freed: Nudge,
}

struct Queue {
    lines: Lines<Chain>,
    aside: Aside<Chain>,
    is_closed: bool,
}

/// Places in memory: a delivery takes one, and more if its body is large (see
/// [`places_of`](super::chain::places_of)). Those that are not used are given back when it is
/// dropped.
pub struct Room {
    outbox: Outbox,
    places: usize,
    /// For what is published now, not for what is claimed.
    is_for_births: bool,
}

impl Room {
    /// How many deliveries fit whose bodies are small.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places
    }

    /// How many of these may be set aside to wait for the synchronous deliveries of their events.
    #[must_use]
    pub fn aside(&self) -> usize {
        let most = self.outbox.0.memory_max / ASIDE_PART;
        let free = most.saturating_sub(self.outbox.queue().aside.places());
        free.min(self.places)
    }

    /// Takes places for results that no sender is needed for.
    pub(super) fn take(&mut self, results: &[Done]) {
        self.fill(results.iter().map(Done::places).sum());
    }

    /// Large bodies may need more places than were reserved: whoever comes next has fewer.
    fn fill(&mut self, places: usize) {
        let beyond = places.saturating_sub(self.places);
        self.outbox.0.in_memory.fetch_add(beyond, Ordering::AcqRel);
        self.places = self.places.saturating_sub(places);
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
        let lines = Lines::new(Bounds::of(limits));
        let inner = Inner {
            clock,
            memory_max: limits.deliveries_in_memory_max,
            slow_after: limits.slow_after(),
            timeout: limits.request_timeout(),
            in_memory: AtomicUsize::new(0),
            queue: Mutex::new(Queue {
                lines,
                aside: Aside::default(),
                is_closed: false,
            }),
            done,
            nudge,
            has_due: AtomicBool::new(true),
            freed: Nudge::default(),
        };
        (Self(Arc::new(inner)), results)
    }

    /// Reserves for claiming half of what is free, so that publishing and claiming never shut each
    /// other out, and leaves a share to publishing. Nothing, once it is closed.
    #[must_use]
    pub fn reserve(&self) -> Room {
        let most = self.0.memory_max - self.0.memory_max / BIRTHS_PART;
        self.reserve_upto(most, false)
    }

    /// Reserves for publishing half of what is free. Nothing, once it is closed.
    #[must_use]
    pub fn reserve_for_births(&self) -> Room {
        self.reserve_upto(self.0.memory_max, true)
    }

    fn reserve_upto(&self, most: usize, is_for_births: bool) -> Room {
        let mut room = Room {
            outbox: self.clone(),
            places: 0,
            is_for_births,
        };
        if self.queue().is_closed {
            return room;
        }
        let _ = self
            .0
            .in_memory
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                room.places = half_free(most, used);
                Some(used + room.places)
            });
        room
    }

    /// Waits until so many places could be reserved for publishing, or for as many as there may
    /// be, but only as long as places get free: not for receivers that hang.
    pub async fn wait_for_births(&self, places: usize) {
        let most = self.0.memory_max;
        let places = places.min(half_free(most, most / 2));
        let end = Instant::now() + FREED_WAIT_MAX;
        while half_free(most, self.in_memory()) < places && Instant::now() < end {
            let freed = tokio::time::timeout(FREED_WAIT, self.0.freed.rung());
            if freed.await.is_err() {
                return;
            }
        }
    }

    /// Hands a chain to the senders; its deliveries take their places from `room`.
    pub fn push(&self, mut chain: Chain, room: &mut Room) {
        room.fill(chain.places());
        let is_synchronous = chain.subscription.subscription.spec.mode == Mode::Synchronous;
        chain.is_fresh = is_synchronous && (room.is_for_births || chain.is_fresh);
        self.enter([chain]);
    }

    /// Puts chains in their lines, or aside where a barrier is up; what can't go is returned.
    fn enter(&self, chains: impl IntoIterator<Item = Chain>) {
        let mut queue = self.queue();
        let (now, mut returned) = (self.0.clock.now(), Vec::new());
        for chain in chains {
            // Looked at under the lock that who brings it down takes afterwards: nobody is missed.
            let Some(first) = chain.deliveries.front() else {
                continue;
            };
            let (event, places) = (first.owed, chain.places());
            match first.standing() {
                _ if queue.is_closed => returned.push(chain),
                Standing::Lost => returned.push(chain),
                Standing::Up => queue.aside.insert(event, (chain, places), Instant::now()),
                Standing::Down => {
                    let (key, is_fresh) = (LineKey::of(&chain), chain.is_fresh);
                    queue.lines.push(&key, (chain, places), is_fresh, now);
                }
            }
        }
        self.start_more(queue);
        self.return_untried(returned);
    }

    fn return_untried(&self, chains: Vec<Chain>) {
        for chain in chains {
            return_all(chain, None, false, |done| self.tell(done));
        }
    }

    /// Returns what has waited for a barrier for as long as a request takes that is not slow: it
    /// waits in the repository, and not in memory.
    pub(super) fn return_late(&self) {
        let then = Instant::now().checked_sub(self.0.slow_after);
        let late = then.map(|then| self.queue().aside.take_late(then));
        self.return_untried(late.unwrap_or_default());
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
    pub fn free(&self, results: &[Done]) {
        self.free_places(results.iter().map(Done::places).sum());
    }

    fn free_places(&self, places: usize) {
        self.0.in_memory.fetch_sub(places, Ordering::AcqRel);
        self.0.freed.ring();
    }

    /// Places of deliveries that are claimed and whose results are not yet written.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.0.in_memory.load(Ordering::Acquire)
    }

    /// Requests under way.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.queue().lines.senders()
    }

    /// Of these, those to receivers that take long.
    #[must_use]
    pub fn slow_senders(&self) -> usize {
        self.queue().lines.slow_senders()
    }

    /// Starts nothing more and returns what waits. Requests under way go on, and what waits behind
    /// them in their chains is returned.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        let mut waiting = queue.lines.drain();
        waiting.extend(queue.aside.drain());
        drop(queue);
        self.return_untried(waiting);
    }

    /// A request under way takes long.
    pub(super) fn request_slow(&self, key: &LineKey) {
        let mut queue = self.queue();
        queue.lines.request_slow(key, self.0.clock.now());
        self.start_more(queue);
    }

    /// A request has ended.
    pub(super) fn request_ended(&self, key: &LineKey, ended: Ended) {
        let mut queue = self.queue();
        let turn = queue.lines.request_ended(key, ended, self.0.clock.now());
        self.start_more(queue);
        if let Some(turn) = turn {
            log(&turn);
        }
    }

    fn tell(&self, done: Done) {
        if let Some(again) = done.delivery().again.clone() {
            return again.tell(done);
        }
        let event = barrier::note(&done);
        // Nobody listens any more only when the instance is gone; the leases run out then.
        let _ = self.0.done.send(done);
        self.0.nudge.ring();
        // After the result, which is written no later than what this sends.
        if let Some(event) = event {
            let waiting = self.queue().aside.take(event);
            if !waiting.is_empty() {
                self.enter(waiting);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts senders as the limits allow, and returns what has no place any more.
    fn start_more(&self, queue: MutexGuard<'_, Queue>) {
        if let Some(first) = self.go_on(queue) {
            tokio::spawn(send(self.clone(), first));
        }
    }

    /// The same, for a sender that has nothing to do any more: the first is its own to send.
    fn go_on(&self, mut queue: MutexGuard<'_, Queue>) -> Option<Start<Chain>> {
        if queue.is_closed {
            return None;
        }
        let now = self.0.clock.now();
        let first = queue.lines.next(now);
        while let Some(start) = queue.lines.next(now) {
            tokio::spawn(send(self.clone(), start));
        }
        let back = queue.lines.take_back();
        drop(queue);
        for back in back {
            let not_before = Some(back.not_before);
            return_all(back.chain, not_before, back.is_deferred, |done| {
                self.tell(done);
            });
        }
        first
    }
}

/// What may be reserved of `most` places when so many are used.
fn half_free(most: usize, used: usize) -> usize {
    most.saturating_sub(used).div_ceil(2)
}

impl LineKey {
    fn of(chain: &Chain) -> Self {
        Self {
            subscription: chain.subscription.subscription.id,
            host: chain.subscription.host().into(),
        }
    }
}

fn log(turn: &Turn) {
    match turn {
        Turn::Opened(LineKey { subscription, host }, until) => {
            metrics::counter!(BREAKERS_OPENED).increment(1);
            tracing::warn!(
                %subscription, host = &**host, %until,
                "the receiver fails again and again; it is left alone until then"
            );
        }
        Turn::Closed(LineKey { subscription, host }) => {
            tracing::info!(%subscription, host = &**host, "the receiver answers again");
        }
    }
}
