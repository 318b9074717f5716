//! Publishing constraints: what is suppressed, held, released and withdrawn, and what is recorded.

use chrono::TimeDelta;

use crate::{
    shop::{apply, judgements, shop, states, told, write},
    support::receiver::Receiver,
};

const ALL: &str =
    "[subscription.all]\nobject_types = [\"sales.order\"]\nmode = \"synchronous\"\nSINK\n";

#[tokio::test]
async fn what_a_constraint_suppresses_is_recorded_and_never_sent() {
    // GIVEN a constraint on the amount
    let receiver = Receiver::start().await;
    let large = r#"
        [constraint.large-orders]
        applies_to = { event_types = ["sales.order.*"] }
        condition = "row.amount >= 1000"
        otherwise = "suppress"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{large}")).await;
    // WHEN a small and a large order come
    write(
        &app,
        "insert into orders (id, amount) values (1, 10), (2, 1000)",
    );
    app.run_until_idle().await;
    // THEN the small one is not sent, and it is written down why
    assert_eq!(told(&receiver), ["created 2"]);
    assert_eq!(states(&app), ["suppressed/0", "delivered/1"]);
    let judged = judgements(&app);
    assert_eq!(judged.len(), 1);
    assert!(
        judged[0].starts_with("suppress large-orders event: the condition is false")
            && judged[0].contains("row.amount")
            && judged[0].contains("10.00"),
        "{judged:?}"
    );
    // and what it does not get has no number
    assert_eq!(
        app.texts(
            "select coalesce(sequence::text, 'none') from rowcall.delivery order by position"
        ),
        ["none", "1"]
    );
}

/// Tests begin on Monday, 2 March 2026, 09:00 UTC: 10:00 in Berlin.
const EVENING: &str = r#"
    [constraint.evening]
    applies_to = { object_types = ["sales.order"] }
    window = { days = "mon-fri", from = "18:00", to = "20:00", time_zone = "Europe/Berlin" }
    judge = "JUDGE"
    otherwise = "hold"
    hold_at_most = "HOLD"
"#;

fn evening(judge: &str, hold: &str) -> String {
    EVENING.replace("JUDGE", judge).replace("HOLD", hold)
}

#[tokio::test]
async fn what_is_held_blocks_its_key_until_the_window_opens() {
    for judge in ["at_event", "at_send", "both"] {
        let receiver = Receiver::start().await;
        let mut app = shop(&receiver, &format!("{ALL}{}", evening(judge, "72h"))).await;
        // WHEN an order changes outside the window, twice, in two batches
        write(&app, "insert into orders (id) values (1)");
        app.run_until_idle().await;
        write(&app, "update orders set region = 'US'");
        app.run_until_idle().await;
        // THEN both wait
        assert!(told(&receiver).is_empty(), "{judge}");
        assert_eq!(
            app.count("select count(*) from rowcall.delivery where state = 'held'"),
            if judge == "at_send" { 1 } else { 2 },
            "{judge}: {:?}",
            states(&app)
        );
        // WHEN it is not yet time THEN they still wait
        app.advance(TimeDelta::hours(7)).await;
        assert!(told(&receiver).is_empty(), "{judge}");
        // WHEN the window opens at 17:00 UTC THEN they are sent in their order
        app.advance(TimeDelta::hours(1)).await;
        assert_eq!(told(&receiver), ["created 1", "updated 1"], "{judge}");
        assert_eq!(states(&app), ["delivered/1", "delivered/1"]);
        assert_eq!(
            app.texts("select sequence::text from rowcall.delivery order by position"),
            ["1", "2"]
        );
        assert!(
            judgements(&app)[0].starts_with("hold evening "),
            "{:?}",
            judgements(&app)
        );
    }
}

