//! A sender: a task that sends chains to the receivers whose turn it is.

use std::sync::MutexGuard;

use super::{Outbox, Queue};
use crate::deliver::{
    chain::Chain,
    lines::{LineKey, Start},
    requests::Requests,
    send::{Done, send_chain},
};

/// A sender's work: chain after chain, as long as there is one for it. A task is as large as all
/// that it may wait for, so making one for each delivery would cost more than some sends.
pub(super) async fn send(outbox: Outbox, start: Start<Chain>) {
    let mut next = Some(start);
    while let Some(start) = next {
        next = send_one(&outbox, start).await;
    }
}

async fn send_one(outbox: &Outbox, start: Start<Chain>) -> Option<Start<Chain>> {
    let Start { key, chain, probes } = start;
    let mut sender = Sender {
        outbox,
        key: &key,
        untold: chain.places(),
        has_ended: false,
    };
    let mut requests = Requests::new(outbox, &key, outbox.0.slow_after, probes);
    let tell = |done: Done| {
        sender.untold -= done.places();
        outbox.tell(done);
    };
    let (clock, timeout) = (&outbox.0.clock, outbox.0.timeout);
    let is_to_stop = || {
        let queue = outbox.queue();
        queue.is_closed || queue.lines.is_open(&key, clock.now())
    };
    let left = send_chain(chain, clock, timeout, &mut requests, is_to_stop, tell).await;
    drop(requests);
    if let Some(left) = left {
        sender.untold -= left.places();
        outbox.enter([left]);
    }
    sender.end()
}

/// A sender at work. Its turn ends with it, also if a sink panics; the leases return the deliveries
/// then.
struct Sender<'a> {
    outbox: &'a Outbox,
    key: &'a LineKey,
    /// Places of deliveries that nothing was told of yet.
    untold: usize,
    has_ended: bool,
}

impl<'a> Sender<'a> {
    /// Ends the turn; what is next for it, if anything is.
    fn end(mut self) -> Option<Start<Chain>> {
        self.outbox.go_on(self.give_back())
    }

    fn give_back(&mut self) -> MutexGuard<'a, Queue> {
        self.has_ended = true;
        self.outbox.free_places(self.untold);
        let mut queue = self.outbox.queue();
        queue.lines.sender_ended(self.key);
        self.outbox.0.nudge.ring();
        queue
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let queue = self.give_back();
            self.outbox.start_more(queue);
        }
    }
}
