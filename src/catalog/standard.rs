//! Which object types have the standard events.
//!
//! Of an object type with `capture = "defined"`, `.created`, `.updated` and `.deleted` would tell of
//! an arbitrary part of its changes: of those that some event type wanted. So they do not exist.
//! `.truncated` and `.existed` do: a TRUNCATE is captured always, and rows that are there are read.

use super::model::{CaptureMode, Catalog, ObjectType, Verb};

impl ObjectType {
    /// Whether the object type has this standard event.
    #[must_use]
    pub fn has_standard_event(&self, verb: Verb) -> bool {
        self.capture == CaptureMode::All || !verb.is_of_changes()
    }

    /// The names of the standard events of this object type, which is called `name`.
    pub(super) fn standard_events(&self, name: &str) -> impl Iterator<Item = String> + use<> {
        let verbs = Verb::ALL.into_iter();
        let verbs = verbs.filter(|verb| self.has_standard_event(*verb));
        let names: Vec<String> = verbs.map(|verb| verb.event_type(name)).collect();
        names.into_iter()
    }
}

impl Catalog {
    /// The object type and the verb, if `name` is a standard event of this catalogue.
    #[must_use]
    pub fn standard_event<'a>(&self, name: &'a str) -> Option<(&'a str, Verb)> {
        let (object_type, verb, spec) = self.standard_name(name)?;
        spec.has_standard_event(verb).then_some((object_type, verb))
    }

    /// The object type that would have the standard event `name` if every change were captured.
    #[must_use]
    pub fn without_standard_event<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (object_type, verb, spec) = self.standard_name(name)?;
        (!spec.has_standard_event(verb)).then_some(object_type)
    }

    fn standard_name<'a>(&self, name: &'a str) -> Option<(&'a str, Verb, &ObjectType)> {
        let (object_type, last) = name.rsplit_once('.')?;
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == last)?;
        Some((object_type, verb, self.object_types.get(object_type)?))
    }
}
