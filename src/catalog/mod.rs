//! The catalogue: which tables are business objects, and which events they have.

pub mod model;
pub mod object_key;
