//! The private Postgres that is measured on.

use rowcall::private_postgres::ClusterOptions;

/// A cluster whose commits are durable, as in production.
pub(crate) fn durable(shared_buffers: &str) -> ClusterOptions {
    let mut options = ClusterOptions::temporary();
    options.durable = true;
    options.with_setting("shared_buffers", shared_buffers)
}
