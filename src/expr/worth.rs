//! Expressions that are asked for a value and not for a verdict: what a digest is grouped by.

use std::sync::Arc;

use super::{
    Compiled, Expression, Failure, Problem, Scope, check,
    evaluate::Env,
    facts::Facts,
    instant, parse,
    program::{Fact, Node},
    value::Value,
};

impl Expression {
    /// Compiles an expression whose value can be said as a text: text, a number, true or false, a
    /// timestamp or a duration. JSON is taken, too; whether it is one of these shows later.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, as of [`Expression::compile`].
    pub fn compile_value(source: &str, scope: &Scope) -> Result<Self, Vec<Problem>> {
        let parsed = parse::parse(source)?;
        let root = check::check_value(&parsed.tree, &parsed.places, scope)?;
        let cost = super::affordable(source, &root)?;
        Ok(Self(Arc::new(Compiled {
            source: source.into(),
            uses_now: root.any(&|node| matches!(node, Node::Fact(Fact::Now))),
            names_subscription: root.any(&super::is_of_subscription),
            constant: None,
            cost,
            root,
        })))
    }

    /// The value as a text; `None` of null. A number is written as its column shows it, true and
    /// false as these words, a timestamp as RFC 3339 in UTC.
    ///
    /// # Errors
    ///
    /// If an operator fails, or the value is a list or an object.
    pub fn text(&self, facts: &Facts<'_>) -> Result<Option<String>, Failure> {
        Ok(Some(match Env::new(facts).value_of(&self.0.root)? {
            Value::Null => return Ok(None),
            Value::Text(text) => text.into_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            Value::Time(time) => instant::time_text(time),
            Value::Duration(length) => instant::duration_text(length),
            Value::Array(..)
            | Value::Object(_)
            | Value::Names(_)
            | Value::Labels(_)
            | Value::Items(_) => {
                return Err(Failure::Mismatch {
                    operator: "a value of its own",
                });
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::image::Image,
        expr::{ScopeColumn, with_no_facts},
    };

    fn scope() -> Scope {
        let column = |(name, sql_type): (&str, &str)| ScopeColumn {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            hidden: None,
        };
        let columns = [
            ("region", "text"),
            ("amount", "numeric(10,2)"),
            ("is_open", "boolean"),
            ("at", "timestamp with time zone"),
            ("tags", "text[]"),
            ("more", "jsonb"),
        ];
        Scope::rows(columns.map(column).to_vec())
    }

    fn text(source: &str) -> Result<Option<String>, Failure> {
        let row = r#"{"region":"EU","amount":12.50,"is_open":true,
            "at":"2026-03-02T10:00:00+01:00","tags":["a"],"more":{"desk":"x","no":null}}"#;
        let row = Image::parse(row).unwrap();
        let expression = Expression::compile_value(source, &scope()).unwrap();
        with_no_facts(|facts| {
            expression.text(&Facts {
                after: Some(&row),
                ..*facts
            })
        })
    }

    #[test]
    fn each_plain_value_has_a_text() {
        for (source, expected) in [
            ("row.region", "EU"),
            ("row.region + '/' + row.more.desk", "EU/x"),
            ("row.amount", "12.50"),
            ("row.amount >= 10.0 ? 'large' : 'small'", "large"),
            ("row.is_open", "true"),
            ("row.at", "2026-03-02T09:00:00Z"),
            ("row.at.getFullYear()", "2026"),
            ("'all'", "all"),
        ] {
            assert_eq!(text(source), Ok(Some(expected.to_owned())), "{source}");
        }
        assert_eq!(text("old.region"), Ok(None));
        assert_eq!(text("row.more.no"), Ok(None));
    }

    #[test]
    fn what_has_no_text_fails() {
        assert!(text("row.more").is_err());
        assert!(text("row.amount / (row.amount - 12.5)").is_err());
    }

    #[test]
    fn what_can_have_no_text_is_refused_where_it_stands() {
        for (source, part) in [
            ("row", "a row"),
            ("row.tags", "a list"),
            ("changed", "a list"),
            ("null", "null"),
            ("subscription.labels", "labels"),
            ("row.regoin", "did you mean"),
        ] {
            let problems = Expression::compile_value(source, &scope()).unwrap_err();
            let text = format!("{}; {}", problems[0].message, problems[0].help);
            assert!(text.contains(part), "{source}: {text}");
        }
    }
}
