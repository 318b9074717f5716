//! Publishing constraints: named metadata that says publish, hold or suppress for an event and a
//! subscription (design section 6).
//!
//! [`model`] is a constraint as it is written, [`check`] what can be wrong with it by itself;
//! [`window`] and [`rate`] are two of the three things that must pass.

pub mod check;
pub mod model;
pub mod rate;
pub mod window;

pub use self::check::check;
