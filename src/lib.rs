//! Rowcall: a Postgres-backed notification service.
#![doc = ""]

pub mod clock;
pub mod sink;
pub mod private_postgres;
