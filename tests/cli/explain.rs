//! Explaining from the command line: the answer for people, the answer of the API, and what is no
//! question.

use crate::Place;

const EVENT: &str = "019c132c-0000-7000-8000-000000000001";
const ID: &str = "019c132c-1111-7000-8000-000000000001";

/// A delivered event, with a subject that would steer the terminal.
fn delivered() -> Place {
    let place = Place::new();
    place.execute(&format!(
        "insert into rowcall.event (id, source, position, type, \"time\", published_at, object_key, \
             change_seq, xid, body) \
         values ('{EVENT}', 'default', 1, 'sales.campaign.opened', '2026-01-31T08:00:00Z', \
             '2026-01-31T08:00:01Z', e'spring\\x1b[2J', 1, '1', '{{}}'); \
         insert into rowcall.subscription (id, name, origin, state, mode, definition, created_at, \
             updated_at) \
         values ('{ID}', 'erp', 'api', 'active', 'synchronous', '{{}}', '2026-01-01T00:00:00Z', \
             '2026-01-01T00:00:00Z'); \
         insert into rowcall.delivery (id, subscription_id, event_id, position, sequence, state, \
             attempts, created_at, settled_at) \
         values ('{ID}', '{ID}', '{EVENT}', 1, 12, 'delivered', 1, now(), '2026-01-31T08:00:02Z'); \
         insert into rowcall.attempt values \
             ('{ID}', 1, gen_random_uuid(), '2026-01-31T08:00:01Z', 7, 'delivered', 204, null)"
    ));
    place
}

#[test]
fn an_event_is_explained_in_words() {
    let place = delivered();
    let ended = place.run(&["explain", EVENT, "erp"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0],
        "sales.campaign.opened spring\\u{1b}[2J to erp (synchronous, active): delivered"
    );
    assert_eq!(
        lines[1],
        "Sent: the receiver acknowledged it at 2026-01-31T08:00:02Z, after 1 attempt."
    );
    assert!(ended.stdout.contains("sequence = \"00000000000000000012\""));
    assert!(!ended.stdout.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn the_answer_of_the_api_is_to_be_had_too() {
    let place = delivered();
    let ended = place.run(&["explain", EVENT, ID, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(answer["verdict"], "delivered");
    assert_eq!(answer["subscription"]["name"], "erp");
}

#[test]
fn what_is_not_there_is_told() {
    let place = delivered();
    place
        .run(&["explain", ID, "erp"])
        .assert_refused(&[&format!("there is no event {ID}"), "`webhook-id`"]);
    place.run(&["explain", EVENT, "epr"]).assert_refused(&[
        "there is no subscription epr",
        "GET /v1/subscriptions lists them",
    ]);
    let ended = place.run(&["explain", "1", "erp"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}
