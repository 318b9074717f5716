//! The requests of one sender: the outbox is told when one takes long, and how each ended.

use std::{pin::pin, time::Duration};

use super::{
    breaker::Sign,
    lines::{Ended, LineKey, Probes},
    outbox::Outbox,
    send::Tried,
};

/// The requests of one sender.
pub(super) struct Requests<'a> {
    outbox: &'a Outbox,
    key: &'a LineKey,
    slow_after: Duration,
    /// The breakers that the next one is the probe of.
    probes: Probes,
}

impl<'a> Requests<'a> {
    /// Those of a chain of the line `key`; the first is the probe of these breakers.
    pub(super) fn new(
        outbox: &'a Outbox,
        key: &'a LineKey,
        slow_after: Duration,
        probes: Probes,
    ) -> Self {
        Self {
            outbox,
            key,
            slow_after,
            probes,
        }
    }

    /// Waits for `request`. Calls `took_long` if it takes long.
    pub(super) async fn watch(
        &mut self,
        request: impl Future<Output = Tried>,
        took_long: impl FnOnce(),
    ) -> Tried {
        let mut under_way = UnderWay {
            outbox: self.outbox,
            key: self.key,
            ended: Ended {
                sign: Sign::Unasked,
                was_slow: false,
                probes: std::mem::take(&mut self.probes),
            },
        };
        let mut request = pin!(request);
        let tried = match tokio::time::timeout(self.slow_after, request.as_mut()).await {
            Ok(tried) => tried,
            Err(_) => {
                under_way.ended.was_slow = true;
                self.outbox.request_slow(self.key);
                took_long();
                request.await
            }
        };
        under_way.ended.sign = tried.sign;
        tried
    }
}

impl Drop for Requests<'_> {
    fn drop(&mut self) {
        if self.probes.any() {
            let ended = Ended {
                sign: Sign::Unasked,
                was_slow: false,
                probes: self.probes,
            };
            self.outbox.request_ended(self.key, ended);
        }
    }
}

/// A request under way. It ends with this, also if the sink panics.
struct UnderWay<'a> {
    outbox: &'a Outbox,
    key: &'a LineKey,
    ended: Ended,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.outbox.request_ended(self.key, self.ended);
    }
}
