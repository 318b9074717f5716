//! How sessions are set up for who uses them.

use rowcall::{
    capture::store::changes_unread_count,
    db::{Connection, Database, DbError},
};

use crate::{support::postgres::TestDatabase, texts};

/// Whether a session may read tables from end to end, and how it plans.
fn settings(connection: &mut Connection) -> [String; 2] {
    ["enable_seqscan", "plan_cache_mode"].map(|name| {
        texts(
            connection,
            &format!("select current_setting('{name}') as text"),
        )[0]
        .clone()
    })
}

#[tokio::test]
async fn only_stages_find_everything_by_an_index() {
    // GIVEN one session, of which a stage and others take turns
    let test = TestDatabase::create();
    let database = Database::new(&test.url, 1);
    let stage = database.of_stage();
    let look = |connection: &mut Connection| Ok::<_, DbError>(settings(connection));
    for _ in 0..2 {
        // WHEN somebody looks for changes that are unread
        let (before, after) = database
            .transaction(|connection| {
                let before = settings(connection);
                changes_unread_count(connection, "default")?;
                Ok::<_, DbError>((before, settings(connection)))
            })
            .await
            .unwrap();
        // THEN what follows is planned as what came before
        assert_eq!(before, ["on", "auto"]);
        assert_eq!(after, before);
        // AND a stage has settings of its own, which it leaves to nobody
        assert_eq!(
            stage.run(look).await.unwrap(),
            ["off", "force_generic_plan"]
        );
        assert_eq!(database.run(look).await.unwrap(), before);
    }
}
