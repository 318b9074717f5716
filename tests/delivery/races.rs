//! The races of the design, step by step: two sessions, one of which waits for the other.
//!
//! A delivery that is written as waiting, or given back, while what stands before it is settled: if
//! neither transaction saw the other, it would wait for ever.

use std::collections::HashSet;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection as _;
use rowcall::{
    deliver::claim::store::{delivery_claim, delivery_set_aside},
    subscription::state::{Switch, subscription_resume},
};
use uuid::Uuid;

use crate::repository::{Repository, SUBSCRIPTION};

#[test]
fn publishing_waits_for_whoever_settles_and_then_finds_the_lane_free() {
    // GIVEN a delivery that is being settled
    let repository = Repository::new();
    repository.delivery(1, 10, None, "sending");
    let mut finisher = repository.begin();
    assert_eq!(finisher.run(repository.settle(&[1])), 1);
    // WHEN publishing asks whether its lane is busy THEN it waits
    let publisher = repository.waiting(repository.begin(), repository.busy(&[10]));
    finisher.run(repository.release(&[10]));
    finisher.commit();
    // THEN it is not: what is published now may be sent at once
    assert_eq!(publisher.join().unwrap().0, HashSet::new());
}

#[test]
fn whoever_settles_waits_for_publishing_and_then_releases_what_it_wrote() {
    // GIVEN publishing that found a lane busy
    let repository = Repository::new();
    repository.delivery(1, 10, None, "sending");
    let mut publisher = repository.begin();
    assert_eq!(publisher.run(repository.busy(&[10])), HashSet::from([10]));
    // WHEN the delivery before is settled at this moment THEN that waits
    let finisher = repository.waiting(repository.begin(), repository.settle(&[1]));
    publisher
        .connection
        .batch_execute(&repository.insert(2, 10, None, "blocked"))
        .unwrap();
    publisher.commit();
    // THEN it sees what was published, and releases it
    let (settled, mut finisher) = finisher.join().unwrap();
    assert_eq!((settled, finisher.run(repository.release(&[10]))), (1, 1));
    finisher.commit();
    assert_eq!(repository.state(2), "due");
}

#[test]
fn publishing_holds_up_neither_claims_nor_releases() {
    // GIVEN two lanes with something under way and something behind it, and a third that is due
    let repository = Repository::new();
    repository.delivery(1, 10, None, "blocked");
    repository.delivery(2, 20, None, "sending");
    repository.delivery(3, 30, None, "due");
    repository.execute("update rowcall.delivery set position = 100 where position = 1");
    repository.delivery(4, 10, None, "sending");
    let mut finisher = repository.begin();
    finisher.run(repository.settle(&[4, 2]));
    // WHEN publishing has locked the last of one lane and waits for the other
    let publisher = repository.waiting(repository.begin(), repository.busy(&[10, 20, 30]));
    // THEN the first is released all the same (no circle), and what is due can be claimed
    assert_eq!(finisher.run(repository.release(&[10, 20])), 1);
    let mut claimer = repository.begin();
    let until = repository.now + TimeDelta::seconds(10);
    let (claim, now) = (Uuid::from_u128(9), repository.now);
    let claimed =
        claimer.run(|connection| delivery_claim(connection, claim, 9, until, until, now).unwrap());
    assert_eq!(claimed.claimed.len(), 1);
    claimer.commit();
    finisher.commit();
    assert_eq!(publisher.join().unwrap().0, HashSet::from([10, 30]));
    assert_eq!(
        (repository.state(1), repository.state(3)),
        ("due".into(), "sending".into())
    );
}

#[test]
fn a_change_of_the_key_is_released_by_the_later_of_two_that_settle_at_once() {
    for order in [[1, 2], [2, 1]] {
        // GIVEN a change of the key that waits in two lanes
        let repository = Repository::new();
        repository.delivery(1, 10, None, "sending");
        repository.delivery(2, 20, None, "sending");
        repository.delivery(3, 20, Some(10), "blocked");
        let lane = |position: u128| [position as i64 * 10];
        // WHEN both that it waits for are settled, and neither is committed when the other looks
        let (mut first, mut second) = (repository.begin(), repository.begin());
        first.run(repository.settle(&order[..1]));
        second.run(repository.settle(&order[1..]));
        assert_eq!(first.run(repository.release(&lane(order[0]))), 0);
        let second = repository.waiting(second, repository.release(&lane(order[1])));
        first.commit();
        // THEN the second sees the first
        let (released, second) = second.join().unwrap();
        assert_eq!(released, 1);
        second.commit();
        assert_eq!(repository.state(3), "due");
    }
}

#[test]
fn whoever_settles_waits_for_a_rescue_of_what_follows() {
    // GIVEN a chain whose lease has ended, of which the first is being settled
    let repository = Repository::new();
    repository.delivery(1, 10, None, "sending");
    repository.delivery(2, 10, None, "sending");
    let mut finisher = repository.begin();
    finisher.run(repository.settle(&[1]));
    // WHEN another instance takes back the second at this moment THEN it does not wait
    let mut rescuer = repository.begin();
    assert_eq!(rescuer.run(repository.rescue()), 1);
    // AND the finisher does, and releases it
    let finisher = repository.waiting(finisher, repository.release(&[10]));
    rescuer.commit();
    let (released, finisher) = finisher.join().unwrap();
    assert_eq!(released, 1);
    finisher.commit();
    assert_eq!(repository.state(2), "due");
}

