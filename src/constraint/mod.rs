//! Publishing constraints: named metadata that says publish, hold or suppress for an event and a
//! subscription (design section 6).

pub mod model;
