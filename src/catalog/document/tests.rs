//! What a metadata file may say, and how its faults are told.

use super::*;

/// The problems of one file, as lines without a terminal show them.
fn problems(text: &str) -> Vec<String> {
    let folder = Folder::of_text("m.toml", text);
    let report = crate::catalog::problem::MetadataError::invalid(folder.problems);
    report.problems().iter().map(Problem::line).collect()
}

#[test]
fn a_whole_file_is_read() {
    let folder = Folder::of_text(
        "m.toml",
        r#"
        [namespace.sales]
        description = "Orders"
        [object_type."sales.order"]
        table = "public.orders"
        key = ["id"]
        exclude = ["note"]
        mask = ["card"]
        [subscription.erp]
        event_types = ["sales.order.*"]
        object_keys = [{ id = 42 }, { id = "a", line = 0x10, minus = -1, on = true, f = +1.5 }]
        mode = "synchronous"
        labels = { desk = "eu" }
        sink = { kind = "webhook", url = "https://erp.example.com/h", secret = { env = "ERP" } }
        retry = { schedule = ["0s", "5m"] }
        ordering = "none"
        "#,
    );
    assert!(folder.problems.is_empty(), "{:?}", folder.problems);
    assert_eq!(folder.namespaces[0].spec.description, "Orders");
    assert_eq!(
        folder.object_types[0].spec.table.to_string(),
        "public.orders"
    );
    let spec = &folder.subscriptions[0].spec;
    assert_eq!(spec.object_keys[0]["id"].get(), "42");
    assert_eq!(spec.object_keys[1]["line"].get(), "16");
    assert_eq!(spec.object_keys[1]["minus"].get(), "-1");
    assert_eq!(spec.object_keys[1]["f"].get(), "1.5");
    assert_eq!(spec.retry.schedule.len(), 2);
    let place = folder.object_types[0].places.at("/exclude/0");
    assert_eq!(place.to_string(), "m.toml:7:20");
}

