//! Who is told of pgbench's updates: subscriptions of every mode, each to be sent to the ledger.

use crate::ledger::Ledger;

/// Synchronous, of all objects.
pub(crate) const ORDERED: &str = "ordered";
/// Synchronous, of the tellers, in any order.
pub(crate) const UNORDERED: &str = "unordered";
/// Synchronous delayed, of all objects.
pub(crate) const DELAYED: &str = "delayed";
/// Batch, condensed by `none`.
pub(crate) const LISTED: &str = "listed";
/// Batch, condensed by `keys`.
pub(crate) const COUNTED: &str = "counted";
/// Batch, condensed by `net_effect`.
pub(crate) const NETTED: &str = "netted";

/// The digests of `LISTED` have no more events than this.
pub(crate) const ITEMS_MAX: usize = 500;

/// The bank's metadata. Of the batch ones, one closes its windows mostly by `max_items`, one by
/// `cron`, one by `max_wait`.
pub(crate) fn declaration(ledger: &Ledger) -> String {
    let mut text = OBJECT_TYPES.to_owned();
    let all = r#"["bank.account", "bank.teller", "bank.branch"]"#;
    let listed = format!(
        "mode = \"batch\"\ncondense = \"none\"\n\
         schedule = {{ cron = \"*/2 * * * * *\", max_items = {ITEMS_MAX} }}"
    );
    for (name, objects, mode) in [
        (ORDERED, all, "mode = \"synchronous\""),
        (
            UNORDERED,
            r#"["bank.teller"]"#,
            "mode = \"synchronous\"\nordering = \"none\"",
        ),
        (DELAYED, all, "mode = \"synchronous_delayed\""),
        (LISTED, all, &listed),
        (
            COUNTED,
            all,
            "mode = \"batch\"\ncondense = \"keys\"\nschedule = { cron = \"*/2 * * * * *\" }",
        ),
        (
            NETTED,
            all,
            "mode = \"batch\"\ncondense = \"net_effect\"\nschedule = { max_wait = \"3s\" }",
        ),
    ] {
        let url = ledger.url(name);
        text.push_str(&format!(
            r#"
            [subscription.{name}]
            object_types = {objects}
            {mode}
            sink = {{ kind = "webhook", url = "{url}", secret = {{ env = "SIGNING_SECRET" }} }}
            retry = {{ schedule = {RETRIES} }}
            "#
        ));
    }
    text
}

const RETRIES: &str = r#"["0s", "100ms", "500ms", "1s", "1s", "2s", "2s", "2s"]"#;

const OBJECT_TYPES: &str = r#"
    [namespace.bank]

    [object_type."bank.account"]
    table = "public.pgbench_accounts"
    key = ["aid"]

    [object_type."bank.teller"]
    table = "public.pgbench_tellers"
    key = ["tid"]

    [object_type."bank.branch"]
    table = "public.pgbench_branches"
    key = ["bid"]
"#;
