use super::*;
use crate::{
    capture::install::rendering::tests::column,
    catalog::model::{CaptureMode, SourceName},
};

fn object_type() -> ObjectType {
    ObjectType {
        description: String::new(),
        table: "public.orders".to_owned().try_into().unwrap(),
        key: vec!["id".to_owned()],
        exclude: Vec::new(),
        mask: Vec::new(),
        source: SourceName::default(),
        capture: CaptureMode::All,
        when_clause: false,
    }
}

fn sql(object_type: &ObjectType, columns: &[Column], bell: Option<(i32, i32)>) -> String {
    function(object_type, columns, bell).sql()
}

fn function<'a>(
    object_type: &'a ObjectType,
    columns: &'a [Column],
    bell: Option<(i32, i32)>,
) -> Function<'a> {
    Function {
        target: 7,
        rotation: 3,
        object_type,
        columns,
        value_bytes_max: 4_000_000,
        bell,
        verdict: None,
    }
}

#[test]
fn a_plain_table_names_no_column_but_the_gaps_key() {
    let sql = sql(&object_type(), &[column("status", &["text"])], None);
    assert!(
        sql.contains("pg_catalog.row_to_json(old), pg_catalog.row_to_json(new)"),
        "{sql}"
    );
    assert!(
        sql.contains("before_image := pg_catalog.row_to_json(before_row);"),
        "{sql}"
    );
    assert_eq!(sql.matches("insert into rowcall.change_3").count(), 2);
    assert!(!sql.contains("status") && !sql.contains("pg_notify") && !sql.contains("{{"));
    assert_eq!(
        sql.matches("\nset ").count(),
        2,
        "only search_path is pinned: {sql}"
    );
}

#[test]
fn what_most_sessions_have_is_looked_at_and_the_rest_is_pinned() {
    let (plain, careful) = halves(&[column("at", &["timestamptz"])]);
    assert!(
        plain.contains("and pg_catalog.current_setting('TimeZone') in ('UTC'"),
        "{plain}"
    );
    assert!(!plain.contains("set timezone"), "{plain}");
    assert!(careful.contains("set timezone = 'UTC'") && !careful.contains("bytea_output"));
    let (plain, careful) = halves(&[column("x", &["interval"])]);
    assert!(plain.contains("set intervalstyle") && careful.contains("set intervalstyle"));
    let (_, careful) = halves(&[column("x", &["any"])]);
    assert_eq!(careful.matches("\nset ").count(), 1 + Setting::ALL.len());
}

#[test]
fn what_may_raise_or_be_too_large_is_captured_with_care() {
    let mut cast = column("x", &["any"]);
    cast.has_user_cast = true;
    let (plain, _) = halves(&[cast]);
    assert!(
        !plain.contains("insert into") && !plain.contains("\"x\""),
        "{plain}"
    );
    let object_type = object_type();
    let small = Function {
        value_bytes_max: 1_000,
        ..function(&object_type, &[], None)
    };
    assert_eq!(small.sql().matches("insert into").count(), 1);
}

/// The trigger function, and the one for the rows that need care.
fn halves(columns: &[Column]) -> (String, String) {
    let sql = sql(&object_type(), columns, None);
    let (plain, careful) = sql.split_once("$rowcall$;").unwrap();
    (plain.to_owned(), careful.to_owned())
}

#[test]
fn the_bell_is_one_expression() {
    let sql = sql(&object_type(), &[], Some((-5, 1)));
    assert!(sql.contains("pg_try_advisory_lock_shared(-5, 1)"), "{sql}");
    assert_eq!(sql.matches("pg_notify").count(), 1);
}

#[test]
fn the_verdict_comes_before_everything_else() {
    let object_type = object_type();
    let judging = |verdict| {
        let function = Function {
            target: 7,
            rotation: 3,
            object_type: &object_type,
            columns: &[],
            value_bytes_max: 1000,
            bell: None,
            verdict: Some(verdict),
        };
        function.sql()
    };
    let sql = judging("    judge;\n");
    assert!(
        sql.contains("security definer\nas $rowcall$\nbegin\n    judge;\n    perform "),
        "{sql}"
    );
    assert_eq!(sql.matches("judge").count(), 1);
    // A literal can't end the body.
    let sql = judging("    judge '$rowcall$; drop table x; $rowcall1$';\n");
    assert!(
        sql.contains("as $rowcall2$\nbegin\n    judge '$rowcall$; drop"),
        "{sql}"
    );
    assert_eq!(sql.matches("$rowcall2$").count() % 2, 0);
    assert_eq!(sql.matches("$rowcall$").count(), 1);
}

#[test]
fn names_are_quoted_whatever_they_hold() {
    let mut strange = object_type();
    strange.exclude = vec!["o'clock".to_owned()];
    strange.mask = vec!["back\\slash".to_owned(), "{{bell}}".to_owned()];
    let mut cast = column("o\"x", &["any"]);
    cast.has_user_cast = true;
    let sql = sql(&strange, &[cast], None);
    assert!(
        sql.contains("array['o''clock']") && sql.contains("E'back\\\\slash'"),
        "{sql}"
    );
    assert!(
        sql.contains("pg_catalog.format('%s', before_row.\"o\"\"x\") end as \"o\"\"x\""),
        "{sql}"
    );
    assert!(sql.contains("'{{bell}}'"), "{sql}");
}
