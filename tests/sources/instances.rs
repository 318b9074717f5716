//! Several instances with the same source.

use rowcall::stage::{Progress, Stage as _};

use crate::{Two, V, copy_all};

#[tokio::test]
async fn of_two_instances_one_copies_and_the_other_takes_over() {
    // GIVEN two instances, of which the first copies
    let mut two = Two::start().await;
    let mut other = two.app.sibling().await;
    let now = two.app.clock.now();
    two.there("insert into rows values (1, 'a')");
    copy_all(&mut two.app.instance, now).await.unwrap();
    two.there("insert into rows values (2, 'b')");
    // WHEN the second looks
    assert_eq!(
        other.instance.sources[0].copy.run_once(now).await.unwrap(),
        Progress::Idle
    );
    assert_eq!(two.app.count("select count(*) from rowcall.change"), 1);
    // AND the first is gone
    two.app.instance.sources.clear();
    // THEN the second goes on where the first was
    let begun = std::time::Instant::now();
    while two.app.count("select count(*) from rowcall.change") < 2 {
        assert!(begun.elapsed().as_secs() < 30, "nobody took over");
        copy_all(&mut other.instance, now).await.unwrap();
    }
    two.app.run_until_idle().await;
    assert_eq!(two.events(V), ["->a", "->b"]);
}

#[tokio::test]
async fn two_that_copy_the_same_batch_write_it_once() {
    // GIVEN a batch that one has read and not written, for the repository is locked
    let mut two = Two::start().await;
    let mut other = two.app.sibling().await;
    let now = two.app.clock.now();
    // The lock that lets only one copy is taken from both: as behind a pooler.
    copy_all(&mut two.app.instance, now).await.unwrap();
    two.there(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'rowcall listen' and datname = current_database()",
    );
    copy_all(&mut other.instance, now).await.unwrap();
    two.there("insert into rows select n, 'x' from generate_series(1, 150) as n");
    // WHEN both copy at the same time
    let (one, another) = tokio::join!(
        copy_all(&mut two.app.instance, now),
        copy_all(&mut other.instance, now)
    );
    let _ = (one, another);
    copy_all(&mut two.app.instance, now).await.unwrap();
    copy_all(&mut other.instance, now).await.unwrap();
    two.app.run_until_idle().await;
    // THEN
    assert_eq!(two.app.count("select count(*) from rowcall.event"), 150);
    assert_eq!(
        two.app
            .count("select count(distinct object_key) from rowcall.event"),
        150
    );
}
