//! What follows from the end of a request, beside the turns.

use super::{
    tests::{at, end, key, lines, push, start_all},
    *,
};

#[test]
fn a_probe_of_a_subscription_is_none_of_its_host() {
    for sign in [Sign::Unasked, Sign::Silent] {
        // GIVEN a subscription that fails, whose probe is under way
        let mut lines = lines();
        let failing = key(1, "shared");
        push(&mut lines, &failing, 0..4);
        start_all(&mut lines);
        for _ in 0..4 {
            end(&mut lines, &failing, Sign::Troubled, false);
        }
        lines.push(&failing, (50, 1), false, at(5));
        let of_line = lines.next(at(5)).unwrap().probes;
        assert_eq!((of_line.line, of_line.host), (true, false));
        // AND then its host falls silent, and another's request asks whether it is there
        for number in 2..5 {
            let silent = key(number, "shared");
            push(&mut lines, &silent, [60]);
            start_all(&mut lines);
            end(&mut lines, &silent, Sign::Silent, false);
        }
        let other = key(6, "shared");
        lines.push(&other, (70, 1), false, at(20));
        let of_host = lines.next(at(20)).unwrap().probes;
        assert_eq!((of_host.line, of_host.host), (false, true), "{sign:?}");
        // WHEN the first probe comes back
        let ended = Ended {
            sign,
            was_slow: false,
            probes: of_line,
        };
        lines.request_ended(&failing, ended, at(20));
        // THEN the host is still being asked: what comes waits for that, and is not sent back
        lines.take_back();
        lines.push(&key(7, "shared"), (80, 1), false, at(20));
        assert!(lines.next(at(20)).is_none(), "{sign:?}");
        assert!(lines.take_back().is_empty(), "{sign:?}");
        // AND goes when that is answered
        let ended = Ended {
            sign: Sign::Answered,
            was_slow: false,
            probes: of_host,
        };
        lines.request_ended(&other, ended, at(20));
        assert_eq!(lines.next(at(20)).unwrap().chain, 80, "{sign:?}");
    }
}

#[test]
fn a_receiver_that_wants_no_more_is_sent_nothing_that_waits() {
    let mut lines = lines();
    let gone = key(1, "gone");
    push(&mut lines, &gone, 0..10);
    let started = start_all(&mut lines).len();
    // WHEN it says so
    assert_eq!(end(&mut lines, &gone, Sign::Gone, false), None);
    // THEN what waits goes back, and no breaker has opened
    let back = lines.take_back();
    assert_eq!(back.len(), 10 - started);
    assert!(back.iter().all(|back| back.not_before > at(0)));
    assert!(start_all(&mut lines).is_empty() && !lines.is_open(&gone, at(0)));
}
