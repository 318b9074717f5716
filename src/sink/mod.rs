//! Where notifications go.
