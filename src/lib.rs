//! Rowcall: a Postgres-backed notification service.

pub mod account;
pub mod api;
pub mod app;
pub mod auth;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod deliver;
pub mod nearest;
pub mod observe;
pub mod private_postgres;
pub mod publish;
pub mod registry;
pub mod sink;
pub mod stage;
pub mod subscription;
pub mod upkeep;