#[tokio::test]
async fn what_is_held_for_too_long_is_withdrawn_and_frees_its_key() {
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, &format!("{ALL}{}", evening("at_event", "2h"))).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::minutes(119)).await;
    assert_eq!(states(&app), ["held/0"]);
    // WHEN two hours are over THEN it is withdrawn, with the reason
    app.advance(TimeDelta::minutes(1)).await;
    assert_eq!(states(&app), ["withdrawn/0"]);
    assert!(
        judgements(&app)[1].starts_with("withdraw evening"),
        "{:?}",
        judgements(&app)
    );
    // WHEN the order changes in the window THEN that is sent
    app.advance(TimeDelta::hours(6)).await;
    write(&app, "update orders set region = 'US'");
    app.run_until_idle().await;
    assert_eq!(told(&receiver), ["updated 1"]);
}

#[tokio::test]
async fn one_that_was_held_for_too_long_while_rowcall_was_down_is_withdrawn_all_the_same() {
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, &format!("{ALL}{}", evening("at_event", "2h"))).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    // WHEN nobody looks until the window is open THEN its two hours are over nevertheless
    app.advance(TimeDelta::hours(9)).await;
    assert_eq!(states(&app), ["withdrawn/0"]);
    assert!(
        judgements(&app)[1].starts_with("withdraw evening"),
        "{:?}",
        judgements(&app)
    );
    assert!(told(&receiver).is_empty());
}

#[tokio::test]
async fn a_rate_lets_so_many_pass_and_holds_the_rest_for_the_next_window() {
    for judge in ["at_event", "at_send"] {
        let receiver = Receiver::start().await;
        let rate = format!(
            "[constraint.gently]\napplies_to = {{ object_types = [\"sales.order\"] }}\n\
             rate = \"3/h\"\njudge = \"{judge}\"\notherwise = \"hold\"\nhold_at_most = \"3h\"\n"
        );
        let mut app = shop(&receiver, &format!("{ALL}{rate}")).await;
        // WHEN eight orders come at once
        write(&app, "insert into orders (id) select generate_series(1, 8)");
        app.run_until_idle().await;
        // THEN three are sent, and three more an hour later, and the rest after that
        for (hours, sent) in [(0, 3), (1, 6), (1, 8)] {
            app.advance(TimeDelta::hours(hours)).await;
            assert_eq!(told(&receiver).len(), sent, "{judge}: {:?}", states(&app));
        }
        assert_eq!(
            app.texts("select spent::text from rowcall.rate where spent > 0 order by window_start"),
            ["3", "3", "2"],
            "{judge}"
        );
    }
}

#[tokio::test]
async fn a_retry_is_judged_again_but_counted_once() {
    use crate::support::receiver::Answer;
    let receiver = Receiver::start().await;
    receiver.script([
        Answer::Status(503),
        Answer::Status(503),
        Answer::Status(200),
    ]);
    let rate = r#"
        retry = { schedule = ["0s", "1s", "1s", "1s"] }
        [constraint.gently]
        applies_to = { object_types = ["sales.order"] }
        rate = "1/d"
        judge = "at_send"
        otherwise = "suppress"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{rate}")).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(5)).await;
    app.advance(TimeDelta::seconds(5)).await;
    assert_eq!(states(&app), ["delivered/3"]);
    // A second one on that day is too many.
    write(&app, "insert into orders (id) values (2)");
    app.run_until_idle().await;
    assert_eq!(states(&app), ["delivered/3", "suppressed/0"]);
}

#[tokio::test]
async fn labels_choose_the_subscriptions_that_are_constrained() {
    let receiver = Receiver::start().await;
    let two = r#"
        [subscription.desk]
        object_types = ["sales.order"]
        mode = "synchronous"
        labels = { desk = "eu" }
        SINK
        [constraint.not-for-the-desk]
        applies_to = { object_types = ["sales.order"], labels = { desk = "eu" } }
        condition = "row.region != 'EU'"
        otherwise = "suppress"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{two}")).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    assert_eq!(told(&receiver), ["created 1"]);
    assert_eq!(
        app.texts(
            "select s.name || ' ' || d.state from rowcall.delivery d \
             join rowcall.subscription s on s.id = d.subscription_id order by s.name"
        ),
        ["all delivered", "desk suppressed"]
    );
}

