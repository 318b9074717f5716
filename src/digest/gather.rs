//! Gathering: events are added to the open digests of their subscriptions, in the transaction that
//! publishes or releases them.
//!
//! A subscription has at most one open digest, and whoever adds to it or closes it holds its row
//! until the transaction ends. So an event is in exactly one digest, counts are exact, and
//! `max_items` is never exceeded: a digest that is full is closed here, and the next one is opened.
//!
//! The rows are locked in the order of subscriptions, after all other locks of the caller: two
//! transactions that gather wait for each other, never in a circle. What closes digests by time
//! waits for nobody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    grouping::{Grouping, groups_judge},
    late::{windows_begin, windows_skip},
    schedule::Schedule,
    store::{
        Closed, Filled, MemberRow, Opening, Overflow, Rescheduled, Taken, digest_fill,
        digest_reschedule, digest_take, member_insert, overflow_insert,
    },
};
use crate::{
    db::{Connection, QueryError},
    publish::detect::Ids,
};

/// Events for one subscription's digest.
#[derive(Clone, Debug)]
pub struct Gathering<'a> {
    /// Whose digest.
    pub subscription_id: Uuid,
    /// When it closes.
    pub schedule: &'a Schedule,
    /// What it is grouped by, if it is.
    pub grouping: Option<&'a Grouping>,
    /// In their order; each is new to the subscription.
    pub members: Vec<NewMember>,
}

/// An event as a digest knows it.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// The event.
    pub event_id: Uuid,
    /// Its position: the order inside the digest.
    pub position: i64,
    /// Its type.
    pub event_type: String,
    /// The type of its object.
    pub object_type: Option<String>,
    /// The key of its object as text.
    pub object_key: Option<String>,
    /// The key before the event, if it changed it.
    pub previous_key: Option<String>,
    /// When what it tells of happened.
    pub time: DateTime<Utc>,
    /// The event as it is stored, where it is at hand; else it is read if it is needed.
    pub body: Option<Arc<str>>,
}

/// What gathering did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Events that were added.
    pub events: usize,
    /// Digests that are closed by it: after the commit, the digest stage has something to do.
    pub closed: usize,
}

