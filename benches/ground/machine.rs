//! What figures are of.

use diesel::{PgConnection, QueryableByName, RunQueryDsl as _, sql_query, sql_types::Text};

/// The machine and the server, for a report.
pub(crate) fn machine(connection: &mut PgConnection) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let row: Row = sql_query("select current_setting('server_version') as version")
        .get_result(connection)
        .unwrap();
    format!("{cores} cores ({model}), PostgreSQL {}", row.version)
}
