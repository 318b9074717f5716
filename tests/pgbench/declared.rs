//! What of pgbench's tables can't be declared is refused with what to do, by the real command.

use crate::{bank::Bank, support::program::run};

#[test]
fn a_table_without_a_key_and_names_that_are_not_there_are_refused_in_one_run() {
    // GIVEN metadata that declares pgbench_history, which has no primary key, and two slips
    let bank = Bank::open(1);
    bank.declare(
        r#"[namespace.bank]

[object_type."bank.history"]
table = "public.pgbench_history"

[object_type."bank.account"]
table = "public.pgbench_acounts"
key = ["aid"]

[object_type."bank.teller"]
table = "public.pgbench_tellers"
key = ["tidd"]
"#,
    );
    let metadata = bank.metadata();
    // WHEN it is planned
    let ended = run(&mut bank.rowcall(&["metadata", "plan", metadata.to_str().unwrap()]));
    // THEN each fault is told with its place and what to do
    ended.assert_refused(&[
        "the metadata is not valid: 3 problems",
        "bank.toml:3:14",
        "`key` is missing, and table `public.pgbench_history` has no primary key",
        "ALTER TABLE public.pgbench_history ADD PRIMARY KEY (...);",
        "or name the columns of a unique not-null key",
        "bank.toml:7:9",
        "there is no table `public.pgbench_acounts`",
        "did you mean `public.pgbench_accounts`?",
        "bank.toml:12:8",
        "`public.pgbench_tellers` has no column `tidd`",
        "did you mean `tid`?",
        "nothing was changed; the running catalogue stays as it is",
    ]);
    // AND nothing was captured or changed
    let triggers = "select count(*) from pg_trigger where not tgisinternal";
    assert_eq!(bank.number(triggers), 0);
}

#[test]
fn the_history_is_accepted_with_a_key_and_refused_without() {
    // GIVEN metadata that makes a key of columns that may be null and can repeat
    let bank = Bank::open(1);
    let declared = |key: &str| {
        format!(
            "[namespace.bank]\n[object_type.\"bank.history\"]\n\
             table = \"public.pgbench_history\"\nkey = {key}\n"
        )
    };
    bank.declare(&declared("[\"tid\", \"aid\"]"));
    let metadata = bank.metadata();
    let metadata = metadata.to_str().unwrap();
    // WHEN Rowcall is started with it
    let serve = ["serve", "--listen", "127.0.0.1:0", "--metadata", metadata];
    let ended = run(&mut bank.rowcall(&serve));
    // THEN it does not start, and says why
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.assert_says(&[
        "bank.toml:4:8",
        "the key column `tid` of `public.pgbench_history` may be null",
        "ALTER TABLE public.pgbench_history ALTER COLUMN tid SET NOT NULL;",
    ]);
    // AND with a primary key, as the other message advises, the table can be declared
    bank.execute("alter table pgbench_history add column id bigserial primary key");
    bank.declare(&declared("[\"id\"]"));
    let ended = run(&mut bank.rowcall(&["metadata", "plan", metadata]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("2 to add"), "{ended:?}");
}
