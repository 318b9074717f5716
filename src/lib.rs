//! Rowcall: a Postgres-backed notification service.

pub mod catalog;
pub mod clock;
pub mod config;
pub mod db;
pub mod nearest;
pub mod private_postgres;
pub mod sink;
pub mod stage;
pub mod subscription;
