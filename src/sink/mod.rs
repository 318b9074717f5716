//! Where notifications go.
pub mod guard;
