//! The ledger finds what it is there to find.

use uuid::Uuid;

use super::{
    super::{digest::Entry, receipt::Print, subscribers::LARGE_CENTS},
    *,
};
use crate::clock::Clock;

const CRM: usize = 2;
const BILLING: usize = 3;
const ANALYTICS: usize = 4;
const REPORTS: usize = 5;
const MAIL: usize = 7;
const CREATED: &str = "shop.customer.created";
const UPDATED: &str = "shop.customer.updated";

fn changed(event_type: &'static str) -> Change {
    Change {
        event_type,
        key: "7".to_owned(),
        released: None,
    }
}

fn event(id: u128, event_type: &str, before: &[u8], after: &[u8]) -> Receipt {
    Receipt {
        id: Uuid::from_u128(id),
        object: "shop.customer/7".to_owned(),
        event_type: event_type.to_owned(),
        cents: None,
        xid: 100 + id as i64,
        is_ours: true,
        before: Print::of(before),
        after: Print::of(after),
        body: Print::of(after),
    }
}

/// The first digest of a subscriber, of one event or of none that is named.
fn digest(count: i64, told: Option<(&str, &str)>) -> DigestPart {
    let entry = told.map(|(event_type, object)| Entry {
        event_type: Some(event_type.to_owned()),
        object: object.to_owned(),
        count,
        before: Print::of(b""),
        after: Print::of(b""),
    });
    DigestPart {
        digest: Uuid::from_u128(1),
        part: 1,
        parts: 1,
        count,
        window: None,
        entries: entry.into_iter().collect(),
        body: Print::of(b"body"),
    }
}

fn receive(ledger: &Ledger, receiver: usize, receipt: &Receipt) {
    ledger.request(receiver, receipt, Instant::now());
    ledger.accept(receiver, receipt);
}

/// Gives a customer's event to the two that are sent it.
fn receive_both(ledger: &Ledger, receipt: &Receipt) {
    receive(ledger, CRM, receipt);
    receive(ledger, ANALYTICS, receipt);
}

fn receive_digest(ledger: &Ledger, receiver: usize, part: &DigestPart) {
    ledger.digest_request(receiver, part, Clock::System.now());
    assert!(ledger.digest_accept(receiver, part));
}

fn digested(counts: &[(usize, i64)]) -> Evidence {
    Evidence {
        digest_events: counts.iter().copied().collect(),
        ..Evidence::default()
    }
}

/// What is lost, and the faults that are not zero.
fn judge(ledger: &Ledger, evidence: &Evidence) -> (i64, Vec<(Fault, u64)>) {
    let verdict = ledger.verdict(evidence);
    let faults = verdict.faults.into_iter();
    (
        verdict.lost,
        faults.filter(|(_, count)| *count > 0).collect(),
    )
}

#[test]
fn what_was_committed_and_received_in_order_is_in_order() {
    let ledger = Ledger::default();
    let (first, second) = (
        event(1, CREATED, b"null", b"a"),
        event(2, UPDATED, b"a", b"b"),
    );
    ledger.committed(101, &[changed(CREATED)], Instant::now());
    assert_eq!(ledger.tally().owed, 2);
    receive_both(&ledger, &first);
    // The second receipt is quicker than the news of its commit.
    receive_both(&ledger, &second);
    ledger.committed(102, &[changed(UPDATED)], Instant::now());
    assert_eq!(ledger.tally().owed, 0);
    assert_eq!(ledger.tally().owed_in_digests, 2);
    let mut part = digest(1, Some((CREATED, "shop.customer/7")));
    part.count = 2;
    part.entries
        .extend(digest(1, Some((UPDATED, "shop.customer/7"))).entries);
    receive_digest(&ledger, REPORTS, &part);
    assert_eq!(ledger.tally().owed_in_digests, 0);
    assert_eq!(judge(&ledger, &digested(&[(REPORTS, 2)])), (0, vec![]));
}

#[test]
fn what_never_came_is_lost_alone_and_in_digests() {
    let ledger = Ledger::default();
    ledger.committed(101, &[changed(CREATED)], Instant::now());
    assert_eq!(judge(&ledger, &digested(&[(REPORTS, 1)])), (3, vec![]));
}

#[test]
fn a_rolled_back_change_that_came_is_unexpected() {
    let ledger = Ledger::default();
    receive(&ledger, CRM, &event(1, CREATED, b"null", b"a"));
    receive_digest(
        &ledger,
        REPORTS,
        &digest(1, Some((CREATED, "shop.customer/7"))),
    );
    receive_digest(&ledger, MAIL, &digest(3, None));
    let evidence = Evidence::default();
    assert_eq!(judge(&ledger, &evidence), (0, vec![(Fault::Unexpected, 3)]));
}

#[test]
fn two_events_of_one_object_that_changed_places_are_out_of_order() {
    let ledger = Ledger::default();
    receive(&ledger, CRM, &event(2, UPDATED, b"a", b"b"));
    receive(&ledger, CRM, &event(1, CREATED, b"null", b"a"));
    let (_, faults) = judge(&ledger, &Evidence::default());
    assert!(faults.contains(&(Fault::OutOfOrder, 1)), "{faults:?}");
}

