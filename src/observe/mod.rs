//! What Rowcall tells about itself: metrics and readiness.

pub mod logging;
pub mod metrics;
pub mod readiness;