/// Adds events to the open digests of their subscriptions; opens those that are not there, and
/// closes those that are full or whose time has come.
///
/// To be called in the transaction that writes the events, or settles their release, and as its
/// last locks: after those of the registry, of deliveries and of sequences. Three statements, and
/// up to three more when digests fill up or were just closed, whatever the numbers of events
/// and subscriptions; for those who group their digests, events that are not at hand are read, too.
///
/// # Errors
///
/// Those of the database. An event that a digest of the subscription already has is one of them.
pub fn digest_gather(
    connection: &mut Connection,
    gatherings: &[Gathering<'_>],
    now: DateTime<Utc>,
) -> Result<Gathered, QueryError> {
    let by_subscription = by_subscription(gatherings);
    if by_subscription.is_empty() {
        return Ok(Gathered::default());
    }
    // Before any digest is held: judging takes its time.
    let groups = groups_judge(connection, gatherings, now)?;
    let ids = Ids::new();
    let openings: Vec<Opening> = by_subscription
        .iter()
        .map(|(subscription_id, (schedule, members))| Opening {
            id: ids.next(now),
            subscription_id: *subscription_id,
            events: members.len() as i64,
            close: schedule.close(now, Some(now)),
        })
        .collect();
    let taken = digest_take(connection, &openings, now)?;
    let new: Vec<Uuid> = openings
        .iter()
        .map(|opening| opening.id)
        .filter(|id| taken.values().any(|taken| taken.id == *id))
        .collect();
    let schedule_of = |id: &Uuid| by_subscription.get(id).map(|(schedule, _)| *schedule);
    if !new.is_empty() {
        let begun = windows_begin(connection, &new, schedule_of, &ids, now)?;
        let late = late(&by_subscription, &taken, &begun, now);
        if !late.is_empty() {
            digest_reschedule(connection, &late)?;
        }
    }
    let mut plan = Plan::default();
    for (subscription_id, (schedule, members)) in &by_subscription {
        // One row for each opening: the statement inserts it or locks the one that is there.
        let Some(taken) = taken.get(subscription_id) else {
            return Err(QueryError::NotFound);
        };
        plan.add(*taken, *subscription_id, schedule, members, &ids, now);
    }
    if !plan.first.is_empty() {
        let mut numbers = digest_fill(connection, &plan.first, now)?;
        windows_skip(connection, &mut numbers, schedule_of, &ids, now)?;
        overflow_insert(connection, &plan.overflow, &numbers, now)?;
    }
    for row in &mut plan.members {
        let member = (row.subscription_id, row.member.event_id);
        row.grouping = groups.get(&member).map(String::as_str);
    }
    member_insert(connection, &plan.members)?;
    Ok(Gathered {
        events: plan.members.len(),
        closed: plan.closed,
    })
}

/// When new digests close whose windows began only after `now`: while this transaction waited, the
/// digest before was closed. What it was closed for is past, and is not to close the new one too.
fn late(
    by_subscription: &BySubscription<'_>,
    taken: &HashMap<Uuid, Taken>,
    begun: &HashMap<Uuid, Closed>,
    now: DateTime<Utc>,
) -> Vec<Rescheduled> {
    let late = taken.iter().filter_map(|(subscription_id, taken)| {
        let begun = begun.get(subscription_id)?.closed_at;
        if begun <= now {
            return None;
        }
        let (schedule, _) = by_subscription.get(subscription_id)?;
        Some(Rescheduled {
            id: taken.id,
            close: schedule.close(begun, Some(now)),
        })
    });
    late.collect()
}

type BySubscription<'a> = BTreeMap<Uuid, (&'a Schedule, Vec<&'a NewMember>)>;

fn by_subscription<'a>(gatherings: &'a [Gathering<'a>]) -> BySubscription<'a> {
    let mut map = BySubscription::new();
    for gathering in gatherings.iter().filter(|one| !one.members.is_empty()) {
        let (_, members) = map
            .entry(gathering.subscription_id)
            .or_insert_with(|| (gathering.schedule, Vec::new()));
        members.extend(&gathering.members);
    }
    map
}

/// Which event goes where.
#[derive(Default)]
struct Plan<'a> {
    /// Digests that were open and are full or overdue.
    first: Vec<Filled>,
    overflow: Vec<Overflow>,
    members: Vec<MemberRow<'a>>,
    closed: usize,
}

impl<'a> Plan<'a> {
    fn add(
        &mut self,
        taken: Taken,
        subscription_id: Uuid,
        schedule: &Schedule,
        members: &[&'a NewMember],
        ids: &Ids,
        now: DateTime<Utc>,
    ) {
        let shares = shares(
            members.len(),
            taken.had,
            taken.is_overdue,
            schedule.max_items(),
        );
        let mut rest = members;
        for (place, share) in shares.iter().enumerate() {
            let (now_in, later) = rest.split_at(share.events);
            rest = later;
            let id = if place == 0 { taken.id } else { ids.next(now) };
            self.closed += usize::from(share.is_closed);
            self.members.extend(now_in.iter().map(|member| MemberRow {
                digest_id: id,
                subscription_id,
                member,
                grouping: None,
            }));
            if place > 0 {
                self.overflow.push(Overflow {
                    opening: Opening {
                        id,
                        subscription_id,
                        events: share.events as i64,
                        close: schedule.close(now, Some(now)),
                    },
                    behind: place as i64,
                    is_full: share.is_closed,
                });
            } else if share.is_closed {
                self.first.push(Filled {
                    id,
                    events: taken.had + share.events as i64,
                    is_full: !taken.is_overdue,
                    ends_on_time: taken.is_overdue && schedule.ends_on_time(),
                });
            }
        }
    }
}

/// What one digest gets of the events that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    events: usize,
    is_closed: bool,
}

/// Parts `count` events among the open digest, which has `had` already, and those after it.
fn shares(count: usize, had: i64, is_overdue: bool, max_items: Option<u32>) -> Vec<Share> {
    let max = max_items.map_or(usize::MAX, |max| max as usize);
    let had = usize::try_from(had).unwrap_or(0);
    let fits = if is_overdue {
        0
    } else {
        // Of a `max_items` that was lowered meanwhile, the digest may have more already.
        count.min(max.saturating_sub(had))
    };
    let mut shares = vec![Share {
        events: fits,
        is_closed: is_overdue || had.saturating_add(fits) >= max,
    }];
    let mut left = count - fits;
    while left > 0 {
        let events = left.min(max);
        shares.push(Share {
            events,
            is_closed: events == max,
        });
        left -= events;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_event_has_one_digest_and_none_has_too_many(
            count in 1_usize..200, had in 0_i64..60, is_overdue: bool, max in 1_u32..50,
        ) {
            let shares = shares(count, had, is_overdue, Some(max));
            let max = max as usize;
            prop_assert_eq!(shares.iter().map(|share| share.events).sum::<usize>(), count);
            // Only the last is left open, and only if there is room in it.
            let (last, before) = shares.split_last().unwrap();
            prop_assert!(before.iter().all(|share| share.is_closed));
            let in_last = last.events + if shares.len() == 1 { had as usize } else { 0 };
            prop_assert_eq!(last.is_closed, in_last >= max || (shares.len() == 1 && is_overdue));
            prop_assert!(shares[1..].iter().all(|share| (1..=max).contains(&share.events)));
            let first = had as usize + shares[0].events;
            prop_assert!(first <= max || shares[0].events == 0);
            // Each is filled before the next is begun, unless its time has come.
            prop_assert!(shares[1..shares.len().max(2) - 1].iter().all(|share| share.events == max));
            prop_assert!(shares.len() == 1 || is_overdue || first >= max);
        }
    }

    #[test]
    fn without_a_bound_all_go_into_the_open_one() {
        let all = Share {
            events: 70,
            is_closed: false,
        };
        assert_eq!(shares(70, 5, false, None), [all]);
        assert_eq!(shares(70, 5, true, None).len(), 2);
    }
}