#[tokio::test]
async fn a_delayed_delivery_does_not_wait_for_a_held_or_suppressed_one() {
    let receiver = Receiver::start().await;
    let modes = r#"
        [subscription.later]
        object_types = ["sales.order"]
        mode = "synchronous_delayed"
        SINK
        [constraint.evening]
        applies_to = { object_types = ["sales.order"], subscriptions = ["all"] }
        window = { from = "18:00", to = "20:00" }
        judge = "at_send"
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{modes}")).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    app.advance(TimeDelta::seconds(30)).await;
    // THEN the delayed one is told although the synchronous one is held
    assert_eq!(told(&receiver), ["created 1"]);
    let mut states = states(&app);
    states.sort();
    assert_eq!(states, ["delivered/1", "held/0"]);
    app.advance(TimeDelta::hours(10)).await;
    assert_eq!(told(&receiver).len(), 2);
}

#[tokio::test]
async fn a_constraint_that_is_taken_away_releases_what_it_held() {
    let receiver = Receiver::start().await;
    let mut app = shop(&receiver, &format!("{ALL}{}", evening("at_send", "72h"))).await;
    write(&app, "insert into orders (id) values (1)");
    app.run_until_idle().await;
    assert_eq!(states(&app), ["held/0"]);
    apply(&app, &receiver, ALL).await;
    // The next look is at the next change, or after the poll.
    write(&app, "insert into orders (id) values (2)");
    app.run_until_idle().await;
    let mut told = told(&receiver);
    told.sort();
    assert_eq!(told, ["created 1", "created 2"]);
}

#[tokio::test]
async fn what_may_be_sent_waits_behind_what_may_not() {
    // GIVEN a constraint that lets large orders cool down for two hours
    let receiver = Receiver::start().await;
    let cooling = r#"
        [constraint.cooling]
        applies_to = { object_types = ["sales.order"] }
        condition = "row.amount < 40 || now - event.time > duration('2h')"
        judge = "at_send"
        otherwise = "hold"
        hold_at_most = "5h"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{cooling}")).await;
    // WHEN an order is large at first and small then, in one batch and in the next
    write(
        &app,
        "insert into orders (id, amount) values (1, 50), (2, 1)",
    );
    write(&app, "update orders set amount = 5 where id = 1");
    app.run_until_idle().await;
    write(&app, "update orders set amount = 6 where id = 1");
    app.run_until_idle().await;
    // THEN only the other order is told, however often the first is judged
    for _ in 0..5 {
        assert_eq!(told(&receiver), ["created 2"]);
        app.advance(TimeDelta::minutes(20)).await;
    }
    // WHEN it has cooled down THEN all of it is told, in order
    app.advance(TimeDelta::minutes(30)).await;
    assert_eq!(
        told(&receiver),
        ["created 2", "created 1", "updated 1", "updated 1"]
    );
}

#[tokio::test]
async fn what_is_held_does_not_overtake_the_retry_of_what_is_before_it() {
    use crate::support::receiver::Answer;
    // GIVEN one delivery a minute, and a receiver that refuses the first
    let receiver = Receiver::start().await;
    receiver.script([Answer::Status(503)]);
    let rate = r#"
        retry = { schedule = ["0s", "1h"] }
        [constraint.gently]
        applies_to = { object_types = ["sales.order"] }
        rate = "1/m"
        judge = "at_send"
        otherwise = "hold"
        hold_at_most = "72h"
    "#;
    let mut app = shop(&receiver, &format!("{ALL}{rate}")).await;
    // WHEN an order changes twice, and both changes are claimed together
    write(
        &app,
        "insert into orders (id) values (1); update orders set region = 'US'",
    );
    app.run_until_idle().await;
    assert_eq!(told(&receiver), ["created 1"]);
    assert_eq!(states(&app), ["pending/1", "held/0"]);
    // THEN the second waits for the first, though it might be sent a minute later
    for _ in 0..5 {
        app.advance(TimeDelta::minutes(2)).await;
    }
    assert_eq!(told(&receiver), ["created 1"]);
    // AND follows when that is settled.
    app.advance(TimeDelta::hours(1)).await;
    assert_eq!(told(&receiver), ["created 1", "created 1", "updated 1"]);
    assert_eq!(states(&app), ["delivered/2", "delivered/1"]);
}
