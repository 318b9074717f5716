//! Writes the trigger function of an object type. Pure: what it needs of the database is passed in.

use std::fmt::Write as _;

use crate::catalog::model::ObjectType;

const TEMPLATE: &str = include_str!("function.sql");

/// A gap's key is kept up to this many bytes.
const KEY_BYTES_MAX: u32 = 2_000;

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

/// What a column's type asks of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rendering {
    /// Its text is the same in every session.
    Fixed,
    /// `float4`, `float8`
    Float,
    /// `timestamptz`
    Timestamp,
    /// `interval`
    Interval,
    /// `bytea`
    Bytea,
    /// `json`: its text may hold what a JSON parser refuses.
    Json,
    /// Anything else: it may depend on every setting.
    Any,
    /// A cast to json that somebody defined would run, and could raise, inside the writer's
    /// statement.
    UserCast,
}

/// A column as the function sees it.
#[derive(Clone, Debug)]
pub struct Column {
    /// As Postgres keeps it.
    pub name: String,
    /// How its values become text.
    pub rendering: Rendering,
}

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
            ("{{settings}}", self.settings()),
            ("{{images}}", self.images()),
            ("{{key}}", key),
            ("{{bell}}", bell),
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

    /// The same row must become the same text in every session, or a change that came back would
    /// not be seen as such. Each pin costs the writer about half a microsecond a row, so only what
    /// the columns need.
    fn settings(&self) -> String {
        let needs = |wanted: &[Rendering]| {
            self.columns
                .iter()
                .any(|column| wanted.contains(&column.rendering))
        };
        let any = needs(&[Rendering::Any, Rendering::UserCast]);
        let mut settings = "set search_path = pg_catalog, pg_temp".to_owned();
        for (needed, setting) in [
            (
                any || needs(&[Rendering::Timestamp]),
                "set timezone = 'UTC'",
            ),
            (
                any || needs(&[Rendering::Interval]),
                "set intervalstyle = 'iso_8601'",
            ),
            (
                any || needs(&[Rendering::Bytea]),
                "set bytea_output = 'hex'",
            ),
            (
                any || needs(&[Rendering::Float]),
                "set extra_float_digits = 1",
            ),
            (any, "set datestyle = 'ISO'"),
        ] {
            if needed {
                settings.push('\n');
                settings.push_str(setting);
            }
        }
        settings
    }

    fn images(&self) -> String {
        let assignments = format!(
            "if tg_op in ('UPDATE', 'DELETE') then
        before_image := {};
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        after_image := {};
    end if;",
            self.image("old"),
            self.image("new")
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
        let has = |rendering| {
            self.columns
                .iter()
                .any(|column| column.rendering == rendering)
        };
        has(Rendering::UserCast)
            || (self.filters() && (has(Rendering::Json) || has(Rendering::Any)))
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
        if self
            .columns
            .iter()
            .all(|column| column.rendering != Rendering::UserCast)
        {
            return format!("pg_catalog.row_to_json({row})");
        }
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = identifier(&column.name);
                let cast = match column.rendering {
                    Rendering::UserCast => "::pg_catalog.text",
                    _ => "",
                };
                format!("{row}.{name}{cast} as {name}")
            })
            .collect();
        format!(
            "(select pg_catalog.row_to_json(r) from (select {}) as r)",
            columns.join(", ")
        )
    }
}

/// A string as an SQL literal. Valid whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        format!("E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// A name as an SQL identifier.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn array(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!("array[{}]::pg_catalog.text[]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::model::{CaptureMode, SourceName};

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

    fn column(name: &str, rendering: Rendering) -> Column {
        Column {
            name: name.to_owned(),
            rendering,
        }
    }

    fn sql(object_type: &ObjectType, columns: &[Column], bell: Option<(i32, i32)>) -> String {
        Function {
            target: 7,
            rotation: 3,
            object_type,
            columns,
            value_bytes_max: 1000,
            bell,
        }
        .sql()
    }

    #[test]
    fn a_plain_table_names_no_column_but_the_gaps_key() {
        let sql = sql(&object_type(), &[column("status", Rendering::Fixed)], None);
        assert!(
            sql.contains("before_image := pg_catalog.row_to_json(old);"),
            "{sql}"
        );
        assert!(sql.contains("insert into rowcall.change_3"));
        assert!(!sql.contains("status") && !sql.contains("pg_notify") && !sql.contains("{{"));
        assert_eq!(
            sql.matches("\nset ").count(),
            1,
            "only search_path is pinned: {sql}"
        );
    }

    #[test]
    fn only_what_the_columns_need_is_pinned() {
        let timestamps = sql(&object_type(), &[column("at", Rendering::Timestamp)], None);
        assert!(
            timestamps.contains("set timezone = 'UTC'") && !timestamps.contains("bytea_output")
        );
        let any = sql(&object_type(), &[column("x", Rendering::Any)], None);
        assert_eq!(any.matches("\nset ").count(), 6);
    }

    #[test]
    fn the_bell_is_one_expression() {
        let sql = sql(&object_type(), &[], Some((-5, 1)));
        assert!(sql.contains("pg_try_advisory_lock_shared(-5, 1)"), "{sql}");
        assert_eq!(sql.matches("pg_notify").count(), 1);
    }

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        let mut strange = object_type();
        strange.exclude = vec!["o'clock".to_owned()];
        strange.mask = vec!["back\\slash".to_owned(), "{{bell}}".to_owned()];
        let sql = sql(&strange, &[column("o\"x", Rendering::UserCast)], None);
        assert!(
            sql.contains("array['o''clock']") && sql.contains("E'back\\\\slash'"),
            "{sql}"
        );
        assert!(
            sql.contains("old.\"o\"\"x\"::pg_catalog.text as \"o\"\"x\""),
            "{sql}"
        );
        assert!(sql.contains("'{{bell}}'"), "{sql}");
    }
}
