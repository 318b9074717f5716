//! The barrier between the modes: of one event, no delayed delivery starts before every synchronous
//! one is tried (design section 4).
//!
//! *Tried* is a delivery whose first attempt has ended, or that can't start: an earlier event of
//! its object is unsettled, it is held, its subscription is not active. One that is due later,
//! because its receiver has more than its share in memory, is waited for until the barrier's end.
//!
//! A delayed delivery that has to wait is due at the barrier's end, one request timeout and one
//! lease after it was written. Whoever tries the last synchronous one makes it due before; and
//! claiming looks at the barrier once more, so that one that comes due by itself is not sent too
//! early either.

pub mod store;
