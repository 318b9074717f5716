//! What of a catalogue is about one source.

use std::collections::BTreeSet;

use super::model::{Catalog, SourceName};

impl Catalog {
    /// What of the catalogue is about the tables of one source, as its own database would have it:
    /// there, it is the default source.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Self {
        let mut part = self.clone();
        part.object_types
            .retain(|_, object_type| object_type.source.0 == source);
        for object_type in part.object_types.values_mut() {
            object_type.source = SourceName::default();
        }
        let (event_types, object_types) = (&mut part.event_types, &part.object_types);
        event_types.retain(|_, event_type| {
            let object_type = event_type.object_type.as_ref();
            object_type.is_some_and(|name| object_types.contains_key(name))
        });
        part
    }

    /// The sources other than Rowcall's own database that object types name.
    #[must_use]
    pub fn other_sources(&self) -> BTreeSet<&SourceName> {
        let sources = self.object_types.values().map(|spec| &spec.source);
        sources.filter(|source| !source.is_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::load::Folder;

    #[test]
    fn a_source_has_its_tables_and_their_events_and_knows_no_other_database() {
        // GIVEN two databases and an event type of each, and one of the API
        let folder = Folder::of_text(
            "m.toml",
            "[object_type.\"a.x\"]\ntable = \"p.x\"\nkey = [\"id\"]\n\
             [object_type.\"b.y\"]\ntable = \"p.y\"\nkey = [\"id\"]\nsource = \"crm\"\n\
             [event_type.\"a.x.named\"]\nobject_type = \"a.x\"\n\
             [event_type.\"b.y.named\"]\nobject_type = \"b.y\"\n\
             [event_type.\"c.z.sent\"]\nschema = { type = \"object\" }\n",
        );
        let mut catalog = Catalog::default();
        for item in folder.object_types {
            catalog.object_types.insert(item.name, item.spec);
        }
        for item in folder.event_types {
            catalog.event_types.insert(item.name, item.spec);
        }
        // THEN
        let part = catalog.of_source("crm");
        assert!(part.object_types.keys().eq(["b.y"]));
        assert!(part.event_types.keys().eq(["b.y.named"]));
        assert!(part.object_types["b.y"].source.is_default());
        assert!(part.other_sources().is_empty());
        let others = catalog.other_sources();
        assert!(
            others
                .into_iter()
                .map(|source| source.0.as_str())
                .eq(["crm"])
        );
    }
}
