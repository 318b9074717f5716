//! Which standard events an object type has.
//!
//! Of an object type with `capture = "defined"`, `.created`, `.updated` and `.deleted` would tell
//! of an arbitrary part of its changes: of those that some event type wanted. So they do not exist.
//! `.truncated` and `.existed` do: every TRUNCATE is captured, and rows that are there are read.

use super::model::{CaptureMode, Catalog, ObjectType, Verb};

impl ObjectType {
    /// Whether every change is captured, and not only what an event type can match.
    #[must_use]
    pub fn captures_all(&self) -> bool {
        self.capture == CaptureMode::All
    }

    /// The standard events that exist, in the order of [`Verb::ALL`].
    #[must_use]
    pub fn standard_verbs(&self) -> &'static [Verb] {
        match self.capture {
            CaptureMode::All => &Verb::ALL,
            CaptureMode::Defined => &[Verb::Truncated, Verb::Existed],
        }
    }
}

impl Catalog {
    /// The object type and the verb, if `name` is a standard event of this catalogue.
    #[must_use]
    pub fn standard_event<'a>(&self, name: &'a str) -> Option<(&'a str, Verb)> {
        let (object_type, verb, spec) = self.standard_name(name)?;
        let exists = spec.standard_verbs().contains(&verb);
        exists.then_some((object_type, verb))
    }

    /// The object type that would have the standard event `name` if every change were captured.
    #[must_use]
    pub fn without_standard_event<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (object_type, verb, spec) = self.standard_name(name)?;
        (!spec.standard_verbs().contains(&verb)).then_some(object_type)
    }

    fn standard_name<'a>(&self, name: &'a str) -> Option<(&'a str, Verb, &ObjectType)> {
        let (object_type, last) = name.rsplit_once('.')?;
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == last)?;
        Some((object_type, verb, self.object_types.get(object_type)?))
    }
}
