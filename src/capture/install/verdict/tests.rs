use super::*;
use crate::{
    catalog::model::{CaptureMode, SourceName},
    expr::SqlType,
};

fn table(is_partitioned: bool) -> Table {
    let column = |(place, (name, value_type, r#type)): (i32, (&str, &str, SqlType))| TableColumn {
        sql: SqlColumn {
            name: name.to_owned(),
            r#type,
        },
        place,
        type_oid: 100 + i64::from(place),
        value_type: value_type.to_owned(),
    };
    let columns = [
        ("id", "bigint", SqlType::Int),
        ("status", "text", SqlType::Text),
        ("secret", "text", SqlType::Text),
    ];
    Table {
        columns: (1..).zip(columns).map(column).collect(),
        is_partitioned,
        is_utf8: true,
    }
}

fn verdicts(event_types: &[(&[Operation], &str)], table: &Table) -> Verdicts {
    let object_type = ObjectType {
        description: String::new(),
        table: "public.orders".to_owned().try_into().unwrap(),
        key: vec!["id".to_owned()],
        exclude: vec!["secret".to_owned()],
        mask: Vec::new(),
        source: SourceName::default(),
        capture: CaptureMode::Defined,
        when_clause: false,
    };
    let mut catalog = Catalog::default();
    for (number, (on, when)) in event_types.iter().enumerate() {
        let event_type = EventType {
            description: String::new(),
            object_type: Some("t.row".to_owned()),
            on: on.to_vec(),
            when: (!when.is_empty()).then(|| (*when).to_owned()),
            schema: None,
        };
        catalog
            .event_types
            .insert(format!("t.row.e{number}"), event_type);
    }
    Verdicts::of("t.row", &object_type, &catalog, table)
}

fn names(verdicts: &Verdicts) -> [&'static str; 3] {
    Operation::ALL.map(|operation| match verdicts.on(operation) {
        Verdict::Never => "never",
        Verdict::Always => "always",
        Verdict::If { .. } => "if",
    })
}

#[test]
fn each_operation_has_what_its_event_types_want() {
    use Operation::{Create, Delete, Update};
    for (event_types, expected) in [
        (vec![], ["never", "never", "never"]),
        (vec![(&[Create][..], "")], ["always", "never", "never"]),
        (vec![(&[][..], "row.id > 5")], ["if", "if", "if"]),
        (vec![(&[][..], "new.id > 5")], ["if", "if", "never"]),
        (
            vec![(&[Update][..], "new.id > 5"), (&[Update, Delete][..], "")],
            ["never", "always", "always"],
        ),
        // A condition that does not compile, for a column is gone or hidden.
        (
            vec![(&[Update][..], "new.gone > 5")],
            ["never", "always", "never"],
        ),
        (
            vec![(&[Update][..], "new.secret == 'x'")],
            ["never", "always", "never"],
        ),
    ] {
        let verdicts = verdicts(&event_types, &table(false));
        assert_eq!(names(&verdicts), expected, "{event_types:?}");
    }
}

#[test]
fn rows_of_partitions_may_move() {
    use Operation::{Create, Update};
    let released: (&[Operation], &str) = (&[Update], "new.status == 'released'");
    assert_eq!(
        names(&verdicts(&[released], &table(true))),
        ["always", "if", "always"]
    );
    let created: (&[Operation], &str) = (&[Create], "new.status == 'released'");
    assert_eq!(
        names(&verdicts(&[created], &table(true))),
        ["if", "never", "never"]
    );
}

#[test]
fn text_of_another_encoding_is_not_judged() {
    let mut table = table(false);
    table.is_utf8 = false;
    let any: (&[Operation], &str) = (&[], "row.status < 'x'");
    assert_eq!(names(&verdicts(&[any], &table)), ["always"; 3]);
}

#[test]
fn the_body_is_guarded_by_types_and_by_an_exception_block() {
    let verdicts = verdicts(
        &[
            (&[Operation::Update], "old.id > 5 && new.status == 'x'"),
            (&[Operation::Update], "new.status == 'y'"),
        ],
        &table(false),
    );
    let body = verdicts.body(&table(false)).unwrap();
    for part in [
        "        if not (case\n            when tg_op operator(pg_catalog.=) 'UPDATE'::pg_catalog.text then \
         (pg_catalog.pg_typeof(old.\"id\") operator(pg_catalog.=) '101'::pg_catalog.oid and \
         pg_catalog.pg_typeof(new.\"status\") operator(pg_catalog.=) '102'::pg_catalog.oid and (",
        ") is not true) is not true\n",
        "when tg_op operator(pg_catalog.=) 'INSERT'::pg_catalog.text then false\n",
        "else true end) then\n            return null;\n",
        "exception when others then\n        null;\n    end;\n",
    ] {
        assert!(body.contains(part), "{part}\n{body}");
    }
    let all = Verdicts([Verdict::Always, Verdict::Always, Verdict::Always]);
    assert_eq!(all.body(&table(false)), None);
}
