//! The JSON Schema of an event type whose events come through the API.
//!
//! A schema is judged when it is saved, so that checking an event against it is always possible
//! and its cost has a bound: it refers to nothing outside itself and nothing around itself, and
//! with every reference written out it is neither large nor deep. Its patterns run in linear time.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::subscription::check::{SpecProblem, pointer_part};

/// The largest schema, in bytes of JSON.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// The most values of a schema in which every reference is replaced by what it refers to.
pub const SCHEMA_VALUES_MAX: u64 = 10_000;
/// How deep such a schema may be.
pub const SCHEMA_DEPTH_MAX: u32 = 64;
/// The largest compiled pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// References that this version does not follow: what they mean depends on where one comes from.
const UNFOLLOWED: [&str; 2] = ["$dynamicRef", "$recursiveRef"];

/// Makes the validator of a schema.
///
/// # Errors
///
/// What is wrong with it, with pointers that begin with `/schema`.
pub fn schema_compile(schema: &Value) -> Result<Validator, Vec<SpecProblem>> {
    if !schema.is_object() {
        let text = "a JSON Schema is a table, such as { type = \"object\" }";
        return Err(vec![SpecProblem::new("/schema", text)]);
    }
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        let text = format!("the schema has {bytes} bytes; the limit is {SCHEMA_BYTES_MAX}");
        return Err(vec![SpecProblem::new("/schema", text)]);
    }
    let mut survey = Survey {
        root: schema,
        seen: BTreeMap::new(),
        problems: Vec::new(),
    };
    survey.measure(schema, "", 0);
    if !survey.problems.is_empty() {
        return Err(survey.problems);
    }
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .build(schema)
        .map_err(|error| {
            let pointer = format!("/schema{}", error.instance_path().as_str());
            vec![SpecProblem::new(
                pointer,
                format!("no JSON Schema: {error}"),
            )]
        })
}

/// Looks at every value of a schema once and follows its references.
struct Survey<'a> {
    root: &'a Value,
    /// By pointer: what was measured; `None` while it is.
    seen: BTreeMap<String, Option<Measure>>,
    problems: Vec<SpecProblem>,
}

/// Of a part with every reference written out.
#[derive(Clone, Copy, Default)]
struct Measure {
    values: u64,
    depth: u32,
}

impl Measure {
    fn add(&mut self, inner: Self) {
        self.values = self.values.saturating_add(inner.values);
        self.depth = self.depth.max(inner.depth.saturating_add(1));
    }
}

