use proptest::prelude::*;

use super::*;

const READY: Readiness = Readiness {
    is_active: true,
    is_at_once: true,
    is_judged_at_send: false,
};

fn planned(event: usize, subscription: u32, mode: Mode, lane: Option<i64>) -> Planned {
    Planned {
        id: Uuid::nil(),
        subscription,
        mode,
        event,
        lane,
        lane_previous: None,
        judged: None,
        is_unjudged: false,
        is_of_start: false,
        birth: Birth::Due,
    }
}

fn synchronous(event: usize, lane: i64) -> Planned {
    planned(event, 0, Mode::Synchronous, Some(lane))
}

fn delayed(event: usize, lane: i64) -> Planned {
    planned(event, 9, Mode::SynchronousDelayed, Some(lane))
}

/// How these are born, if `busy` are the lanes that have something unsettled.
fn births(busy: &[LaneOf], room: Places, planned: &[(Planned, Readiness)]) -> Vec<Birth> {
    let all: Vec<Planned> = planned.iter().map(|(planned, _)| planned.clone()).collect();
    let mut births = Births::new(&all, busy.iter().copied().collect(), room);
    let birth = |(planned, readiness): &(Planned, Readiness)| births.of(planned, *readiness);
    planned.iter().map(birth).collect()
}

const ROOM: Places = Places {
    all: 100,
    aside: 50,
};

#[test]
fn a_delayed_one_is_claimed_if_all_is_that_it_waits_for() {
    let paused = Readiness {
        is_active: false,
        ..READY
    };
    let judged = Readiness {
        is_judged_at_send: true,
        ..READY
    };
    let other = || planned(0, 1, Mode::Synchronous, Some(1));
    let (first, later) = ((synchronous(0, 1), READY), (delayed(0, 1), READY));
    let (one, two) = (Birth::Claimed(0), Birth::Claimed(1));
    for (what, busy, ahead, born) in [
        ("nobody", vec![], vec![], one),
        ("one", vec![], vec![first.clone()], two),
        (
            "two",
            vec![],
            vec![first.clone(), (other(), READY)],
            Birth::Claimed(2),
        ),
        // What can't start is waited for by nobody.
        (
            "one, and one that is blocked",
            vec![(1, 1)],
            vec![first.clone(), (other(), READY)],
            two,
        ),
        (
            "one, and one that is paused",
            vec![],
            vec![first.clone(), (other(), paused)],
            two,
        ),
        (
            "one that is blocked",
            vec![(0, 1)],
            vec![first.clone()],
            one,
        ),
        // Claiming judges it, here or elsewhere.
        (
            "one, and one that is due",
            vec![],
            vec![first.clone(), (other(), judged)],
            Birth::Waiting,
        ),
        (
            "one that is due, and one",
            vec![],
            vec![(other(), judged), first],
            Birth::Waiting,
        ),
        // Another event's is none of its own.
        (
            "another event's",
            vec![],
            vec![(synchronous(1, 5), judged)],
            one,
        ),
    ] {
        let mut planned = ahead;
        planned.push(later.clone());
        let all = births(&busy, ROOM, &planned);
        assert_eq!(all.last(), Some(&born), "behind {what}");
    }
}

#[test]
fn a_chain_goes_on_with_what_waits_in_memory_only() {
    let two_events = |second: Readiness| {
        [
            (synchronous(0, 1), READY),
            (delayed(0, 1), READY),
            (planned(1, 1, Mode::Synchronous, None), second),
            (delayed(1, 1), READY),
        ]
    };
    let all = births(&[], ROOM, &two_events(READY));
    assert_eq!(all, [0, 1, 2, 1].map(Birth::Claimed));
    let judged = Readiness {
        is_judged_at_send: true,
        ..READY
    };
    let all = births(&[], ROOM, &two_events(judged));
    assert_eq!(all[2..], [Birth::Due, Birth::Blocked]);
}

#[test]
fn without_room_aside_it_waits_in_the_repository_and_the_synchronous_ones_go_on() {
    let room = Places { all: 100, aside: 1 };
    let planned: Vec<_> = (0..3)
        .flat_map(|event| {
            let lane = event as i64;
            [
                (synchronous(event, lane), READY),
                (delayed(event, lane), READY),
            ]
        })
        .collect();
    let all = births(&[], room, &planned);
    let later: Vec<Birth> = all.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(later, [Birth::Claimed(1), Birth::Waiting, Birth::Waiting]);
    let is_claimed = |birth: &&Birth| matches!(birth, Birth::Claimed(_));
    assert_eq!(all.iter().step_by(2).filter(is_claimed).count(), 3);
    // Nor does one that waits take the place of a synchronous one behind it.
    let room = Places { all: 4, aside: 50 };
    let all = births(&[], room, &planned);
    let claimed = [Some(0), Some(1), Some(2), None, Some(3), None];
    let expected = claimed.map(|chain| chain.map_or(Birth::Waiting, Birth::Claimed));
    assert_eq!(all, expected);
    // One that waits for nobody needs no such room.
    let alone = [(delayed(7, 7), READY)];
    let room = Places { all: 1, aside: 0 };
    assert_eq!(births(&[], room, &alone), [Birth::Claimed(0)]);
}

prop_compose! {
    fn some_event()(
        kinds in proptest::collection::vec((0_u32..4, 0_i64..3, any::<bool>()), 0..4),
        later in proptest::collection::vec((0_u32..3, 0_i64..3), 0..3),
    ) -> Vec<(u32, i64, bool)> {
        let later = later.into_iter().map(|(number, lane)| (10 + number, lane, false));
        kinds.into_iter().chain(later).collect()
    }
}

proptest! {
    /// Whatever is planned: no delayed one is claimed behind what this instance has not, and no
    /// more than there is room for.
    #[test]
    fn nobody_waits_in_memory_for_what_is_not_there(
        events in proptest::collection::vec(some_event(), 1..12),
        all in 0_usize..30,
        aside in 0_usize..10,
        busy in proptest::collection::hash_set((0_u32..13, 0_i64..3), 0..6),
    ) {
        let planned: Vec<(Planned, Readiness)> = events
            .iter()
            .enumerate()
            .flat_map(|(event, deliveries)| {
                deliveries.iter().map(move |(subscription, lane, is_judged_at_send)| {
                    let mode = match subscription {
                        10.. => Mode::SynchronousDelayed,
                        _ => Mode::Synchronous,
                    };
                    let readiness = Readiness { is_judged_at_send: *is_judged_at_send, ..READY };
                    (planned(event, *subscription, mode, Some(*lane)), readiness)
                })
            })
            .collect();
        let busy: Vec<LaneOf> = busy.into_iter().collect();
        let born = births(&busy, Places { all, aside }, &planned);
        let is_claimed = |birth: &Birth| matches!(birth, Birth::Claimed(_));
        prop_assert!(born.iter().filter(|birth| is_claimed(birth)).count() <= all);
        let mut set_aside = 0;
        for (event, _) in events.iter().enumerate() {
            let of = |mode: Mode| {
                let both = planned.iter().zip(&born);
                both.filter(move |((one, _), _)| one.event == event && one.mode == mode)
                    .map(|(_, birth)| *birth)
                    .collect::<Vec<_>>()
            };
            let (now, later) = (of(Mode::Synchronous), of(Mode::SynchronousDelayed));
            let later = later.iter().filter(|birth| is_claimed(birth)).count();
            prop_assert!(later == 0 || !now.contains(&Birth::Due), "{now:?}");
            if now.iter().any(is_claimed) {
                set_aside += later;
            }
        }
        prop_assert!(set_aside <= aside);
    }
}
