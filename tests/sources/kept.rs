//! Upkeep of a source: rotation, retention, triggers, and what the repository knows of its tables.

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::{foreign::hold::Hold, stage::Progress};

use crate::{METADATA, ROWS, Two, V, applied, count, sources, support::postgres::connect};

const TRIGGERS: &str = "select count(*) from pg_trigger where tgname like '% rowcall%'";

#[tokio::test]
async fn leaves_come_and_go_there_and_nothing_unread_goes_with_them() {
    // GIVEN a closed leaf of which something is unread
    let mut two = Two::start().await;
    two.there("insert into rows values (1, 'a')");
    two.app.clock.advance(TimeDelta::hours(25));
    two.upkeep().await.unwrap();
    two.there("insert into rows values (2, 'b')");
    assert_eq!(
        count(&two.crm.url, "select max(number) from rowcall.rotation"),
        2
    );
    two.app.clock.advance(TimeDelta::days(8));
    // WHEN upkeep runs before and after it was copied
    two.upkeep().await.unwrap();
    assert_eq!(
        count(&two.crm.url, "select count(*) from rowcall.change"),
        2
    );
    two.run().await;
    two.upkeep().await.unwrap();
    // THEN the leaf went when it was, and all of it is here
    assert_eq!(
        count(&two.crm.url, "select count(*) from rowcall.change_2"),
        1
    );
    assert_eq!(
        count(
            &two.crm.url,
            "select count(*) from pg_class where relname = 'change_1'"
        ),
        0
    );
    assert_eq!(two.events(V), ["->a", "->b"]);
}

#[tokio::test]
async fn leaves_here_go_although_the_cursor_of_the_source_is_far_off() {
    // GIVEN a source whose transaction ids are below those of the repository
    let mut two = Two::start().await;
    two.there("insert into rows values (1, 'a')");
    two.run().await;
    two.app
        .sql("update rowcall.source set snapshot = '3:3:' where name = 'crm'");
    two.app.clock.advance(TimeDelta::hours(25));
    let upkeep = async |two: &mut Two| {
        use rowcall::stage::Stage as _;
        let now = two.app.clock.now();
        two.app.instance.upkeep.run_once(now).await.unwrap();
    };
    upkeep(&mut two).await;
    two.app.clock.advance(TimeDelta::days(8));
    // It is counted first.
    upkeep(&mut two).await;
    upkeep(&mut two).await;
    assert_eq!(
        two.app.texts("select to_regclass('rowcall.change_1')"),
        ["null"]
    );
}

#[tokio::test]
async fn an_object_type_that_is_taken_out_is_no_longer_captured() {
    let mut two = Two::start().await;
    two.there("insert into rows values (1, 'a')");
    // WHEN the source's last object type goes
    applied(&two.app, "[namespace.t]", sources(&two.crm.url))
        .await
        .unwrap();
    // THEN its triggers go at once
    assert_eq!(count(&two.crm.url, TRIGGERS), 0);
    two.there("insert into rows values (2, 'b')");
    two.run().await;
    assert_eq!(
        count(&two.crm.url, "select count(*) from rowcall.change"),
        1
    );
    // AND it can come back
    two.app.apply(METADATA).await;
    two.there("insert into rows values (3, 'c')");
    two.run().await;
    assert_eq!(two.events(V), ["->c"]);
}

#[tokio::test]
async fn what_is_taken_off_by_hand_upkeep_puts_back() {
    let mut two = Two::start().await;
    two.there("drop trigger \" rowcall\" on rows");
    two.upkeep().await.unwrap();
    two.there("insert into rows values (1, 'a')");
    two.run().await;
    assert_eq!(two.events(V), ["->a"]);
    // Also all of it.
    two.there("drop schema rowcall cascade");
    assert!(two.upkeep().await.is_err(), "it was set up before");
    two.upkeep().await.unwrap();
    two.there("insert into rows values (2, 'b')");
    let now = two.app.clock.now();
    // The copier's sessions know the schema that is gone.
    let _ = crate::copy_all(&mut two.app.instance, now).await;
    two.run().await;
    assert_eq!(two.events(V), ["->a", "->b"]);
}

#[tokio::test]
async fn a_new_column_can_be_named_in_conditions_after_the_next_upkeep() {
    let mut two = Two::start().await;
    two.there("alter table rows add column level integer");
    let more = "[event_type.\"crm.row.high\"]\nobject_type = \"crm.row\"\nwhen = \"new.level > 5\"";
    let revision = "select revision from rowcall.registry";
    let before = two.app.count(revision);
    two.upkeep().await.unwrap();
    assert_eq!(
        two.app.count(revision),
        before + 1,
        "instances must look again"
    );
    two.upkeep().await.unwrap();
    assert_eq!(two.app.count(revision), before + 1);
    two.app.apply(&format!("{METADATA}\n{more}")).await;
    two.there("insert into rows values (1, 'a', 6), (2, 'b', 5)");
    two.run().await;
    assert_eq!(
        two.events("concat(e->>'type', ' ', e->>'subject')"),
        ["crm.row.created 1", "crm.row.high 1", "crm.row.created 2"]
    );
}

#[tokio::test]
async fn upkeep_does_not_touch_triggers_while_metadata_is_applied() {
    // GIVEN somebody who applies metadata and has just put triggers in place
    let mut two = Two::start().await;
    let url = two.crm.url.clone();
    let hold = tokio::task::spawn_blocking(move || Hold::take(&url).unwrap().unwrap());
    let hold = hold.await.unwrap();
    two.there("drop trigger \" rowcall\" on rows");
    // WHEN upkeep comes by
    assert_eq!(two.upkeep().await.unwrap(), Progress::Idle);
    // THEN it left everything as it was
    assert_eq!(count(&two.crm.url, TRIGGERS), 1);
    // The server notices a moment later that nobody holds it any more.
    drop(hold);
    let begun = std::time::Instant::now();
    while count(&two.crm.url, TRIGGERS) < 2 {
        assert!(begun.elapsed().as_secs() < 30, "it is still held");
        two.upkeep().await.unwrap();
    }
}

#[tokio::test]
async fn a_user_with_the_documented_rights_is_enough() {
    // GIVEN a user there who has what docs/CAPTURE.md says and no more
    let mut two = Two::start_with(ROWS, "[namespace.t]", Default::default()).await;
    let user = format!("{}_service", two.crm.name);
    two.there(&format!(
        "create role {user} login; \
         do $$ begin create role rowcall_capture nologin; exception when duplicate_object then end $$; \
         grant rowcall_capture to {user}; grant create on database {} to {user}; \
         grant trigger on rows to {user}",
        two.crm.name
    ));
    let url = two.crm.url.replace("user=rowcall", &format!("user={user}"));
    assert_ne!(url, two.crm.url);
    // WHEN
    applied(&two.app, METADATA, sources(&url)).await.unwrap();
    // THEN what others write is captured, and he may not write for them
    let mut writer = connect(&two.crm.url);
    writer
        .batch_execute(
            "create role clerk_of_crm; grant insert on rows to clerk_of_crm; \
             set role clerk_of_crm; insert into rows values (1, 'a'); reset role; \
             drop owned by clerk_of_crm; drop role clerk_of_crm",
        )
        .unwrap();
    two.run().await;
    assert_eq!(two.events(V), ["->a"]);
}
