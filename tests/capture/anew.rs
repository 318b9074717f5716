//! A table that is dropped and made anew is another table of the same name.

use diesel::Connection as _;
use rowcall::{
    capture::install::{InstallError, reconcile},
    catalog::model::Catalog,
    config::Limits,
};

use crate::support::app::TestApp;

const TABLE: &str = "create table public.orders (id integer primary key, v integer)";

#[tokio::test]
async fn a_table_that_was_made_anew_loses_no_change() {
    // GIVEN an instance that has published a change of the table
    let mut app = TestApp::start(TABLE).await;
    app.apply(
        "[namespace.sales]\n[object_type.\"sales.order\"]\ntable = \"public.orders\"\n\
         key = [\"id\"]\n",
    )
    .await;
    app.sql("insert into orders values (1, 1)");
    app.run_until_idle().await;
    // WHEN it is made anew and captured again, which raises no revision of the registry
    app.sql(&format!("drop table orders; {TABLE}"));
    let mut connection = app.database.connect();
    let catalog = Catalog::load(&mut connection).unwrap();
    let (bytes, now) = (Limits::for_testing().value_bytes_max, app.clock.now());
    connection
        .transaction::<_, InstallError, _>(|connection| reconcile(connection, &catalog, bytes, now))
        .unwrap();
    app.sql("insert into orders values (2, 1)");
    app.run_until_idle().await;
    // THEN its changes are published as ever
    assert_eq!(
        app.texts("select object_key from rowcall.event order by position"),
        ["1", "2"]
    );
}
