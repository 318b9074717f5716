//! Puts the changes of one transaction into the order in which they happened.
//!
//! Capture order is the order in which triggers fired, and the application's own triggers can turn
//! it around: a trigger of row 1 that updates row 2 is captured before the statement's own change
//! of row 2. But each change carries the row before and after, so what happened under one key is a
//! *thread* whose changes each begin with what the one before left. A change of the key is in two
//! threads: it ends in the one and begins in the other.
//!
//! A thread that is one as it was captured is believed. Else its order is a path that uses every
//! change once (an Eulerian path over row images), if there is one. The threads of a transaction
//! are then woven together again; if they contradict each other, as they may under a deferrable
//! key, everything stays as it was captured. So does a thread with a gap, whose images are unknown.
//!
//! Nothing moves across a TRUNCATE: what it removed was captured by no other change.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use crate::capture::change::{Change, Op};

/// A change as it is seen from one key.
#[derive(Clone, Copy)]
struct Step<'a> {
    /// In the batch.
    place: usize,
    before: Option<&'a str>,
    after: Option<&'a str>,
    is_known: bool,
}

/// The changes of one key in one segment, in the order of capture.
type Threads<'a> = HashMap<(usize, &'a str), Vec<Step<'a>>>;

/// Puts a batch in order. Only changes of targets that are `whole` are moved, and only into places
/// of the same transaction and target.
pub(super) fn put_in_order(changes: Vec<Change>, whole: impl Fn(i32) -> bool) -> Vec<Change> {
    let swaps = swaps(&changes, whole);
    if swaps.is_empty() {
        return changes;
    }
    let mut taken: Vec<Option<Change>> = changes.into_iter().map(Some).collect();
    let moved: Vec<(usize, Option<Change>)> = swaps
        .into_iter()
        .map(|(to, from)| (to, taken[from].take()))
        .collect();
    for (to, change) in moved {
        taken[to] = change;
    }
    taken.into_iter().flatten().collect()
}

/// Which place is to be filled from which; each place that is filled is also taken from.
fn swaps(changes: &[Change], whole: impl Fn(i32) -> bool) -> Vec<(usize, usize)> {
    let threads = threads(changes, whole);
    let mut orders: HashMap<(usize, &str), Vec<usize>> = HashMap::new();
    for (thread, steps) in &threads {
        if !is_chain(steps)
            && let Some(order) = path(steps)
        {
            orders.insert(*thread, order);
        }
    }
    let broken: BTreeSet<usize> = orders.keys().map(|(segment, _)| *segment).collect();
    if broken.is_empty() {
        return Vec::new();
    }
    let mut woven: HashMap<usize, Vec<Vec<usize>>> = HashMap::new();
    for (thread, steps) in &threads {
        if broken.contains(&thread.0) && steps.len() > 1 {
            let as_captured = || steps.iter().map(|step| step.place).collect();
            let order = orders.remove(thread).unwrap_or_else(as_captured);
            woven.entry(thread.0).or_default().push(order);
        }
    }
    let mut swaps = Vec::new();
    for order in woven.into_values().filter_map(|orders| weave(&orders)) {
        let mut places = order.clone();
        places.sort_unstable();
        swaps.extend(places.into_iter().zip(order));
    }
    swaps
}

/// What happened under each key. A segment is what one transaction did to one table between two
/// TRUNCATEs.
fn threads(changes: &[Change], whole: impl Fn(i32) -> bool) -> Threads<'_> {
    let mut threads = Threads::new();
    let mut segments: HashMap<(i64, i32), usize> = HashMap::new();
    for (place, change) in changes.iter().enumerate() {
        let of = (change.row.writer_xid(), change.row.target);
        if change.op == Op::Truncate {
            segments.insert(of, place);
        }
        let Some(key) = change.key.as_deref() else {
            continue;
        };
        if !whole(change.row.target) {
            continue;
        }
        // Named by the place where it begins.
        let segment = *segments.entry(of).or_insert(place);
        let step = Step {
            place,
            before: change.row.before.as_deref(),
            after: change.row.after.as_deref(),
            is_known: change.op != Op::Gap,
        };
        let mut push = |key, step| threads.entry((segment, key)).or_default().push(step);
        match change.previous_key.as_deref() {
            None => push(key, step),
            Some(previous) => {
                push(
                    previous,
                    Step {
                        after: None,
                        ..step
                    },
                );
                push(
                    key,
                    Step {
                        before: None,
                        ..step
                    },
                );
            }
        }
    }
    threads
}

fn is_chain(steps: &[Step<'_>]) -> bool {
    steps.windows(2).all(|pair| pair[0].after == pair[1].before)
}

/// The places in the order that makes each step begin with what the one before it left; `None` if
/// there is no such order.
fn path(steps: &[Step<'_>]) -> Option<Vec<usize>> {
    if steps.iter().any(|step| !step.is_known) {
        return None;
    }
    // Steps by the row they begin with, the earliest captured last, so that pop takes it first.
    let mut from: HashMap<Option<&str>, Vec<usize>> = HashMap::new();
    let mut balance: HashMap<Option<&str>, i32> = HashMap::new();
    for (index, step) in steps.iter().enumerate().rev() {
        from.entry(step.before).or_default().push(index);
        *balance.entry(step.before).or_default() += 1;
        *balance.entry(step.after).or_default() -= 1;
    }
    let mut starts = balance.iter().filter(|(_, surplus)| **surplus > 0);
    let start = match (starts.next(), starts.next()) {
        (Some((start, 1)), None) => *start,
        (None, None) => steps.first()?.before,
        _ => return None,
    };
    // Hierholzer: walk until stuck, then go back and insert the detours.
    let (mut walk, mut order) = (vec![(start, None)], Vec::with_capacity(steps.len()));
    while let Some((row, arrived_by)) = walk.last().copied() {
        match from.get_mut(&row).and_then(Vec::pop) {
            Some(index) => walk.push((steps[index].after, Some(index))),
            None => {
                order.extend(arrived_by);
                walk.pop();
            }
        }
    }
    order.reverse();
    let is_whole = order.len() == steps.len();
    is_whole.then(|| order.into_iter().map(|index| steps[index].place).collect())
}

/// One order that agrees with all of `orders`, the earliest captured first where they leave a
/// choice; `None` if they contradict each other.
fn weave(orders: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut behind: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut waits_for: HashMap<usize, usize> = HashMap::new();
    for order in orders {
        for place in order {
            waits_for.entry(*place).or_default();
        }
        for pair in order.windows(2) {
            behind.entry(pair[0]).or_default().push(pair[1]);
            *waits_for.entry(pair[1]).or_default() += 1;
        }
    }
    let mut free: BinaryHeap<Reverse<usize>> = waits_for
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(place, _)| Reverse(*place))
        .collect();
    let mut woven = Vec::with_capacity(waits_for.len());
    while let Some(Reverse(place)) = free.pop() {
        woven.push(place);
        for next in behind.get(&place).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    free.push(Reverse(*next));
                }
            }
        }
    }
    (woven.len() == waits_for.len()).then_some(woven)
}

#[cfg(test)]
mod tests;
