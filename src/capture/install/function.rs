//! Writes the trigger function of an object type. Pure: what it needs of the database is passed in.

use std::fmt::Write as _;

use super::rendering::{Column, Setting, settings};
pub use crate::expr::identifier;
use crate::{catalog::model::ObjectType, expr::literal};

const TEMPLATE: &str = include_str!("function.sql");

/// A gap's key is kept up to this many bytes.
const KEY_BYTES_MAX: u32 = 2_000;

/// Rows of up to this many bytes, before and after together, are captured without a look at how large
/// their images are.
const PLAIN_BYTES_MAX: u32 = 2_000;

/// How many bytes of an image one byte of a row can become at most: a compressed value is up to 255
/// times as long, and JSON writes a control character with six.
const EXPANSION_MAX: u32 = 255 * 6;

/// `rowcall.actor` and `rowcall.traceparent` are kept up to this many characters.
const SETTING_CHARS_MAX: u32 = 255;

/// The doorbell, as one expression: between two statements a cancel could leave the lock with the
/// session for ever (seen in 272 of 400 cancels). Refused means that the reader sleeps.
const BELL: &str =
    "    if not (case when pg_catalog.pg_try_advisory_lock_shared({{class}}, {{bell_key}})
        then pg_catalog.pg_advisory_unlock_shared({{class}}, {{bell_key}}) else false end) then
        if pg_catalog.current_setting('rowcall.doorbell', true) is distinct from 'off' then
            perform pg_catalog.pg_notify('rowcall', '');
        end if;
    end if;";

/// Everything that the function's text depends on.
#[derive(Debug)]
pub struct Function<'a> {
    /// `rowcall.capture_target.id`
    pub target: i32,
    /// The leaf that is written.
    pub rotation: i32,
    /// The metadata.
    pub object_type: &'a ObjectType,
    /// The table's columns and those of its children.
    pub columns: &'a [Column],
    /// Larger images become a gap.
    pub value_bytes_max: u32,
    /// The doorbell's lock; none where the bell is off.
    pub bell: Option<(i32, i32)>,
    /// The block that judges whether the change is worth writing down; see
    /// [`Verdicts::body`](super::verdict::Verdicts::body).
    pub verdict: Option<&'a str>,
}