#[test]
fn a_delayed_receiver_waits_for_each_synchronous_one_to_be_tried() {
    let ledger = Ledger::default();
    let wrong = |evidence: &Evidence| {
        let (_, faults) = judge(&ledger, evidence);
        faults.contains(&(Fault::BeforeItsTurn, 1))
    };
    // Refused is tried.
    let first = event(1, CREATED, b"null", b"a");
    ledger.request(CRM, &first, Instant::now());
    ledger.refuse(CRM, &first);
    receive(&ledger, ANALYTICS, &first);
    assert!(!wrong(&Evidence::default()));
    // Being tried is not.
    let second = event(2, UPDATED, b"a", b"b");
    ledger.request(CRM, &second, Instant::now());
    receive(&ledger, ANALYTICS, &second);
    assert!(wrong(&Evidence::default()));
    assert_eq!(ledger.early(), [(second.id, CRM)]);
    // Held back by an earlier event of the object it counts as tried.
    let blocked = Evidence {
        blocked: ledger.early().into_iter().collect(),
        ..Evidence::default()
    };
    assert!(!wrong(&blocked));
    assert_eq!(ledger.verdict(&blocked).blocked, 1);
}

#[test]
fn the_condition_and_the_constraint_must_come_to_what_the_writers_know() {
    // GIVEN two released orders, one of them small
    let ledger = Ledger::default();
    for (xid, cents) in [(101, LARGE_CENTS), (102, LARGE_CENTS - 1)] {
        let released = Change {
            event_type: "shop.order.updated",
            key: "7".to_owned(),
            released: Some(cents),
        };
        ledger.committed(xid, &[released], Instant::now());
    }
    let tally = ledger.tally();
    assert_eq!((tally.released, tally.spared), (2, 1));
    // erp and analytics get both events of both, billing one of one.
    assert_eq!(tally.owed, 2 * 2 * 2 + 1);

    // WHEN the small one is sent to billing, or not counted
    let mut small = event(2, RELEASED, b"a", b"b");
    small.cents = Some(LARGE_CENTS - 1);
    receive(&ledger, BILLING, &small);
    let evidence = |released, suppressed| Evidence {
        released,
        suppressed,
        ..digested(&[(REPORTS, 4), (MAIL, 2)])
    };

    // THEN that is found
    let unexpected = (Fault::Unexpected, 1);
    assert_eq!(judge(&ledger, &evidence(2, 1)).1, [unexpected]);
    for (released, suppressed) in [(1, 1), (2, 2)] {
        let (_, faults) = judge(&ledger, &evidence(released, suppressed));
        assert_eq!(faults, [unexpected, (Fault::Miscounted, 1)]);
    }
}

#[test]
fn digests_must_hold_as_many_events_as_are_owed() {
    let ledger = Ledger::default();
    ledger.committed(101, &[changed(CREATED)], Instant::now());
    receive_both(&ledger, &event(1, CREATED, b"null", b"a"));
    receive_digest(
        &ledger,
        REPORTS,
        &digest(1, Some((CREATED, "shop.customer/7"))),
    );
    assert_eq!(judge(&ledger, &digested(&[(REPORTS, 1)])), (0, vec![]));
    let twice = judge(&ledger, &digested(&[(REPORTS, 2)]));
    assert_eq!(twice, (0, vec![(Fault::Miscounted, 1)]));
}

#[test]
fn what_was_changed_by_hand_belongs_into_digests_as_well() {
    let ledger = Ledger::default();
    let mut by_hand = event(1, CREATED, b"null", b"a");
    by_hand.is_ours = false;
    receive_both(&ledger, &by_hand);
    receive_digest(
        &ledger,
        REPORTS,
        &digest(1, Some((CREATED, "shop.customer/7"))),
    );
    assert_eq!(ledger.tally().owed_in_digests, 0);
    assert_eq!(judge(&ledger, &digested(&[(REPORTS, 1)])), (0, vec![]));
}

#[test]
fn a_repeat_is_explained_by_attempts_and_must_have_the_same_body() {
    let ledger = Ledger::default();
    let receipt = event(1, CREATED, b"null", b"a");
    let part = digest(0, None);
    for _ in 0..2 {
        ledger.request(CRM, &receipt, Instant::now());
        ledger.digest_request(REPORTS, &part, Clock::System.now());
    }
    let attempts = [
        ((CRM, receipt.id.to_string()), 2),
        ((REPORTS, part.id()), 2),
    ];
    let explained = Evidence {
        attempts: attempts.into_iter().collect(),
        ..Evidence::default()
    };
    assert_eq!(judge(&ledger, &explained), (0, vec![]));
    let unexplained = Evidence::default();
    let repeats = judge(&ledger, &unexplained);
    assert_eq!(repeats, (0, vec![(Fault::UnexplainedRepeat, 2)]));

    // An attempt that lost its answer with its connection may send once more.
    ledger.lose_answer(CRM, &receipt);
    let repeats = judge(&ledger, &unexplained);
    assert_eq!(repeats, (0, vec![(Fault::UnexplainedRepeat, 1)]));

    let altered = event(1, CREATED, b"null", b"other");
    ledger.request(CRM, &altered, Instant::now());
    let faults = judge(&ledger, &explained).1;
    assert!(faults.contains(&(Fault::Altered, 1)), "{faults:?}");
}
