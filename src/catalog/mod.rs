//! The catalogue: which tables are business objects, and which events they have.
//!
//! [`load`] reads a folder of TOML files (of [`document`]s) and keeps the [`place`] of everything
//! that was written. [`shape`] is what the real tables look like, [`store`] what runs. [`validate`]
//! and [`plan`] are pure: the first compares the folder with the tables, the second with what runs.
//! [`examine`] puts these together, and [`apply`] does the whole under the registry's lock, in one
//! transaction, as a new version. A folder with a [`problem`] changes nothing.

mod affected;
pub mod apply;
pub mod columns;
pub mod conditions;
pub mod constraint_check;
pub mod data_schema;
pub mod document;
pub mod edit;
mod entry;
pub mod event_type_check;
pub mod examine;
pub mod load;
pub mod meant;
pub mod model;
pub mod names;
pub mod object_key;
pub mod place;
pub mod plan;
pub mod problem;
mod redaction;
mod relations;
pub mod schema;
pub mod shape;
pub mod store;
mod suggestion;
mod table_check;
pub mod users;
pub mod validate;
