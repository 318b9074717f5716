//! The turns of lines.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{line::FIRST_REQUESTS_MAX, *};
use crate::deliver::breaker::Patience;

pub(super) const BOUNDS: Bounds = Bounds {
    senders_max: 16,
    senders_per_host_max: 8,
    senders_per_subscription_max: 6,
    senders_slow_max: 8,
    senders_per_slow_max: 2,
    memory_max: 160,
    patience: Patience {
        failures: 3,
        open: TimeDelta::seconds(5),
        open_max: TimeDelta::seconds(20),
    },
};

pub(super) fn at(second: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second)
}

/// Subscription number `number` at the host `host`.
pub(super) fn key(number: u128, host: &str) -> LineKey {
    LineKey {
        subscription: Uuid::from_u128(number),
        host: host.into(),
    }
}

pub(super) fn lines() -> Lines<u32> {
    Lines::new(BOUNDS)
}

pub(super) fn push(lines: &mut Lines<u32>, key: &LineKey, chains: impl IntoIterator<Item = u32>) {
    for chain in chains {
        lines.push(key, (chain, 1), false, at(0));
    }
}

pub(super) fn start_all(lines: &mut Lines<u32>) -> Vec<Start<u32>> {
    std::iter::from_fn(|| lines.next(at(0))).collect()
}

pub(super) fn end(
    lines: &mut Lines<u32>,
    key: &LineKey,
    sign: Sign,
    was_slow: bool,
) -> Option<Turn> {
    let ended = Ended {
        sign,
        was_slow,
        probes: Probes::default(),
    };
    let turn = lines.request_ended(key, ended, at(0));
    lines.sender_ended(key);
    turn
}

/// A line whose receiver has answered once.
fn known(lines: &mut Lines<u32>, key: &LineKey) {
    push(lines, key, [0]);
    assert_eq!(start_all(lines).len(), 1);
    end(lines, key, Sign::Answered, false);
}

#[test]
fn more_hanging_receivers_than_senders_leave_the_next_one_to_the_others() {
    // GIVEN fifty receivers that hang, with much to send, and all have answered once
    let mut lines = lines();
    let healthy = key(99, "healthy");
    known(&mut lines, &healthy);
    let hanging: Vec<LineKey> = (0..50).map(|n| key(n, &format!("hanging-{n}"))).collect();
    for key in &hanging {
        known(&mut lines, key);
    }
    for key in &hanging {
        push(&mut lines, key, 0..3);
    }
    let mut held = start_all(&mut lines);
    let most = BOUNDS.senders_max + BOUNDS.senders_slow_max;
    // WHEN their requests take long, wave by wave
    let mut next = 0;
    while let Some(start) = held.get(next) {
        lines.request_slow(&start.key, at(0));
        held.extend(start_all(&mut lines));
        next += 1;
        assert!(lines.senders() <= most, "{}", lines.senders());
    }
    // THEN they never hold more than there is, and the first that is free goes to a healthy one
    assert_eq!(lines.senders(), most);
    lines.push(&healthy, (7, 1), true, at(0));
    assert!(lines.next(at(0)).is_none());
    end(&mut lines, &held[0].key, Sign::Silent, true);
    assert_eq!(lines.next(at(0)).unwrap().key, healthy);
}

#[test]
fn hanging_receivers_hold_no_sender_of_the_others() {
    // GIVEN as many receivers that hang as there are senders, with much to send
    let mut lines = lines();
    let healthy = key(99, "healthy");
    known(&mut lines, &healthy);
    for n in 0..BOUNDS.senders_max as u128 {
        push(&mut lines, &key(n, &format!("hanging-{n}")), 0..3);
    }
    let held = start_all(&mut lines);
    // WHEN their requests take long
    for start in &held {
        lines.request_slow(&start.key, at(0));
    }
    let (before, more) = (held.len(), start_all(&mut lines));
    for start in &more {
        lines.request_slow(&start.key, at(0));
    }
    // THEN nothing more is sent to them, and others have senders
    assert!(before + more.len() < BOUNDS.senders_max + BOUNDS.senders_slow_max);
    assert!(start_all(&mut lines).is_empty());
    push(&mut lines, &healthy, 0..3);
    assert_eq!(start_all(&mut lines).len(), 3);
}

#[test]
fn a_receiver_that_never_answered_is_asked_a_few_times_only() {
    let mut lines = lines();
    let stranger = key(1, "stranger");
    push(&mut lines, &stranger, 0..10);
    assert_eq!(start_all(&mut lines).len(), FIRST_REQUESTS_MAX);
    end(&mut lines, &stranger, Sign::Answered, false);
    assert_eq!(start_all(&mut lines).len(), 3);
    assert_eq!(lines.senders(), BOUNDS.senders_per_subscription_max);
}

