//! The catalogue: which tables are business objects, which events they have, and what must be so
//! for an event to be published.
//!
//! [`load`] reads a folder of TOML files (of [`document`]s) and keeps the [`place`] of everything
//! that was written. [`shape`] is what the real tables look like, [`store`] what runs. [`validate`]
//! and [`plan`] are pure: the first compares the folder with the tables, the second with what runs.
//! [`examine`] puts these together, and [`apply`] does the whole under the registry's lock, in one
//! transaction, as a new version. A folder with a [`problem`] changes nothing.
//!
//! [`edit`] does for one event type or constraint of the API what [`apply`] does for a folder. Both
//! judge with the same pure checks: [`event_type_check`], [`constraint_check`] and, for
//! subscriptions, [`selection`](crate::subscription::selection), each in a [`World`](meant::World)
//! of catalogue and [`columns`], with [`conditions`] compiled for all that is [`meant`]. [`users`]
//! says whom an edit would break who is no part of it, and [`conflict`] where the API edited what
//! the folder has. Object types may be tables of other databases: `elsewhere` sees to those when a
//! folder is applied. [`schema`] is of data that comes through the
//! API, [`data_schema`] of data that comes from rows.

mod affected;
pub mod apply;
pub mod columns;
pub mod conditions;
pub mod conflict;
pub mod constraint_check;
mod credentials;
pub mod data_schema;
pub mod document;
pub mod edit;
mod elsewhere;
mod entry;
pub mod event_type_check;
pub mod examine;
pub mod load;
pub mod meant;
pub mod model;
pub mod names;
pub mod object_key;
pub mod operations;
mod pattern;
pub mod place;
pub mod plan;
pub mod problem;
mod redaction;
mod relations;
pub mod schema;
pub mod shape;
mod source_check;
mod source_part;
mod standard;
pub mod store;
mod suggestion;
mod table_check;
pub mod users;
pub mod validate;
