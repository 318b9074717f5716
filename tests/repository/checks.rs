//! States that can't be are refused by the schema, whoever writes them.

use diesel::connection::SimpleConnection as _;

use super::support::postgres::TestDatabase;

/// Deliveries: columns and values besides those that every delivery has; the first are possible.
const POSSIBLE: [(&str, &str); 13] = [
    ("state, due_at", "'pending', now()"),
    ("state, due_at", "'pending', null"),
    ("state, due_at", "'pending', 'infinity'"),
    (
        "state, lease_holder, lease_until",
        "'sending', gen_random_uuid(), now()",
    ),
    ("state, attempts, settled_at", "'delivered', 1, now()"),
    ("state, settled_at", "'dead', now()"),
    ("state, settled_at", "'cancelled', now()"),
    (
        "state, settled_at, cancelled_by",
        "'cancelled', now(), 'backlog_age'",
    ),
    ("state, lane, lane_previous", "'pending', 1, 2"),
    ("state, hold_until, due_at", "'held', now(), now()"),
    ("state, hold_until", "'held', now()"),
    ("state, settled_at", "'suppressed', now()"),
    ("state, settled_at", "'withdrawn', now()"),
];

const IMPOSSIBLE: [(&str, &str, &str); 22] = [
    ("an unknown state", "state", "'asleep'"),
    ("held without an end", "state", "'held'"),
    ("suppressed and not settled", "state", "'suppressed'"),
    (
        "due after it was withdrawn",
        "state, settled_at, due_at",
        "'withdrawn', now(), now()",
    ),
    ("an urgency that is none", "state, urgency", "'pending', 3"),
    ("no state", "state", "null"),
    ("sending without a lease", "state", "'sending'"),
    (
        "sending without a holder",
        "state, lease_until",
        "'sending', now()",
    ),
    (
        "sending without an end of its lease",
        "state, lease_holder",
        "'sending', gen_random_uuid()",
    ),
    (
        "a lease while pending",
        "state, lease_holder, lease_until",
        "'pending', gen_random_uuid(), now()",
    ),
    (
        "a lease after it was delivered",
        "state, attempts, settled_at, lease_holder, lease_until",
        "'delivered', 1, now(), gen_random_uuid(), now()",
    ),
    (
        "due while it is sent",
        "state, lease_holder, lease_until, due_at",
        "'sending', gen_random_uuid(), now(), now()",
    ),
    (
        "due after its end",
        "state, settled_at, due_at",
        "'dead', now(), now()",
    ),
    (
        "delivered without an attempt",
        "state, settled_at",
        "'delivered', now()",
    ),
    (
        "delivered without a time",
        "state, attempts",
        "'delivered', 1",
    ),
    ("dead without a time", "state", "'dead'"),
    ("cancelled without a time", "state", "'cancelled'"),
    (
        "cancelled for an unknown reason",
        "state, settled_at, cancelled_by",
        "'cancelled', now(), 'boredom'",
    ),
    (
        "dead and cancelled",
        "state, settled_at, cancelled_by",
        "'dead', now(), 'backlog_count'",
    ),
    (
        "settled and pending",
        "state, settled_at",
        "'pending', now()",
    ),
    (
        "a previous lane without a lane",
        "state, lane_previous",
        "'pending', 2",
    ),
    (
        "a negative number of attempts",
        "state, attempts",
        "'pending', -1",
    ),
];

fn insert(columns: &str, values: &str) -> String {
    format!(
        "insert into rowcall.delivery \
             (id, subscription_id, event_id, position, sequence, created_at, {columns}) \
         values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 1, now(), {values})"
    )
}

#[test]
fn a_delivery_is_always_in_a_possible_state() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    for (columns, values) in POSSIBLE {
        connection
            .batch_execute(&insert(columns, values))
            .unwrap_or_else(|error| panic!("{columns} = {values}: {error}"));
    }
    for (what, columns, values) in IMPOSSIBLE {
        let refused = connection.batch_execute(&insert(columns, values));
        assert!(
            refused.is_err(),
            "the schema lets in a delivery with {what}"
        );
    }
}

#[test]
fn everything_else_is_in_a_possible_state_too() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    for (what, sql) in [
        (
            "half a batch in the cursor",
            "update rowcall.source set batch_snapshot = pg_current_snapshot()",
        ),
        (
            "a batch's last change without the batch",
            "update rowcall.source set batch_seq = 1",
        ),
        (
            "a position below zero",
            "update rowcall.source set position = -1",
        ),
        (
            "a second registry",
            "insert into rowcall.registry (singleton) values (false)",
        ),
        (
            "a second row of the registry",
            "insert into rowcall.registry default values",
        ),
        (
            "an edit before the first revision",
            "insert into rowcall.registry_edit values (0, gen_random_uuid())",
        ),
        (
            "a key before the present one of an object without a key",
            "insert into rowcall.event (id, source, position, type, previous_key, \"time\", published_at, \
                 change_seq, xid, body) \
             values (gen_random_uuid(), 's', 1, 't', 'k', now(), now(), 1, '1', '{}')",
        ),
        (
            "a digest that is open and closed",
            "insert into rowcall.digest (id, subscription_id, number, state, opened_at, closed_at, \
                 closed_by) \
             values (gen_random_uuid(), gen_random_uuid(), 1, 'open', now(), now(), 'schedule')",
        ),
        (
            "a digest in which more vanished than was in it",
            "insert into rowcall.digest (id, subscription_id, number, state, opened_at, events, \
                 vanished) \
             values (gen_random_uuid(), gen_random_uuid(), 1, 'open', now(), 1, 2)",
        ),
        (
            "a delivery that owes an event and a part of a digest",
            "insert into rowcall.delivery (id, subscription_id, event_id, digest_id, part, position, \
                 created_at, state) \
             values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, \
                 1, now(), 'pending')",
        ),
        (
            "a delivery that owes nothing",
            "insert into rowcall.delivery (id, subscription_id, position, created_at, state) \
             values (gen_random_uuid(), gen_random_uuid(), 1, now(), 'pending')",
        ),
        (
            "a catalogue version of a folder without its digest",
            "insert into rowcall.catalog_version values (1, now(), 'a', '', 'folder', null)",
        ),
        (
            "two open leaves",
            "insert into rowcall.rotation (number, opened_at) \
             values (1, now()), (2, now())",
        ),
        (
            "a leaf that closed before it opened",
            "insert into rowcall.rotation values (1, now(), now() - interval '1 hour')",
        ),
        (
            "an unknown state of a subscription",
            "insert into rowcall.subscription (id, name, origin, state, mode, definition, created_at, \
                 updated_at) \
             values (gen_random_uuid(), 'n', 'api', 'asleep', 'synchronous', '{}', now(), now())",
        ),
        (
            "a secret too short to be encrypted",
            "insert into rowcall.subscription (id, name, origin, state, mode, definition, secret, \
                 created_at, updated_at) \
             values (gen_random_uuid(), 'n', 'api', 'active', 'synchronous', '{}', '\\x00', now(), now())",
        ),
    ] {
        assert!(
            connection.batch_execute(sql).is_err(),
            "the schema lets in {what}"
        );
    }
}

#[test]
fn an_event_is_owed_to_a_subscription_once() {
    let database = TestDatabase::create();
    let mut connection = database.connect();
    let sql = "insert into rowcall.delivery \
             (id, subscription_id, event_id, position, sequence, created_at, state) \
         values (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', \
             '00000000-0000-0000-0000-000000000002', 1, 1, now(), 'pending')";
    connection.batch_execute(sql).unwrap();
    assert!(connection.batch_execute(sql).is_err());
}