#[test]
fn a_receiver_that_begins_to_fail_is_asked_no_more_often_than_opens_its_breaker() {
    // GIVEN a receiver with six requests under way, of which three in a row may fail
    let mut lines = lines();
    let failing = key(1, "failing");
    known(&mut lines, &failing);
    push(&mut lines, &failing, 0..20);
    assert_eq!(start_all(&mut lines).len(), 6);
    // WHEN one fails and others have no answer yet THEN nothing more is asked
    end(&mut lines, &failing, Sign::Troubled, false);
    assert_eq!(start_all(&mut lines).len(), 0);
    // AND only so much, when these have ended, that with what failed makes three
    for _ in 0..5 {
        end(&mut lines, &failing, Sign::Unasked, false);
    }
    assert_eq!(start_all(&mut lines).len(), 2);
    end(&mut lines, &failing, Sign::Silent, false);
    assert_eq!(start_all(&mut lines).len(), 0);
    // WHEN one succeeds THEN it is asked as before
    end(&mut lines, &failing, Sign::Answered, false);
    assert_eq!(start_all(&mut lines).len(), 6);
}

#[test]
fn a_slow_receiver_has_few_senders_until_it_is_quick_again() {
    let mut lines = lines();
    let slow = key(1, "slow");
    push(&mut lines, &slow, 0..10);
    let started = start_all(&mut lines).len();
    lines.request_slow(&slow, at(0));
    assert_eq!((lines.senders(), lines.slow_senders()), (started, started));
    // Two may be under way, and four are.
    end(&mut lines, &slow, Sign::Answered, true);
    end(&mut lines, &slow, Sign::Unasked, false);
    assert_eq!(start_all(&mut lines).len(), 0);
    end(&mut lines, &slow, Sign::Unasked, false);
    assert_eq!(start_all(&mut lines).len(), 1);
    end(&mut lines, &slow, Sign::Answered, false);
    assert_eq!(lines.slow_senders(), 0);
    assert_eq!(start_all(&mut lines).len(), 5);
}

#[test]
fn what_is_fresh_goes_before_what_waits_already_but_not_for_ever() {
    // GIVEN a receiver with a backlog, all its senders at work
    let mut lines = lines();
    let busy = key(1, "busy");
    known(&mut lines, &busy);
    push(&mut lines, &busy, 0..30);
    let held = start_all(&mut lines).len();
    // WHEN something fresh comes THEN it is next
    for chain in 100..120 {
        lines.push(&busy, (chain, 1), true, at(0));
    }
    let mut order = Vec::new();
    for _ in 0..24 {
        end(&mut lines, &busy, Sign::Answered, false);
        order.push(lines.next(at(0)).unwrap().chain);
    }
    assert_eq!(lines.senders(), held);
    assert_eq!(order[0], 100);
    // AND of eight one is of the backlog.
    let backlog: Vec<bool> = order.iter().map(|chain| *chain < 100).collect();
    let expected: Vec<bool> = (0..22).map(|n| n % 8 == 7).collect();
    assert_eq!(&backlog[..22], expected);
}

#[test]
fn a_backlog_of_many_leaves_senders_to_what_is_fresh() {
    let mut lines = lines();
    let backlogs: Vec<LineKey> = (0..40).map(|n| key(n, &format!("backlog-{n}"))).collect();
    let fresh = key(99, "fresh");
    for key in backlogs.iter().chain([&fresh]) {
        known(&mut lines, key);
    }
    for key in &backlogs {
        push(&mut lines, key, 0..3);
    }
    assert_eq!(start_all(&mut lines).len(), 13);
    for chain in 0..4 {
        lines.push(&fresh, (chain, 1), true, at(0));
    }
    let started = start_all(&mut lines);
    assert_eq!(started.len(), 2);
    assert!(started.iter().all(|start| start.key == fresh));
}

#[test]
fn subscriptions_of_one_host_share_its_senders_in_turns() {
    let mut lines = lines();
    let (one, other) = (key(1, "shared"), key(2, "shared"));
    known(&mut lines, &one);
    known(&mut lines, &other);
    push(&mut lines, &one, 0..20);
    push(&mut lines, &other, 0..20);
    let started = start_all(&mut lines);
    assert_eq!(started.len(), BOUNDS.senders_per_host_max);
    let of_one = started.iter().filter(|start| start.key == one).count();
    assert_eq!(of_one, 4);
    for _ in 0..10 {
        end(&mut lines, &one, Sign::Answered, false);
        assert_eq!(start_all(&mut lines).len(), 1);
        end(&mut lines, &other, Sign::Answered, false);
        assert_eq!(start_all(&mut lines).len(), 1);
    }
}

