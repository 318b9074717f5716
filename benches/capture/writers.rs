//! The trigger alone: Rowcall does not run.

use diesel::connection::SimpleConnection as _;

use crate::{
    Settings,
    bed::{Bed, Table},
    report::{Report, median},
};

/// Single-row updates while Rowcall is stopped.
pub(crate) fn stopped(bed: &Bed, settings: &Settings, report: &mut Report) {
    for clients in [8, 32] {
        let figures = rounds(bed, settings, &Table::ALL, |table| {
            bed.pgbench(table, clients, settings.seconds, None).rate
        });
        let title = format!("single-row UPDATE, {clients} clients, Rowcall stopped");
        report.compare(&title, "commits/s", &figures);
    }
}

/// One statement that updates 10,000 rows.
pub(crate) fn bulk(bed: &Bed, settings: &Settings, report: &mut Report) {
    let figures = rounds(bed, settings, &Table::ALL, |table| {
        let table = table.name();
        bed.timed(&format!(
            "update public.{table} set total = total + 1 where id <= 10000"
        ))
    });
    report.compare("UPDATE of 10,000 rows", "ms", &figures);
}

/// COPY of many rows. Twice is enough: it takes long.
pub(crate) fn copy(bed: &Bed, settings: &Settings, report: &mut Report) {
    let rows = settings.copy_rows;
    // Written by the server, in the one place where it surely may.
    let file = format!("{}/bench.copy", bed.setting("data_directory"));
    bed.execute(&format!(
        "copy (select i + 1000000, 'new', i % 1000, i, repeat('n', 100), now(), 'EU' \
             from generate_series(1, {rows}) i) to '{file}'"
    ));
    let settings = Settings {
        rounds: settings.rounds.min(2),
        only: Vec::new(),
        ..*settings
    };
    let tables = [Table::Plain, Table::All, Table::Body, Table::When];
    let figures = rounds(bed, &settings, &tables, |table| {
        let table = table.name();
        let elapsed = bed.timed(&format!("copy public.{table} from '{file}'"));
        bed.tidy();
        elapsed
    });
    report.compare(&format!("COPY of {rows} rows"), "ms", &figures);
}

/// A transaction held open elsewhere, which keeps dead rows from being removed.
pub(crate) fn held(bed: &Bed, settings: &Settings, report: &mut Report) {
    let run = |table| bed.pgbench(table, 8, settings.seconds, None).rate;
    let (mut free, mut bound, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bed.tidy();
        free.push(run(Table::All));
        bed.tidy();
        let mut holder = bed.connect();
        holder
            .batch_execute(
                "begin isolation level repeatable read; select pg_current_xact_id(); \
                 select count(*) from public.plain",
            )
            .unwrap();
        bound.push(run(Table::All));
        holder.batch_execute("rollback").unwrap();
        ratios.push(bound[bound.len() - 1] / free[free.len() - 1]);
    }
    let dead = bed.number(
        "select coalesce(sum(n_dead_tup + n_tup_upd + n_tup_del), 0)::bigint as value \
         from pg_stat_all_tables where schemaname = 'rowcall' and relname like 'change%'",
    );
    report.tell(
        "captured single-row UPDATE, 8 clients, with a transaction open elsewhere",
        &[
            ("commits/s without it", median(&free)),
            ("commits/s with it", median(&bound)),
            ("ratio", median(&ratios)),
            ("dead rows in the change table", dead as f64),
        ],
    );
}

/// Of each table one figure a round.
fn rounds(
    bed: &Bed,
    settings: &Settings,
    tables: &[Table],
    mut measure: impl FnMut(Table) -> f64,
) -> Vec<(Table, Vec<f64>)> {
    let mut figures: Vec<(Table, Vec<f64>)> = tables.iter().map(|t| (*t, Vec::new())).collect();
    for round in 0..settings.rounds {
        bed.tidy();
        // Who goes first has the machine as the last round left it, so they take turns.
        for place in 0..figures.len() {
            let place = (place + round) % figures.len();
            let (table, values) = &mut figures[place];
            values.push(measure(*table));
        }
    }
    figures
}
