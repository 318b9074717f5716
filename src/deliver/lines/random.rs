//! What must hold of lines, whatever happens to them.

use proptest::prelude::*;

use super::{
    tests::{BOUNDS, at, key, lines},
    *,
};

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push {
        line: u128,
        is_fresh: bool,
    },
    Slow {
        nth: usize,
    },
    End {
        nth: usize,
        sign: Sign,
        goes_on: bool,
    },
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let sign = prop_oneof![
        4 => Just(Sign::Answered),
        2 => Just(Sign::Troubled),
        2 => Just(Sign::Silent),
        1 => Just(Sign::Unasked),
    ];
    prop_oneof![
        4 => (0_u128..12, any::<bool>())
            .prop_map(|(line, is_fresh)| Step::Push { line, is_fresh }),
        1 => (0_usize..64).prop_map(|nth| Step::Slow { nth }),
        4 => (0_usize..64, sign, any::<bool>())
            .prop_map(|(nth, sign, goes_on)| Step::End { nth, sign, goes_on }),
        1 => (0_i64..9).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A chain under way.
struct UnderWay {
    key: LineKey,
    is_slow: bool,
    probes: Probes,
}

proptest! {
    /// Whatever happens, the bounds hold, nothing gets lost, and nobody waits for ever.
    #[test]
    fn the_bounds_hold_and_everything_leaves(steps in proptest::collection::vec(step(), 1..400)) {
        let mut lines = lines();
        let (mut now, mut pushed, mut left) = (0, 0, 0);
        let mut under_way: Vec<UnderWay> = Vec::new();
        let drain = Step::End { nth: 0, sign: Sign::Answered, goes_on: false };
        let steps = steps.into_iter().chain(std::iter::repeat_n(drain, 500));
        for step in steps {
            match step {
                Step::Push { line, is_fresh } => {
                    // Three subscriptions at each of four hosts.
                    let key = key(line, &format!("host-{}", line % 4));
                    lines.push(&key, (pushed, 1), is_fresh, at(now));
                    pushed += 1;
                }
                Step::Slow { nth } if !under_way.is_empty() => {
                    let nth = nth % under_way.len();
                    let one = &mut under_way[nth];
                    if !one.is_slow {
                        one.is_slow = true;
                        lines.request_slow(&one.key, at(now));
                    }
                }
                Step::End { nth, sign, goes_on } if !under_way.is_empty() => {
                    let nth = nth % under_way.len();
                    let one = &mut under_way[nth];
                    let ended = Ended {
                        sign,
                        was_slow: std::mem::take(&mut one.is_slow),
                        probes: std::mem::take(&mut one.probes),
                    };
                    lines.request_ended(&one.key, ended, at(now));
                    if !goes_on {
                        let one = under_way.swap_remove(nth);
                        lines.sender_ended(&one.key);
                    }
                }
                Step::Wait { seconds } => now += seconds,
                Step::Slow { .. } | Step::End { .. } => {}
            }
            while let Some(start) = lines.next(at(now)) {
                left += 1;
                under_way.push(UnderWay {
                    key: start.key,
                    is_slow: false,
                    probes: start.probes,
                });
            }
            left += lines.take_back().len();
            prop_assert_eq!(lines.senders(), under_way.len());
            prop_assert!(lines.senders() <= BOUNDS.senders_max + BOUNDS.senders_slow_max);
            for host in 0..4 {
                let name = format!("host-{host}");
                let of_host = under_way.iter().filter(|one| *one.key.host == *name);
                prop_assert!(of_host.count() <= BOUNDS.senders_per_host_max);
            }
        }
        prop_assert_eq!(under_way.len(), 0);
        prop_assert_eq!(left, pushed as usize);
    }
}
