//! Capture: every committed change is read exactly once and in order, writers are not disturbed,
//! and a sleeping reader wakes.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod anew;
mod at_rest;
mod columns;
mod cursor;
mod ddl;
mod defined;
mod defined_when;
mod detach;
mod doorbell;
mod epoch;
mod epoch_copies;
mod holes;
mod horizon;
mod images;
mod load;
mod many;
mod model;
mod partitions;
mod reading;
mod rights;
mod rotation;
#[path = "../support/mod.rs"]
mod support;
mod writers;