#[test]
fn each_fault_is_told_with_its_place_what_was_expected_and_the_nearest_name() {
    let webhook = "sink = { kind = \"webhook\", url = \"https://e.example.com\" }";
    let subscription = format!("mode = \"synchronous\"\n{webhook}");
    for (text, expected) in [
        (
            "[objecttype.x]\n",
            "m.toml:1:2: `objecttype` is not known (did you mean `object_type`? expected one of \
             `namespace`, `object_type`, `event_type`, `constraint`, `subscription`)",
        ),
        (
            "[constraints.x]\n",
            "m.toml:1:2: `constraints` is not known (did you mean `constraint`? expected one of \
             `namespace`, `object_type`, `event_type`, `constraint`, `subscription`)",
        ),
        (
            "namespace = 3\n",
            "m.toml:1:1: `namespace` must be a table (write [namespace.NAME] and its settings \
             below it)",
        ),
        (
            "[namespace]\nsales = 3\n",
            "m.toml:2:1: `sales` must be a table (write [namespace.sales] and its settings below it)",
        ),
        (
            "[namespace.sales]\ndescripton = \"x\"\n",
            "m.toml:2:1: `descripton` is not a setting of [namespace.sales] (did you mean \
             `description`? expected `description`)",
        ),
        (
            "[namespace.sales]\n[namespace.sales.eu]\n",
            "m.toml:2:18: `eu` is not a setting of [namespace.sales] (a name with dots needs \
             quotes: [namespace.\"sales.eu\"])",
        ),
        (
            "[object_type.sales.order]\ntable = \"a.b\"\n",
            "m.toml:1:20: [object_type.sales.order] is not a name with dots, but a table in a \
             table (put the name in quotes: [object_type.\"sales.order\"])",
        ),
        (
            "[object_type.\"s.o\"]\nkey = [\"id\"]\n",
            "m.toml:1:14: `table` is missing in [object_type.\"s.o\"] (add the table with its \
             schema: table = \"public.orders\")",
        ),
        (
            "[object_type.\"s.o\"]\ntable = \"orders\"\n",
            "m.toml:2:9: `orders` is not a table: write `schema.table`, such as `public.orders`",
        ),
        (
            "[object_type.\"s.o\"]\ntable = \"a.b\"\nkey = \"id\"\n",
            "m.toml:3:7: `key`: invalid type: string \"id\", expected a list such as [\"id\"]",
        ),
        (
            "[object_type.\"s.o\"]\ntable = \"a.b\"\npartitions = true\n",
            "m.toml:3:1: `partitions` is not a setting of [object_type.\"s.o\"] (expected one of \
             `description`, `table`, `key`, `exclude`, `mask`, `source`, `capture`, `when_clause`)",
        ),
        (
            "[object_type.order]\ntable = \"a.b\"\n",
            "m.toml:1:14: object type `order` is in no namespace (write \
             [object_type.\"sales.order\"])",
        ),
        (
            "[namespace.rowcall]\n",
            "m.toml:1:12: the namespace `rowcall` is reserved for Rowcall's own events (names \
             are lower-case letters, digits, `_` and `-`, begin with a letter, and are joined \
             by dots)",
        ),
        (
            "[namespace.Sales]\n",
            "m.toml:1:12: `Sales` is not a name (names are lower-case letters, digits, `_` and \
             `-`, begin with a letter, and are joined by dots)",
        ),
        (
            "[subscription.erp]\nmode = \"synchronus\"\nsink = { kind = \"webhook\", url = \
             \"https://e.example.com\" }\n",
            "m.toml:2:8: `synchronus` is not a value of `mode` (did you mean `synchronous`? \
             expected one of `synchronous`, `synchronous_delayed`, `batch`)",
        ),
        (
            &format!("[subscription.erp]\n{webhook}\n"),
            "m.toml:1:15: `mode` is missing in [subscription.erp] (add mode = \"synchronous\")",
        ),
        (
            "[subscription.erp]\nmode = \"synchronous\"\nsink = { kind = \"webhook\", urll = \
             \"https://e.example.com\" }\n",
            "m.toml:3:28: `urll` is not a setting of `sink` of [subscription.erp] (did you mean \
             `url`? expected one of `url`, `secret`, `signature`, `verify`, `headers`, `bearer`, \
             `basic`)",
        ),
        (
            "[subscription.erp]\nmode = \"synchronous\"\nsink = { kind = \"webhok\", url = \
             \"https://e.example.com\" }\n",
            "m.toml:3:17: `webhok` is not a value of `kind` (did you mean `webhook`? expected \
             one of `webhook`, `email`)",
        ),
        (
            "[subscription.erp]\nmode = \"synchronous\"\nsink = { kind = \"webhook\", url = \
             \"e.example.com\" }\n",
            "m.toml:3:34: `url` is not a URL: relative URL without a base: \"e.example.com\" \
             (write the whole of it, such as https://erp.example.com/hooks)",
        ),
        (
            &format!(
                "[subscription.erp]\n{subscription}\nretry = {{ schedule = [\"0s\", \"5x\"] }}\n"
            ),
            "m.toml:4:29: `5x` is not a duration such as `30s` or `5m`: unknown time unit \"x\", \
             supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and \
             few variations)",
        ),
        (
            &format!("[subscription.erp]\n{subscription}\nobject_keys = [{{ id = 1979-05-27 }}]\n"),
            "m.toml:4:23: a key value must be a text, a number or a boolean (write object_keys \
             = [{ id = 42 }], the key columns of each object with their values)",
        ),
        (
            &format!("[subscription.erp]\n{subscription}\nfiltre = \"a\"\n"),
            "m.toml:4:1: `filtre` is not a setting of [subscription.erp] (did you mean `filter`? \
             expected one of `event_types`, `object_types`, `object_keys`, `filter`, `mode`, \
             `schedule`, `condense`, `group_by`, `start`, `labels`, `sink`, `retry`, `rate`, \
             `ordering`, `heartbeat`, `on_dead`)",
        ),
        (
            "[event_type.sales.order.released]\nobject_type = \"s.o\"\n",
            "m.toml:1:19: [event_type.sales.order.released] is not a name with dots, but a table \
             in a table (put the name in quotes: [event_type.\"sales.order.released\"])",
        ),
        (
            "[event_type.\"s.o.released\"]\nobject_type = \"s.o\"\non = [\"updated\"]\n",
            "m.toml:3:7: `updated` is not a value of `on` (did you mean `update`? expected one of \
             `create`, `update`, `delete`)",
        ),
        (
            "[event_type.\"s.o.emptied\"]\nobject_type = \"s.o\"\non = [\"truncate\"]\n",
            "m.toml:3:7: `truncate` is not a value of `on` (a TRUNCATE is about no row, so no \
             condition is judged; every one is the event `<object type>.truncated`, which needs no \
             event type of yours)",
        ),
        (
            "[event_type.\"s.o.released\"]\nobject_type = \"s.o\"\non = []\n",
            "m.toml:3:6: `on` names no operation (name at least one of `create`, `update` and \
             `delete`, or leave `on` out for all three)",
        ),
        (
            "[event_type.\"s.o.released\"]\nschema = '''\n{\n  \"type\": objct\n}'''\n",
            "m.toml:4:11: `schema` is no JSON: expected value at line 2 column 11 (write the JSON \
             Schema as JSON in a text, or as a TOML table)",
        ),
        (
            "[constraint.x]\ncondition = \"true\"\napplies_to = { labels = { a = \"b\" } }\n",
            "m.toml:1:13: `otherwise` is missing in [constraint.x] (add otherwise = \"suppress\" \
             or otherwise = \"hold\")",
        ),
        (
            "[constraint.x]\notherwise = \"supress\"\napplies_to = {}\n",
            "m.toml:2:13: `supress` is not a value of `otherwise` (did you mean `suppress`? \
             expected one of `hold`, `suppress`)",
        ),
        (
            "[constraint.x]\notherwise = \"suppress\"\napplies_to = {}\nwindow = { from = \
             \"08:00\" }\n",
            "m.toml:4:10: `to` is missing in `window` of [constraint.x] (add to = \"18:00\")",
        ),
        (
            "[constraint.x]\notherwise = \"hold\"\napplies_to = {}\nhold_at_most = \"3 fortnights\"\n",
            "m.toml:4:16: `3 fortnights` is not a duration such as `30m` or `12h`: unknown time \
             unit \"fortnights\", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, \
             months, years (and few variations)",
        ),
        (
            "[constraint.x]\notherwise = \"hold\"\napplies_to = { event_type = [\"*\"] }\n",
            "m.toml:3:16: `event_type` is not a setting of `applies_to` of [constraint.x] (did you \
             mean `event_types`? expected one of `event_types`, `object_types`, `subscriptions`, \
             `labels`)",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_together_and_what_is_right_is_kept() {
    let text = "[namespace.sales]\nnote = 1\n[object_type.\"sales.order\"]\ntable = 3\nkeys = \
                [\"id\"]\nmask = [\"a\", 4]\nexclude = \"b\"\n[object_typ.x]\n";
    let found = problems(text);
    let places: Vec<&str> = found.iter().map(|line| &line[..10]).collect();
    assert_eq!(
        places,
        [
            "m.toml:2:1",
            "m.toml:4:9",
            "m.toml:5:1",
            "m.toml:6:1",
            "m.toml:7:1",
            "m.toml:8:2"
        ],
        "{found:#?}"
    );
    assert!(found[2].contains("did you mean `key`?"), "{}", found[2]);
    assert_eq!(Folder::of_text("m.toml", text).namespaces.len(), 1);
}

#[test]
fn broken_toml_is_told_with_its_place() {
    let found = problems("[namespace.sales\ndescription = \"x\"\n");
    assert!(
        found[0].starts_with("m.toml:1:17: not valid TOML"),
        "{found:?}"
    );
}

#[test]
fn a_literal_secret_is_refused_and_never_shown() {
    let text = "[subscription.erp]\nevent_types = [\"*\"]\nmode = \"synchronous\"\nsink = { kind \
                = \"webhook\", url = \"https://e.example.com\", secret = \"whsec_aGVsbG8=\" }\n";
    let folder = Folder::of_text("m.toml", text);
    assert_eq!(
        problems(text),
        [
            "m.toml:4:68: a secret must not be written in a metadata file (write secret = { env = \
          \"NAME\" } to take it from the environment, or leave it out to have one generated)"
        ]
    );
    let shown = format!("{:?}", miette::Report::new(folder.problems[0].clone()));
    assert!(!shown.contains("aGVsbG8="), "{shown}");
    assert!(!format!("{folder:?}").contains("aGVsbG8="));

    for wrong in ["{ enw = \"X\" }", "7", "{ env = \"X\", other = 1 }"] {
        let text = text.replace("\"whsec_aGVsbG8=\"", wrong);
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("secret = { env = \"NAME\" }"),
            "{found:?}"
        );
    }
}

#[test]
fn an_entry_of_two_files_is_refused_with_both_places() {
    let mut folder = Folder::default();
    read("a.toml", "[namespace.sales]\n", &mut folder);
    read("b.toml", "\n[namespace.sales]\n", &mut folder);
    let lines: Vec<String> = folder.problems.iter().map(Problem::line).collect();
    assert_eq!(
        lines,
        [
            "b.toml:2:12: [namespace.sales] is written twice (it is already at a.toml:1:12; keep \
          one of the two)"
        ]
    );
}
