//! Publishing constraints: named metadata that says publish, hold or suppress for an event and a
//! subscription (design section 6).
//!
//! Players: [`model`] is a constraint as it is written, [`check`] what can be wrong with it by
//! itself, [`compile`] makes it ready with [`window`] and [`rate`], [`judge`] decides, and
//! [`counters`] and [`store`] keep how much of the rates is used up.
//!
//! Guaranteed: all constraints must pass, suppress beats hold, and what can't be judged does not
//! pass. A rate is never exceeded, however many instances count, and counts each delivery once.

pub mod check;
pub mod compile;
pub mod counters;
pub mod judge;
pub mod model;
pub mod rate;
pub mod store;
pub mod window;

pub use self::check::check;
