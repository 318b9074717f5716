//! The event types whose events come through the API, with their schemas made ready.
//!
//! Made once for each revision of the catalogue, by the first request that sees it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jsonschema::Validator;

use crate::{
    catalog::{model::Catalog, schema::schema_compile},
    db::{Connection, DbError},
    nearest::did_you_mean,
    registry::registry_revision,
};

/// The longest text of one fault of `data`, in characters: some of them quote the schema.
const FAULT_CHARS_MAX: usize = 300;

/// Keeps the types of the last revision that was seen; clones share it.
#[derive(Clone, Default)]
pub(super) struct SubmittedTypes {
    last: Arc<Mutex<Option<Arc<Types>>>>,
}

impl SubmittedTypes {
    /// The types as they were when they were last looked at.
    pub(super) fn last(&self) -> Option<Arc<Types>> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The types as they are now; loaded only if something was edited since the last use.
    pub(super) fn current(&self, connection: &mut Connection) -> Result<Arc<Types>, DbError> {
        // Read before the catalogue: an edit in between is then noticed by the next request.
        let revision = registry_revision(connection)?;
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(types) = last().as_ref()
            && types.revision == revision
        {
            return Ok(Arc::clone(types));
        }
        let types = Arc::new(Types::new(revision, &Catalog::load(connection)?));
        *last() = Some(Arc::clone(&types));
        Ok(types)
    }
}

/// The event types at one revision.
pub(super) struct Types {
    revision: i64,
    submitted: BTreeMap<String, Schema>,
    /// Those that are found in row changes, with their object types.
    found_in_rows: BTreeMap<String, String>,
}

/// What the data of an event type must be.
enum Schema {
    /// Anything.
    None,
    Valid(Box<Validator>),
    /// It was saved by a version that took it, and this one does not.
    Unusable(String),
}

impl Types {
    /// Of the catalogue.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    fn new(revision: i64, catalog: &Catalog) -> Self {
        let (mut submitted, mut found_in_rows) = (BTreeMap::new(), BTreeMap::new());
        for (name, event_type) in &catalog.event_types {
            if let Some(object_type) = &event_type.object_type {
                found_in_rows.insert(name.clone(), object_type.clone());
                continue;
            }
            let schema = match event_type.schema.as_ref().map(schema_compile) {
                None => Schema::None,
                Some(Ok(validator)) => Schema::Valid(Box::new(validator)),
                Some(Err(problems)) => {
                    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    Schema::Unusable(problems.join("; "))
                }
            };
            submitted.insert(name.clone(), schema);
        }
        for (object_type, spec) in &catalog.object_types {
            for verb in spec.standard_verbs() {
                found_in_rows.insert(verb.event_type(object_type), object_type.clone());
            }
        }
        Self {
            revision,
            submitted,
            found_in_rows,
        }
    }

    /// What is wrong with `name` as the type of a submitted event.
    pub(super) fn type_fault(&self, name: &str) -> Option<String> {
        match self.submitted.get(name) {
            Some(Schema::None | Schema::Valid(_)) => return None,
            Some(Schema::Unusable(problems)) => {
                return Some(format!("its schema can't be used: {problems}"));
            }
            None => {}
        }
        if let Some(object_type) = self.found_in_rows.get(name) {
            return Some(format!(
                "`{name}` is found in the changes of `{object_type}`, and can't be submitted; an \
                 event type without `object_type` can"
            ));
        }
        let known = self.submitted.keys().map(String::as_str);
        let hint = match did_you_mean(name, known) {
            hint if hint.is_empty() && self.submitted.is_empty() => {
                "; it has none without `object_type` yet".to_owned()
            }
            hint => hint,
        };
        Some(format!(
            "the catalogue has no event type `{name}` whose events are submitted{hint}"
        ))
    }

    /// Judges the data of an event of the type `name`; `note` is told of up to `faults_max` places
    /// in it, and never of a value.
    pub(super) fn check_data(
        &self,
        name: &str,
        data: Option<&serde_json::Value>,
        faults_max: usize,
        note: &mut impl FnMut(&str, String),
    ) {
        let Some(Schema::Valid(schema)) = self.submitted.get(name) else {
            return;
        };
        let Some(data) = data else {
            return note("", format!("it is missing; `{name}` has a schema of it"));
        };
        for fault in schema.iter_errors(data).take(faults_max) {
            let text = fault.masked().to_string();
            let text = match text.char_indices().nth(FAULT_CHARS_MAX) {
                Some((end, _)) => format!("{}...", &text[..end]),
                None => text,
            };
            note(fault.instance_path().as_str(), text);
        }
    }
}
