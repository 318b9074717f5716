//! The barrier between the modes: of one event, no delayed delivery starts before every
//! synchronous one is tried (design section 4).
//!
//! *Tried* is a delivery whose first attempt has ended, or that can't start: it is not due. One
//! that only found its host's share of memory full could start, and is due again so soon that it
//! counts as due. A delayed delivery that has to wait is due at the barrier's end, one request
//! timeout and one lease after it was written. Whoever tries the last synchronous one makes it due
//! before; and claiming looks at the barrier once more, so that one that comes due by itself is not
//! sent too early either.

pub mod store;
