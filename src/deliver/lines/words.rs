//! What goes into the lines and comes out of them.

use chrono::{DateTime, Utc};

use super::line::LineKey;
use crate::{
    config::Limits,
    deliver::breaker::{Patience, Sign},
};

/// The limits that lines go by.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliver) struct Bounds {
    pub(in crate::deliver) senders_max: usize,
    pub(in crate::deliver) senders_per_host_max: usize,
    pub(in crate::deliver) senders_per_subscription_max: usize,
    pub(in crate::deliver) senders_slow_max: usize,
    pub(in crate::deliver) senders_per_slow_max: usize,
    /// Places of deliveries.
    pub(in crate::deliver) memory_max: usize,
    pub(in crate::deliver) patience: Patience,
}

impl Bounds {
    pub(in crate::deliver) fn of(limits: &Limits) -> Self {
        Self {
            senders_max: limits.senders_max,
            senders_per_host_max: limits.senders_per_host_max,
            senders_per_subscription_max: limits.senders_per_subscription_max,
            senders_slow_max: limits.senders_slow_max,
            senders_per_slow_max: limits.senders_per_slow_subscription_max,
            memory_max: limits.deliveries_in_memory_max,
            patience: Patience::of(limits),
        }
    }
}

/// A chain whose turn it is.
pub(in crate::deliver) struct Start<T> {
    pub(in crate::deliver) key: LineKey,
    pub(in crate::deliver) chain: T,
    /// Its first request decides whether these breakers close.
    pub(in crate::deliver) probes: Probes,
}

/// The breakers that a request is the probe of. The others learn from it what any request tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::deliver) struct Probes {
    pub(in crate::deliver) line: bool,
    pub(in crate::deliver) host: bool,
}

impl Probes {
    /// Whether it is one at all.
    pub(in crate::deliver) fn any(self) -> bool {
        self.line || self.host
    }
}

/// A chain that is sent back.
pub(in crate::deliver) struct Back<T> {
    pub(in crate::deliver) chain: T,
    /// When it may be claimed again.
    pub(in crate::deliver) not_before: DateTime<Utc>,
    /// A breaker is open: it can't start now, so nobody waits for its first attempt.
    pub(in crate::deliver) is_deferred: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliver) struct Ended {
    pub(in crate::deliver) sign: Sign,
    /// [`Lines::request_slow`] was told of it.
    pub(in crate::deliver) was_slow: bool,
    /// The probes that it was: those of its chain, if it was the first of it.
    pub(in crate::deliver) probes: Probes,
}

/// A change of a breaker that is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::deliver) enum Turn {
    /// It opened, until then.
    Opened(LineKey, DateTime<Utc>),
    /// It closed.
    Closed(LineKey),
}