impl Function<'_> {
    /// The function's name in schema `rowcall`.
    #[must_use]
    pub fn name(target: i32) -> String {
        format!("capture_{target}")
    }

    /// The whole statement.
    #[must_use]
    pub fn sql(&self) -> String {
        let bell = self.bell.map_or(String::new(), |(class, key)| {
            BELL.replace("{{class}}", &class.to_string())
                .replace("{{bell_key}}", &key.to_string())
        });
        let keys: Vec<String> = self
            .object_type
            .key
            .iter()
            .map(|column| {
                let name = literal(column);
                format!(
                    "{name}, coalesce(after_image, before_image) operator(pg_catalog.->) {name}"
                )
            })
            .collect();
        let key = format!("pg_catalog.json_build_object({})", keys.join(", "));
        let fill = [
            ("{{function}}", Self::name(self.target)),
            ("{{settings}}", pins(self.pinned_always())),
            ("{{settings_all}}", pins(settings(self.columns))),
            ("{{is_plain}}", self.is_plain()),
            ("{{before_plain}}", self.plain_image("old")),
            ("{{after_plain}}", self.plain_image("new")),
            ("{{images}}", self.images()),
            ("{{key}}", key),
            ("{{bell}}", bell),
            ("{{verdict}}", self.verdict.unwrap_or_default().to_owned()),
            ("{{value_bytes_max}}", self.value_bytes_max.to_string()),
            ("{{key_bytes_max}}", KEY_BYTES_MAX.to_string()),
            ("{{setting_chars_max}}", SETTING_CHARS_MAX.to_string()),
            ("{{rotation}}", self.rotation.to_string()),
            ("{{target}}", self.target.to_string()),
        ];
        // Only the template is searched for places, so a column named like one stays a column.
        let mut sql = String::with_capacity(TEMPLATE.len() * 2);
        let mut rest = TEMPLATE;
        while let Some(at) = rest.find("{{") {
            let (before, place) = rest.split_at(at);
            sql.push_str(before);
            match fill.iter().find(|(name, _)| place.starts_with(name)) {
                Some((name, value)) => {
                    sql.push_str(value);
                    rest = &place[name.len()..];
                }
                None => {
                    sql.push_str("{{");
                    rest = &place[2..];
                }
            }
        }
        sql.push_str(rest);
        sql
    }

    /// The settings that most sessions have another way.
    fn pinned_always(&self) -> impl Iterator<Item = Setting> {
        let needed = settings(self.columns).into_iter();
        needed.filter(|setting| setting.is_good().is_none())
    }

    /// Whether one statement can capture the row: its image can't be too large, making it can't
    /// raise, and the session would write it as every other does.
    fn is_plain(&self) -> String {
        let bytes_max = PLAIN_BYTES_MAX.min(self.value_bytes_max / EXPANSION_MAX);
        if self.is_guarded() || bytes_max == 0 {
            return "false".to_owned();
        }
        let mut conditions = vec![format!(
            "coalesce(pg_catalog.pg_column_size(old), 0) \
             + coalesce(pg_catalog.pg_column_size(new), 0) <= {bytes_max}"
        )];
        let needed = settings(self.columns);
        conditions.extend(
            needed
                .iter()
                .filter_map(|setting| setting.is_good().map(String::from)),
        );
        conditions.join("\n        and ")
    }

    fn plain_image(&self, row: &str) -> String {
        if self.is_guarded() {
            "null".to_owned()
        } else {
            self.image(row)
        }
    }

    fn images(&self) -> String {
        let assignments = format!(
            "if operation in ('UPDATE', 'DELETE') then
        before_image := {};
    end if;
    if operation in ('INSERT', 'UPDATE') then
        after_image := {};
    end if;",
            self.image("before_row"),
            self.image("after_row")
        );
        if !self.is_guarded() {
            return format!("    {assignments}");
        }
        // Nothing is written in this block, so it costs no transaction id.
        format!(
            "    begin
    {assignments}
    exception
        when data_exception or undefined_column or raise_exception or invalid_parameter_value then
            gap_reason := 'not_imaged';
            before_image := null;
            after_image := null;
    end;"
        )
    }

    /// Whether making the image could raise: parsing a json column's text, naming columns, or
    /// running a cast that somebody defined.
    fn is_guarded(&self) -> bool {
        let columns = self.columns;
        columns.iter().any(|column| column.has_user_cast)
            || (self.filters() && columns.iter().any(Column::is_loose_json))
    }

    fn filters(&self) -> bool {
        !self.object_type.exclude.is_empty() || !self.object_type.mask.is_empty()
    }

    /// The row called `row` as JSON, as the trigger captures it.
    pub(crate) fn image(&self, row: &str) -> String {
        let whole = self.whole_image(row);
        if !self.filters() {
            return whole;
        }
        let mut value = "f.value".to_owned();
        if !self.object_type.mask.is_empty() {
            value = format!(
                "case when f.key = any ({}) then '\"***\"'::pg_catalog.json else f.value end",
                array(&self.object_type.mask)
            );
        }
        let mut image = format!(
            "(select coalesce(pg_catalog.json_object_agg(f.key, {value}), '{{}}'::pg_catalog.json) \
             from pg_catalog.json_each({whole}) as f"
        );
        if !self.object_type.exclude.is_empty() {
            let _ = write!(
                image,
                " where f.key <> all ({})",
                array(&self.object_type.exclude)
            );
        }
        image.push(')');
        image
    }

    /// The row as JSON. Columns are named only where one of them must not be cast as it is.
    fn whole_image(&self, row: &str) -> String {
        if self.columns.iter().all(|column| !column.has_user_cast) {
            return format!("pg_catalog.row_to_json({row})");
        }
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = identifier(&column.name);
                let value = format!("{row}.{name}");
                if column.has_user_cast {
                    // As the type writes itself: its owner may have defined a cast to text, too,
                    // which would run with the rights of this function.
                    format!(
                        "case when pg_catalog.num_nulls({value}) = 0 \
                         then pg_catalog.format('%s', {value}) end as {name}"
                    )
                } else {
                    format!("{value} as {name}")
                }
            })
            .collect();
        format!(
            "(select pg_catalog.row_to_json(r) from (select {}) as r)",
            columns.join(", ")
        )
    }
}

/// The clauses of a function that pin settings for its run.
fn pins(settings: impl IntoIterator<Item = Setting>) -> String {
    let mut clauses = "set search_path = pg_catalog, pg_temp".to_owned();
    for setting in settings {
        clauses.push('\n');
        clauses.push_str(setting.pinned());
    }
    clauses
}

fn array(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!("array[{}]::pg_catalog.text[]", names.join(", "))
}

#[cfg(test)]
mod tests {
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
            plain.contains("if false then") && !plain.contains("\"x\""),
            "{plain}"
        );
        let object_type = object_type();
        let small = Function {
            value_bytes_max: 1_000,
            ..function(&object_type, &[], None)
        };
        assert!(small.sql().contains("if false then"));
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
        let function = Function {
            target: 7,
            rotation: 3,
            object_type: &object_type,
            columns: &[],
            value_bytes_max: 1000,
            bell: None,
            verdict: Some("begin\n    judge;\n"),
        };
        let sql = function.sql();
        assert!(
            sql.contains("$rowcall$\nbegin\n    judge;\ndeclare"),
            "{sql}"
        );
        assert!(
            sql.ends_with("    return null;\nend;\nend\n$rowcall$\n"),
            "{sql}"
        );
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
}
