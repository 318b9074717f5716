//! `rowcall metadata` with a folder, or a table, that will not do. What else can be wrong in a
//! folder is tested with the catalogue.

use crate::Place;

const ORDERS: &str = "[namespace.shop]\n\n[object_type.\"shop.order\"]\n\
     table = \"public.orders\"\nkey = [\"id\"]\n";
const TABLE: &str = "create table public.orders (id integer primary key)";

#[test]
fn malformed_metadata_is_refused_with_every_place() {
    let place = Place::new();
    place.execute(TABLE);
    place.declare("[namespace.shop\n[object_type.\"shop.order\"]\ntabel = \"public.orders\"\n");
    let commands: [&[&str]; 3] = [
        &["metadata", "plan", "metadata"],
        &["metadata", "apply", "metadata"],
        &["serve", "--listen", "127.0.0.1:0", "--metadata", "metadata"],
    ];
    for arguments in commands {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.assert_says(&[
            "the metadata is not valid: 2 problems",
            "metadata/shop.toml:1:16",
            "not valid TOML: unclosed table, expected `]`",
            "metadata/shop.toml:3:1",
            "`tabel` is not a setting of [object_type.\"shop.order\"]",
            "did you mean `table`?",
            "nothing was changed; the running catalogue stays as it is",
        ]);
    }
}

#[test]
fn a_folder_that_is_not_there_or_empty_is_told() {
    let place = Place::new();
    place
        .run(&["metadata", "plan", "nowhere"])
        .assert_refused(&[
            "nowhere can't be read",
            "No such file or directory",
            "name a folder of .toml files that this user may read",
        ]);
    std::fs::create_dir(place.directory.path().join("empty")).unwrap();
    place.run(&["metadata", "apply", "empty"]).assert_refused(&[
        "empty holds no .toml file",
        "name the folder of the metadata",
    ]);
}

#[test]
fn a_sink_at_a_private_address_is_refused_until_its_network_is_allowed() {
    let place = Place::new();
    place.execute(TABLE);
    place.declare(&format!(
        "{ORDERS}\n[subscription.erp]\nobject_types = [\"shop.order\"]\nmode = \"synchronous\"\n\
         sink = {{ kind = \"webhook\", url = \"http://10.1.2.3/hook\" }}\n"
    ));
    let plan = ["metadata", "plan", "metadata"];
    place.run(&plan).assert_refused(&[
        "metadata/shop.toml:10:34",
        "the address 10.1.2.3 is private; allow it with --allow-nets 10.0.0.0/8",
    ]);
    let allowed = [&plan[..], &["--allow-nets", "10.0.0.0/8"]].concat();
    let ended = place.run(&allowed);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_table_without_the_trigger_privilege_is_told_with_the_grant_and_that_helps() {
    // GIVEN a user who may have a repository, but does not own the table
    let place = Place::new();
    place.execute("drop schema rowcall cascade");
    place.execute(TABLE);
    let clerk = place.user("clerk");
    let name = &place.database.name;
    place.execute(&format!(
        "grant create on database {name} to {clerk}; grant rowcall_capture to {clerk}"
    ));
    place.declare(ORDERS);
    let apply = ["metadata", "apply", "metadata"];
    // WHEN the user applies metadata that declares it
    let ended = place.run_as(&clerk, &apply);
    // THEN the grant is told with the place
    let grant = format!("GRANT TRIGGER ON public.orders TO {clerk};");
    ended.assert_refused(&[
        "metadata/shop.toml:4:9",
        &format!("the role `{clerk}` may not create triggers on `public.orders`"),
        &format!("as its owner: {grant}"),
    ]);
    // AND it is enough
    place.execute(&grant);
    let ended = place.run_as(&clerk, &apply);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.ends_with("applied as version 1\n"),
        "{ended:?}"
    );
    // AND to apply the same once more does nothing
    let ended = place.run_as(&clerk, &apply);
    assert!(ended.stdout.starts_with("nothing to do"), "{ended:?}");
}
