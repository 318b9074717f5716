//! Another secret key: which keys are in use, and encrypting anew.

use rowcall::subscription::secret::SecretKey;

use crate::{
    Place,
    support::{app::SECRET_KEY, program::run},
};

const SHOP: &str = r#"
[namespace.sales]
[object_type."sales.order"]
table = "public.orders"
key = ["id"]
[subscription.erp]
event_types = ["sales.order.*"]
mode = "synchronous"
sink = { kind = "webhook", url = "https://erp.example.com/", headers = { X-Key = { env = "KEY" } } }
[subscription.other]
event_types = ["sales.order.*"]
mode = "synchronous"
sink = { kind = "webhook", url = "https://other.example.com/" }
"#;

fn id(key: &str) -> String {
    SecretKey::parse(key).unwrap().id()
}

#[test]
fn keys_are_listed_and_everything_is_encrypted_anew_with_the_present_one() {
    // GIVEN three secrets under one key
    let place = Place::new();
    place.execute("create table orders (id integer primary key)");
    place.declare(SHOP);
    let applied = run(place
        .command(&["metadata", "apply", "metadata"])
        .env("KEY", "hunter2"));
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let (old, new) = (SECRET_KEY, "6b".repeat(32));
    let with_new = |arguments: &[&str], former: &str| {
        let mut command = place.command(arguments);
        command.env("ROWCALL_SECRET_KEY", &new);
        run(command.env("ROWCALL_SECRET_KEYS_OLD", former))
    };

    // WHEN the new key does not know the old one, THEN nothing is done
    with_new(&["secrets", "rekey"], "").assert_refused(&[&id(old), &id(&new)]);
    let listed = with_new(&["secrets", "keys"], "").stdout;
    assert!(
        listed.contains(&format!("{}         3  missing", id(old))),
        "{listed}"
    );
    assert!(listed.contains("known, and not used"), "{listed}");

    // WHEN it does, everything is encrypted anew, and the old one is needed no more
    let listed = with_new(&["secrets", "keys"], old).stdout;
    assert!(listed.contains("3  in ROWCALL_SECRET_KEYS_OLD"), "{listed}");
    let done = with_new(&["secrets", "rekey"], old);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("encrypted 3 secrets anew"), "{done:?}");
    assert!(done.stdout.contains("needed no more"), "{done:?}");
    let listed = with_new(&["secrets", "keys"], "").stdout;
    assert!(listed.contains("3  ROWCALL_SECRET_KEY\n"), "{listed}");
    assert!(
        !listed.contains(&id(old)) && !listed.contains("hunter2"),
        "{listed}"
    );
    let again = with_new(&["secrets", "rekey"], old);
    assert!(
        again.stdout.contains("encrypted 0 secrets anew"),
        "{again:?}"
    );

    // WHEN an instance that runs with another key writes where that has passed already
    place.execute(
        "create function another() returns trigger language plpgsql as $$ begin \
             new.secret_key_id := 'anothers'; return new; end $$; \
         create trigger another before update on rowcall.subscription \
             for each row when (new.name = 'other') execute function another()",
    );
    let mut back = place.command(&["secrets", "rekey"]);
    let back = run(back.env("ROWCALL_SECRET_KEYS_OLD", &new));
    // THEN it is said, and not that the former keys are needed no more
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(
        back.stdout
            .contains("1 were written with another key meanwhile"),
        "{back:?}"
    );
    assert!(!back.stdout.contains("needed no more"), "{back:?}");
    let listed = place.run(&["secrets", "keys"]).stdout;
    assert!(listed.contains("1  missing"), "{listed}");
}
