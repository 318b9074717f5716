use uuid::Uuid;

use super::*;

const NOW: &str = "2026-03-02T09:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn party(state: &str) -> Party {
    Party {
        state: state.to_owned(),
        sees_others: true,
        now: at(NOW),
    }
}

fn pending() -> Delivery {
    Delivery {
        row: DeliveryRow {
            id: Uuid::from_u128(1),
            subscription_id: Uuid::from_u128(2),
            event_id: Some(Uuid::from_u128(3)),
            digest_id: None,
            part: None,
            urgency: 0,
            lane: Some(1),
            lane_previous: None,
            position: 1,
            sequence: Some(1),
            state: "pending".to_owned(),
            attempts: 0,
            due_at: Some(at("2026-03-02T09:00:05Z")),
            is_parked: false,
            lease_until: None,
            hold_until: None,
            settled_at: None,
            cancelled_by: None,
        },
        judgements: Vec::new(),
        attempts: Vec::new(),
        ahead: None,
        untried: Vec::new(),
    }
}

fn summary(delivery: &Delivery, state: &str) -> String {
    delivery.told(&party(state)).summary
}

#[test]
fn a_delayed_delivery_waits_for_the_synchronous_ones_in_the_repository_or_with_an_instance() {
    let mut delivery = pending();
    delivery.untried = vec!["billing".to_owned(), "stock".to_owned()];
    let said = |delivery: &Delivery| summary(delivery, "active");
    assert_eq!(
        said(&delivery),
        "Not sent yet: it waits until the event's synchronous deliveries are tried, to `billing`, \
         `stock`, or until 2026-03-02T09:00:05Z."
    );
    delivery.row.lease_until = delivery.row.due_at.take();
    delivery.row.state = "sending".to_owned();
    assert!(
        said(&delivery).contains(
            "an instance has it, and sends it when the event's synchronous deliveries are tried, \
             to `billing`, `stock`; should that vanish"
        ),
        "{}",
        said(&delivery)
    );
}

#[test]
fn what_a_pending_delivery_waits_for() {
    let mut delivery = pending();
    let said = |delivery: &Delivery| summary(delivery, "active");
    assert_eq!(
        said(&delivery),
        "Not sent yet: it is due at 2026-03-02T09:00:05Z."
    );
    delivery.row.attempts = 2;
    assert_eq!(
        said(&delivery),
        "Not sent yet: it is tried again at 2026-03-02T09:00:05Z."
    );
    delivery.row.due_at = Some(at(NOW));
    assert_eq!(
        said(&delivery),
        "Not sent yet: it is due since 2026-03-02T09:00:00Z, and the next free sender takes it."
    );
    delivery.row.due_at = None;
    assert_eq!(
        said(&delivery),
        "Not sent yet: what stood before it was just settled, and it is about to be due."
    );
    delivery.ahead = Some(AheadRow {
        id: Uuid::from_u128(9),
        event_id: None,
        digest_id: Some(Uuid::from_u128(8)),
        state: "held".to_owned(),
        attempts: 0,
        due_at: None,
    });
    assert_eq!(
        said(&delivery),
        "Not sent yet: it waits behind the earlier digest 00000000-0000-0000-0000-000000000008, or \
         a part of it, whose delivery is held."
    );
}

#[test]
fn what_is_parked_waits_for_its_subscription() {
    let mut delivery = pending();
    delivery.row.due_at = None;
    delivery.row.is_parked = true;
    let paused =
        "Not sent yet: its subscription is disabled, and it is kept until that is resumed.";
    assert_eq!(summary(&delivery, "disabled"), paused);
    // Resumed, and its deliveries are about to be.
    assert!(summary(&delivery, "active").contains("about to be due"));
    let deleted = delivery.told(&party("deleted"));
    assert_eq!(deleted.verdict, Verdict::Cancelled);
}

#[test]
fn why_a_delivery_was_cancelled() {
    let mut delivery = pending();
    delivery.row.state = "cancelled".to_owned();
    delivery.row.settled_at = Some(at(NOW));
    for (by, says) in [
        (None, "its subscription was deleted at 2026-03-02T09:00:00Z"),
        (Some("backlog_age"), "limits.backlog_age_max_hours"),
        (Some("backlog_count"), "limits.backlog_deliveries_max"),
    ] {
        delivery.row.cancelled_by = by.map(str::to_owned);
        let summary = summary(&delivery, "disabled");
        assert!(
            summary.starts_with("Not sent: ") && summary.contains(says),
            "{summary}"
        );
    }
}

#[test]
fn a_verdict_is_answered_as_it_is_written() {
    for verdict in [
        Verdict::Delivered,
        Verdict::Pending,
        Verdict::Held,
        Verdict::Suppressed,
        Verdict::Withdrawn,
        Verdict::Dead,
        Verdict::Cancelled,
        Verdict::InDigest,
        Verdict::Condensed,
        Verdict::NotMatched,
    ] {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
    }
    for about in [
        About::EventTypes,
        About::ObjectKeys,
        About::Filter,
        About::Constraint,
        About::Delivery,
        About::Digest,
        About::Attempts,
    ] {
        assert_eq!(serde_json::to_value(about).unwrap(), about.as_str());
    }
}