#[test]
fn a_rescue_leaves_what_a_finisher_looks_at_and_finds_it_later() {
    let repository = Repository::new();
    repository.delivery(1, 10, None, "sending");
    repository.delivery(2, 10, None, "sending");
    let mut finisher = repository.begin();
    finisher.run(repository.settle(&[1]));
    assert_eq!(finisher.run(repository.release(&[10])), 0);
    let mut rescuer = repository.begin();
    assert_eq!(rescuer.run(repository.rescue()), 0);
    rescuer.commit();
    finisher.commit();
    let mut rescuer = repository.begin();
    assert_eq!(rescuer.run(repository.rescue()), 1);
    rescuer.commit();
    assert_eq!(repository.state(2), "due");
}

#[test]
fn a_lease_that_was_taken_back_holds_nothing() {
    let repository = Repository::new();
    repository.delivery(1, 10, None, "sending");
    let mut rescuer = repository.begin();
    rescuer.run(repository.rescue());
    // WHEN a result comes while the lease is being taken back
    let finisher = repository.waiting(repository.begin(), repository.settle(&[1]));
    rescuer.commit();
    // THEN it is not written
    assert_eq!(finisher.join().unwrap().0, 0);
    assert_eq!(repository.state(1), "due");
}

#[test]
fn a_claim_takes_what_follows_its_head_up_to_what_it_cannot_take() {
    // GIVEN a lane whose second is still another claim's, and one whose third is a change of the
    // key
    let repository = Repository::new();
    for (position, lane, previous, state) in [
        (1, 10, None, "due"),
        (2, 10, None, "sending"),
        (3, 10, None, "blocked"),
        (4, 20, None, "due"),
        (5, 20, None, "blocked"),
        (6, 30, Some(20), "blocked"),
        (7, 20, None, "blocked"),
        (8, 40, None, "due"),
        (9, 40, None, "blocked"),
        (10, 40, Some(50), "blocked"),
        (11, 40, None, "blocked"),
    ] {
        repository.delivery(position, lane, previous, state);
    }
    // WHEN all that is due is claimed THEN nothing overtakes
    let mut session = repository.begin();
    let until = repository.now + TimeDelta::seconds(10);
    let found = session.run(|connection| {
        delivery_claim(
            connection,
            Uuid::from_u128(9),
            100,
            until,
            until,
            repository.now,
        )
        .unwrap()
    });
    let mut positions: Vec<i64> = found.claimed.iter().map(|row| row.position).collect();
    positions.sort_unstable();
    assert_eq!(positions, [1, 4, 5, 8, 9]);
    session.connection.batch_execute("rollback; begin").unwrap();
    // WHEN there is room for less THEN it is the first of a lane that are taken
    let found = session.run(|connection| {
        delivery_claim(
            connection,
            Uuid::from_u128(9),
            4,
            until,
            until,
            repository.now,
        )
        .unwrap()
    });
    let mut positions: Vec<i64> = found.claimed.iter().map(|row| row.position).collect();
    positions.sort_unstable();
    assert_eq!(positions, [1, 4, 5, 8]);
}

#[test]
fn a_claim_waits_for_nobody() {
    // GIVEN a lane of which somebody has locked the third
    let repository = Repository::new();
    repository.delivery(1, 10, None, "due");
    for position in 2..=4 {
        repository.delivery(position, 10, None, "blocked");
    }
    let mut other = repository.begin();
    assert_eq!(other.lock(&[3], "for no key update"), [3]);
    // WHEN it is claimed THEN that takes what is before it, at once, and nothing behind it
    let mut claimer = repository.begin();
    claimer
        .connection
        .batch_execute("set lock_timeout = '5s'")
        .unwrap();
    let until = repository.now + TimeDelta::seconds(10);
    let (claim, now) = (Uuid::from_u128(9), repository.now);
    let found =
        claimer.run(|connection| delivery_claim(connection, claim, 9, until, until, now).unwrap());
    let mut positions: Vec<i64> = found.claimed.iter().map(|row| row.position).collect();
    positions.sort_unstable();
    assert_eq!(positions, [1, 2]);
}

#[test]
fn who_stops_and_resumes_locks_in_the_order_of_ids() {
    // GIVEN three deliveries, of which the one with the lowest id was written last, and is the last
    // in every other index, and is locked
    type Act = fn(&mut diesel::PgConnection);
    let set_aside: Act = |connection| {
        let ids = [3, 2, 1].map(Uuid::from_u128);
        assert_eq!(delivery_set_aside(connection, &ids).unwrap(), 3);
    };
    let resume: Act = |connection| {
        let now = chrono::DateTime::UNIX_EPOCH;
        let switch = subscription_resume(connection, SUBSCRIPTION, now).unwrap();
        assert_eq!(switch, Switch::Done);
    };
    for (what, act, due_at) in [
        ("set aside", set_aside, "now()"),
        ("resume", resume, "'infinity'"),
    ] {
        let repository = Repository::new();
        for position in [3, 2, 1] {
            repository.delivery(position, position as i64, None, "due");
        }
        repository.execute(&format!(
            "update rowcall.subscription set state = 'paused'; \
             update rowcall.delivery set due_at = {due_at}, lane = 100 - position, \
                 sequence = 100 - position, created_at = created_at - position * interval '1 hour'; \
             update rowcall.delivery set position = 100 - position"
        ));
        let mut other = repository.begin();
        assert_eq!(other.lock(&[99], "for no key update"), [99], "{what}");
        // WHEN they are changed meanwhile THEN that waits and has locked none of the others
        let waiting = repository.waiting(repository.begin(), act);
        assert_eq!(
            other.lock(&[98, 97], "for no key update skip locked"),
            [98, 97],
            "{what}"
        );
        other.commit();
        waiting.join().unwrap().1.commit();
    }
}
