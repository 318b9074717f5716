//! A source that is not the database that it was: a standby took over, or it was restored.

use rowcall::{
    db::Database,
    source::rebase::{Rebased, elsewhere::rebase_elsewhere},
    stage::chain,
};
use secrecy::SecretString;

use crate::{Two, V, copy_all};

#[tokio::test]
async fn a_source_that_is_another_database_is_not_read_until_it_is_rebased() {
    // GIVEN a source that was read
    let mut two = Two::start().await;
    two.there("insert into rows values (1, 'read')");
    two.run().await;
    // WHEN its server was on another timeline then
    two.app
        .sql("update rowcall.source set timeline = timeline + 7 where name = 'crm'");
    two.there("insert into rows values (2, 'unread')");
    let now = two.app.clock.now();
    let refused = copy_all(&mut two.app.instance, now).await.unwrap_err();
    // THEN reading stops and says what to run, also when asked again; the default source goes on
    assert!(
        chain(&refused).contains("rowcall source rebase crm"),
        "{}",
        chain(&refused)
    );
    assert!(copy_all(&mut two.app.instance, now).await.is_err());
    two.app.sql("insert into rows values (9, 'here')");
    two.app.run_until_idle().await;
    assert_eq!(two.events(V), ["->read", "->here"]);
    // WHEN it is rebased
    let database = Database::new(&two.app.database.url, 1);
    let url = SecretString::from(two.crm.url.clone());
    let done = rebase_elsewhere(&database, "crm", &url).await.unwrap();
    assert!(matches!(done, Rebased::Skipped { .. }), "{done:?}");
    two.there("insert into rows values (3, 'after')");
    two.run().await;
    // THEN it is read on, and subscribers are told of the gap in between
    let told =
        two.events("concat(e->>'type', ' ', e->'data'->>'reason', ' ', e->'data'->'after'->>'v')");
    assert_eq!(
        told[2..],
        ["rowcall.capture.gap failover ", "crm.row.created  after"]
    );
    let again = rebase_elsewhere(&database, "crm", &url).await.unwrap();
    assert_eq!(again, Rebased::NotStopped);
}
