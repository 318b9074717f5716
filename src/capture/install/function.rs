//! Writes the trigger function of an object type. Pure: what it needs of the database is passed in.

use std::fmt::Write as _;

use super::rendering::{Column, Setting, settings};
pub use crate::expr::identifier;
use crate::{catalog::model::ObjectType, expr::literal};

/// What captures most rows by one statement.
const PLAIN: &str = concat!(
    include_str!("function.sql"),
    "\n",
    include_str!("careful.sql")
);

/// What leaves every row that is captured to the careful function.
const DELEGATING: &str = concat!(
    include_str!("delegating.sql"),
    "\n",
    include_str!("careful.sql")
);

/// What stands around a body in the template.
const QUOTE: &str = "$rowcall$";

/// A gap's key is kept up to this many bytes.
const KEY_BYTES_MAX: u32 = 2_000;

/// Rows of up to this many bytes, before and after together, are captured without a look at how
/// large their images are.
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
        if coalesce(pg_catalog.current_setting('rowcall.doorbell', true)
            operator(pg_catalog.<>) 'off'::pg_catalog.text, true) then
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
        let is_plain = self.is_plain().filter(|_| self.verdict.is_none());
        let fill = [
            ("{{function}}", Self::name(self.target)),
            ("{{settings}}", pins(self.pinned_always())),
            ("{{settings_all}}", pins(settings(self.columns))),
            ("{{is_plain}}", is_plain.clone().unwrap_or_default()),
            ("{{images}}", self.images()),
            ("{{key_before}}", self.key("before_row")),
            ("{{key_after}}", self.key("after_row")),
            ("{{bell}}", bell),
            ("{{verdict}}", self.verdict.unwrap_or_default().to_owned()),
            ("{{value_bytes_max}}", self.value_bytes_max.to_string()),
            ("{{key_bytes_max}}", KEY_BYTES_MAX.to_string()),
            ("{{setting_chars_max}}", SETTING_CHARS_MAX.to_string()),
            ("{{rotation}}", self.rotation.to_string()),
            ("{{target}}", self.target.to_string()),
        ];
        // Names and literals may hold what ends the quotes of the body; then these are others.
        let is_apart = |quote: &String| fill.iter().all(|(_, text)| !text.contains(quote.as_str()));
        let quotes = (1..).map(|number| format!("$rowcall{number}$"));
        let mut quotes = [QUOTE.to_owned()]
            .into_iter()
            .chain(quotes)
            .filter(is_apart);
        let template = is_plain.as_ref().map_or(DELEGATING, |_| PLAIN);
        let template = template.replace(QUOTE, &quotes.next().unwrap_or_default());
        // Only the template is searched for places, so a column named like one stays a column.
        let mut sql = String::with_capacity(template.len() * 2);
        let mut rest = template.as_str();
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
    /// raise, and the session would write it as every other does. `None`: it never can.
    fn is_plain(&self) -> Option<String> {
        let bytes_max = PLAIN_BYTES_MAX.min(self.value_bytes_max / EXPANSION_MAX);
        if self.is_guarded() || bytes_max == 0 {
            return None;
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
        Some(conditions.join("\n        and "))
    }

    fn images(&self) -> String {
        format!(
            "        if operation in ('UPDATE', 'DELETE') then
            before_image := {};
        end if;
        if operation in ('INSERT', 'UPDATE') then
            after_image := {};
        end if;",
            self.image("before_row"),
            self.image("after_row")
        )
    }

    /// The key of the row called `row`, spelled as its image would spell it.
    fn key(&self, row: &str) -> String {
        let columns = self.object_type.key.iter().map(|name| {
            let known = self.columns.iter().find(|column| column.name == *name);
            let has_user_cast = known.is_some_and(|column| column.has_user_cast);
            format!("{}, {}", literal(name), value(row, name, has_user_cast))
        });
        let columns: Vec<String> = columns.collect();
        format!("pg_catalog.json_build_object({})", columns.join(", "))
    }

    /// Whether making the image could raise: naming columns, running a cast that somebody defined,
    /// or parsing the row's text, in which a json column may have what no parser takes; such a
    /// column may be added at any time.
    fn is_guarded(&self) -> bool {
        let mut columns = self.columns.iter();
        self.filters() || columns.any(|column| column.has_user_cast)
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
            // Null of a row that is null; any other has its key at least.
            "(select pg_catalog.json_object_agg(f.key, {value}) \
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
                let value = value(row, &column.name, column.has_user_cast);
                format!("{value} as {}", identifier(&column.name))
            })
            .collect();
        format!(
            "(select pg_catalog.row_to_json(r) from (select {}) as r)",
            columns.join(", ")
        )
    }
}

/// A column of the row called `row`, or its text where it must not be cast as it is.
fn value(row: &str, column: &str, has_user_cast: bool) -> String {
    let value = format!("{row}.{}", identifier(column));
    if !has_user_cast {
        return value;
    }
    // As the type writes itself: its owner may have defined a cast to text, too, which would run
    // with the rights of this function.
    format!("case when pg_catalog.num_nulls({value}) = 0 then pg_catalog.format('%s', {value}) end")
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
mod tests;
