//! Rowcall: a Postgres-backed notification service.

pub mod api;
pub mod auth;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod nearest;
pub mod observe;
pub mod private_postgres;
pub mod registry;
pub mod sink;
pub mod stage;
pub mod subscription;
