//! Capture: from a row change inside a writer's transaction to a batch that publishing reads.
//!
//! Players, in the order a change meets them:
//! - [`install`] puts a trigger on every table that is an object type, and writes its function.
//! - [`rotation`] gives the change table a new leaf from time to time, and drops the old ones.
//! - [`doorbell`] lets the reader sleep: writers ring only while it does.
//! - [`batch`] reads what was committed since the last batch, by the difference of two snapshots.
//! - [`epoch`] notices that the database is another one, or an earlier state of itself, and stops
//!   the reading.
//! - [`relink`] puts the changes of one transaction to one object into the order in which they
//!   happened, where nested triggers captured them in another.
//! - [`image`] looks into the rows.
//!
//! Guaranteed: a committed change is in exactly one batch, whatever its transaction's length,
//! isolation level or number; one that was rolled back is in none; the changes of one object are in
//! the order in which they happened.

pub mod batch;
pub mod change;
mod cut;
pub mod doorbell;
pub mod epoch;
pub mod image;
pub mod install;
pub mod listen_socket;
pub mod relink;
pub mod rotation;
pub mod store;