impl Survey<'_> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        let problem = SpecProblem::new(format!("/schema{pointer}"), message);
        // One reference that goes round is met from each of its stations.
        if self.problems.is_empty() {
            self.problems.push(problem);
        }
    }

    /// `level` bounds this function's own depth: a schema that is too deep is not walked to its
    /// end.
    fn measure(&mut self, value: &Value, pointer: &str, level: u32) -> Measure {
        match self.seen.get(pointer) {
            Some(Some(measure)) => return *measure,
            Some(None) => {
                let text = "the reference leads to a part around itself; a schema that goes round \
                            can't be checked in bounded time";
                self.refuse(pointer, text);
                return Measure::default();
            }
            None => {}
        }
        if level > SCHEMA_DEPTH_MAX {
            let text =
                format!("the schema is more than {SCHEMA_DEPTH_MAX} deep, references written out");
            self.refuse(pointer, text);
            return Measure::default();
        }
        self.seen.insert(pointer.to_owned(), None);
        let mut measure = Measure {
            values: 1,
            depth: 1,
        };
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    measure.add(self.measure(item, &format!("{pointer}/{index}"), level + 1));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let at = format!("{pointer}/{}", pointer_part(name));
                    if let Value::String(text) = member {
                        measure.add(self.reference(name, text, pointer, &at, level));
                    }
                    measure.add(self.measure(member, &at, level + 1));
                }
            }
            _ => {}
        }
        if measure.values > SCHEMA_VALUES_MAX {
            let text = format!(
                "the schema has more than {SCHEMA_VALUES_MAX} values, references written out"
            );
            self.refuse(pointer, text);
        }
        if measure.depth > SCHEMA_DEPTH_MAX {
            let text =
                format!("the schema is more than {SCHEMA_DEPTH_MAX} deep, references written out");
            self.refuse(pointer, text);
        }
        self.seen.insert(pointer.to_owned(), Some(measure));
        measure
    }

    /// What a keyword that refers to another part adds; nothing, if it is another keyword.
    fn reference(&mut self, name: &str, to: &str, around: &str, at: &str, level: u32) -> Measure {
        if UNFOLLOWED.contains(&name) {
            self.refuse(at, format!("`{name}` is not supported; use `$ref`"));
        } else if name == "$id" && !around.is_empty() {
            let text = "only the whole schema may have an `$id`: references are meant from its top";
            self.refuse(at, text);
        } else if name == "$ref" {
            let inside = to.strip_prefix('#');
            let target = inside.and_then(|pointer| {
                let is_pointer = pointer.is_empty() || pointer.starts_with('/');
                let target = self.root.pointer(pointer).filter(|_| is_pointer)?;
                Some((target, pointer.to_owned()))
            });
            match (target, inside) {
                (Some((target, pointer)), _) => return self.measure(target, &pointer, level + 1),
                (None, Some(_)) => self.refuse(
                    at,
                    format!("`{to}` is not in this schema; write `#/$defs/` and a name of `$defs`"),
                ),
                (None, None) => self.refuse(
                    at,
                    format!(
                        "`{to}` is outside of this schema, and nothing is fetched; put it into \
                         `$defs` and refer to it as `#/$defs/` and its name"
                    ),
                ),
            }
        }
        Measure::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> String {
        let problems = schema_compile(schema).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    }

    #[test]
    fn a_schema_with_definitions_judges_data() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/campaign.json",
            "$defs": {"amount": {"type": "number", "minimum": 0}, "$id": {"type": "string"}},
            "type": "object",
            "required": ["budget"],
            "properties": {
                "budget": {"$ref": "#/$defs/amount"},
                "spent": {"$ref": "#/$defs/amount"},
                "code": {"type": "string", "pattern": "^[A-Z]{3}$"},
            },
        });
        let validator = schema_compile(&schema).unwrap();
        assert!(validator.is_valid(&json!({"budget": 3, "code": "ABC"})));
        assert!(!validator.is_valid(&json!({"budget": -3})));
        assert!(!validator.is_valid(&json!({"budget": 3, "spent": "x"})));
        assert!(!validator.is_valid(&json!({"budget": 3, "code": "abc"})));
    }

    #[test]
    fn what_is_no_schema_is_told_with_its_place() {
        for (schema, expected) in [
            (
                json!(true),
                "/schema: a JSON Schema is a table, such as { type = \"object\" }",
            ),
            (
                json!({"type": "objct"}),
                "/schema/type: no JSON Schema: \"objct\" is not valid under any of the schemas \
                 listed in the 'anyOf' keyword",
            ),
            (
                json!({"properties": {"a/b": {"minimum": "1"}}}),
                "/schema/properties/a~1b/minimum: no JSON Schema: \"1\" is not of type \"number\"",
            ),
            (
                json!({"$ref": "https://example.com/other.json"}),
                "/schema/$ref: `https://example.com/other.json` is outside of this schema, and \
                 nothing is fetched; put it into `$defs` and refer to it as `#/$defs/` and its name",
            ),
            (
                json!({"$ref": "#/$defs/a"}),
                "/schema/$ref: `#/$defs/a` is not in this schema; write `#/$defs/` and a name of \
                 `$defs`",
            ),
            (
                json!({"$defs": {"a": {"$anchor": "x"}}, "$ref": "#x"}),
                "/schema/$ref: `#x` is not in this schema; write `#/$defs/` and a name of `$defs`",
            ),
            (
                json!({"properties": {"a": {"$id": "x"}}}),
                "/schema/properties/a/$id: only the whole schema may have an `$id`: references are \
                 meant from its top",
            ),
            (
                json!({"$dynamicRef": "#x"}),
                "/schema/$dynamicRef: `$dynamicRef` is not supported; use `$ref`",
            ),
            (
                json!({"properties": {"child": {"$ref": "#"}}}),
                "/schema: the reference leads to a part around itself; a schema that goes round \
                 can't be checked in bounded time",
            ),
            (
                json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
                "/schema/$defs/a: the reference leads to a part around itself; a schema that goes \
                 round can't be checked in bounded time",
            ),
        ] {
            assert_eq!(refused(&schema), expected);
        }
        let text = refused(&json!({"pattern": "(?=a)b"}));
        assert!(text.starts_with("/schema/pattern: "), "{text}");
        let text = refused(&json!({"$schema": "https://example.com/mine"}));
        assert!(text.starts_with("/schema"), "{text}");
    }

    #[test]
    fn a_schema_that_would_cost_too_much_is_refused() {
        // Sixteen definitions, each twice the one before.
        let mut definitions = serde_json::Map::new();
        definitions.insert("d0".to_owned(), json!({"type": "string"}));
        for n in 1..=16 {
            let before = json!({"$ref": format!("#/$defs/d{}", n - 1)});
            definitions.insert(format!("d{n}"), json!({"allOf": [before, before]}));
        }
        let text = refused(&json!({"$defs": definitions}));
        assert!(text.contains("more than 10000 values"), "{text}");

        let mut chain = serde_json::Map::new();
        for n in 0..2_000 {
            chain.insert(
                format!("d{n}"),
                json!({"$ref": format!("#/$defs/d{}", n + 1)}),
            );
        }
        chain.insert("d2000".to_owned(), json!({}));
        let text = refused(&json!({"$defs": chain, "$ref": "#/$defs/d0"}));
        assert!(text.contains("64 deep"), "{text}");

        let long = json!({"description": "x".repeat(SCHEMA_BYTES_MAX)});
        assert!(refused(&long).contains("the limit is 65536"));
        let pattern = json!({"pattern": "(a{1000}){1000}"});
        assert!(refused(&pattern).starts_with("/schema/pattern: "));
    }
}
