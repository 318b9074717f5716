//! Digests: what is published for a subscription of the mode `batch` is gathered, and leaves
//! condensed when its window closes.
//!
//! Players: [`schedule`] says when a window closes, and [`cron`] what a local time is; [`gather`]
//! adds events to the open digest; `store` is the SQL.
//!
//! Guaranteed: each event of a batch subscription is in exactly one digest, and counts are exact.

pub mod cron;
pub mod gather;
pub mod schedule;
mod store;