#[test]
fn an_open_breaker_empties_the_line_and_lets_one_probe_pass() {
    // GIVEN three failures in a row, and more that waits
    let mut lines = lines();
    let failing = key(1, "failing");
    push(&mut lines, &failing, 0..10);
    start_all(&mut lines);
    assert_eq!(end(&mut lines, &failing, Sign::Troubled, false), None);
    assert_eq!(end(&mut lines, &failing, Sign::Troubled, false), None);
    let turn = end(&mut lines, &failing, Sign::Troubled, false);
    assert_eq!(turn, Some(Turn::Opened(failing.clone(), at(5))));
    // THEN what waits is sent back until then, the first of it first
    let back = lines.take_back();
    assert_eq!((back.len(), back[0].not_before), (6, at(5)));
    assert!(
        back.iter()
            .all(|back| back.is_deferred && back.not_before >= at(5))
    );
    // AND so is what comes
    push(&mut lines, &failing, [20]);
    assert!(lines.take_back()[0].is_deferred);
    assert!(lines.is_open(&failing, at(4)));
    // WHEN the time is over THEN one goes, and the others when it has succeeded
    for chain in 30..40 {
        lines.push(&failing, (chain, 1), false, at(5));
    }
    let probe = lines.next(at(5)).unwrap();
    assert!(probe.probes.any() && lines.next(at(5)).is_none());
    let ended = Ended {
        sign: Sign::Answered,
        was_slow: false,
        probes: probe.probes,
    };
    let turn = lines.request_ended(&failing, ended, at(5));
    assert_eq!(turn, Some(Turn::Closed(failing)));
    assert!(!lines.next(at(5)).unwrap().probes.any());
}

#[test]
fn a_host_that_is_silent_is_left_alone_by_all_its_subscriptions() {
    let mut lines = lines();
    let dead: Vec<LineKey> = (0..5).map(|n| key(n, "dead")).collect();
    for key in &dead {
        push(&mut lines, key, 0..4);
    }
    let mut started = start_all(&mut lines);
    // WHEN three of its subscriptions got no answer THEN nothing waits for any
    for start in started.drain(..3) {
        end(&mut lines, &start.key, Sign::Silent, false);
    }
    assert_eq!(lines.take_back().len(), 5 * 4 - started.len() - 3);
    push(&mut lines, &dead[4], [9]);
    assert!(lines.take_back()[0].is_deferred);
    for start in started {
        end(&mut lines, &start.key, Sign::Unasked, false);
    }
    // AND the probe of one is that of all
    for key in &dead {
        lines.push(key, (50, 1), false, at(5));
    }
    let probe = lines.next(at(5)).unwrap();
    assert!(probe.probes.any() && lines.next(at(5)).is_none());
    let ended = Ended {
        sign: Sign::Troubled,
        was_slow: false,
        probes: probe.probes,
    };
    lines.request_ended(&probe.key, ended, at(5));
    assert_eq!(std::iter::from_fn(|| lines.next(at(5))).count(), 4);
}

#[test]
fn one_subscription_that_fails_leaves_its_neighbours_at_the_host_alone() {
    let mut lines = lines();
    let (broken, fine) = (key(1, "shared"), key(2, "shared"));
    push(&mut lines, &broken, 0..4);
    start_all(&mut lines);
    for _ in 0..4 {
        end(&mut lines, &broken, Sign::Troubled, false);
    }
    assert!(lines.is_open(&broken, at(0)));
    push(&mut lines, &fine, [5]);
    assert_eq!(lines.next(at(0)).unwrap().chain, 5);
}

#[test]
fn those_that_are_not_known_to_answer_fill_half_of_memory_at_most() {
    let mut lines = lines();
    for n in 0..50 {
        push(&mut lines, &key(n, &format!("host-{n}")), 0..40);
    }
    let kept = BOUNDS.memory_max / 2;
    // Each of them may have one in any case.
    let most = kept + 50;
    let back = lines.take_back();
    assert!(
        (50 * 40 - most..=50 * 40 - kept).contains(&back.len()),
        "{}",
        back.len()
    );
    assert!(back.iter().all(|back| !back.is_deferred));
    let good = key(99, "good");
    push(&mut lines, &good, [1]);
    assert!(lines.take_back().is_empty());
}

#[test]
fn a_backlog_does_not_send_back_what_is_fresh() {
    let mut lines = lines();
    let busy = key(1, "busy");
    known(&mut lines, &busy);
    push(&mut lines, &busy, 0..100);
    start_all(&mut lines);
    push(&mut lines, &busy, 100..200);
    assert!(lines.take_back().len() >= 100);
    lines.push(&busy, (500, 1), true, at(0));
    assert!(lines.take_back().is_empty());
    end(&mut lines, &busy, Sign::Answered, false);
    assert_eq!(lines.next(at(0)).unwrap().chain, 500);
}

#[test]
fn a_receiver_that_turns_slow_gives_up_its_place_in_memory() {
    let mut lines = lines();
    let busy = key(1, "busy");
    known(&mut lines, &busy);
    push(&mut lines, &busy, 0..70);
    let started = start_all(&mut lines).len();
    assert!(lines.take_back().is_empty());
    lines.request_slow(&busy, at(0));
    let back = lines.take_back();
    assert_eq!(back.len(), 70 - started - BOUNDS.memory_max / 16);
    // What waits longest stays.
    assert_eq!(end(&mut lines, &busy, Sign::Answered, true), None);
    assert!(back.iter().all(|back| back.chain as usize >= started));
}
