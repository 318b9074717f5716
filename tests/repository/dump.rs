//! The schema is what migrations/schema.txt says, for people and for reviews of migrations.

use diesel::PgConnection;

use super::{support::postgres::TestDatabase, texts};

const WRITTEN: &str = include_str!("../../migrations/schema.txt");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/schema.txt");
const HEAD: &str =
    "The repository's schema, written by UPDATE_SCHEMA=1 cargo test --test repository\n";

pub(super) fn schema(connection: &mut PgConnection) -> String {
    // Whether names are shown with their schema depends on it.
    texts(
        connection,
        "select set_config('search_path', 'pg_catalog', false) as text",
    );
    let lines = texts(connection, include_str!("schema.sql"));
    format!("{HEAD}{}\n", lines.join("\n"))
}

#[test]
fn the_schema_is_the_one_that_is_written_down() {
    let database = TestDatabase::create();
    let schema = schema(&mut database.connect());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(PATH, schema).unwrap();
        return;
    }
    let differs = schema
        .lines()
        .zip(WRITTEN.lines())
        .find(|(is, was)| is != was)
        .map_or_else(
            || "one of the two is longer".to_owned(),
            |(is, was)| format!("the migrations make\n{is}\nand it says\n{was}"),
        );
    assert!(
        schema == WRITTEN,
        "migrations/schema.txt is not what the migrations make: {differs}\nIf the migrations are \
         right, write it anew: UPDATE_SCHEMA=1 cargo test --test repository"
    );
}
