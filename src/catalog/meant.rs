//! What names and patterns of event types and object types mean together.

use std::collections::BTreeSet;

use super::{
    columns::Columns,
    model::{Catalog, GAP_EVENT_TYPE, name_matches},
    operations::is_operational,
};

/// The catalogue with the columns of its tables: what names and conditions are judged by.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The catalogue.
    pub catalog: &'a Catalog,
    /// The columns of its object types.
    pub columns: &'a Columns,
    /// Object types that were refused by themselves; nothing is judged on them.
    pub refused: &'a BTreeSet<String>,
}

/// What an event may be of that a selection matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Object types of which at least one event is matched.
    pub object_types: BTreeSet<String>,
    /// Event types of the API that are matched.
    pub api_event_types: BTreeSet<String>,
}

impl Meant {
    /// What is matched by any of the patterns of either list.
    #[must_use]
    pub fn by(catalog: &Catalog, event_types: &[String], object_types: &[String]) -> Self {
        let mut meant = Self::default();
        for pattern in object_types {
            if catalog.object_types.contains_key(pattern) {
                meant.object_types.insert(pattern.clone());
            } else if pattern.contains('*') {
                let known = catalog.object_types.keys();
                let matched = known.filter(|name| name_matches(pattern, name));
                meant.object_types.extend(matched.cloned());
            }
        }
        for pattern in event_types {
            if pattern.contains('*') {
                let known = catalog.event_types();
                for name in known.filter(|name| name_matches(pattern, name)) {
                    meant.add_event_type(catalog, &name);
                }
            } else {
                meant.add_event_type(catalog, pattern);
            }
        }
        meant
    }

    fn add_event_type(&mut self, catalog: &Catalog, name: &str) {
        if name == GAP_EVENT_TYPE {
            // A gap may be of any object type.
            self.object_types
                .extend(catalog.object_types.keys().cloned());
        } else if let Some((object_type, _)) = catalog.standard_event(name) {
            self.object_types.insert(object_type.to_owned());
        } else if let Some(event_type) = catalog.event_types.get(name) {
            match &event_type.object_type {
                // One that is not known is a fault of the event type, told there.
                Some(of) if !catalog.object_types.contains_key(of) => false,
                Some(object_type) => self.object_types.insert(object_type.clone()),
                None => self.api_event_types.insert(name.to_owned()),
            };
        } else if is_operational(name) {
            self.api_event_types.insert(name.to_owned());
        }
    }

    /// All that the catalogue has.
    #[must_use]
    pub fn everything(catalog: &Catalog) -> Self {
        let all = ["*".to_owned()];
        Self::by(catalog, &all, &all)
    }

    /// Rows of one object type.
    #[must_use]
    pub fn rows_of(object_type: &str) -> Self {
        Self {
            object_types: BTreeSet::from([object_type.to_owned()]),
            api_event_types: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let object_type: crate::catalog::model::ObjectType =
            serde_json::from_str(r#"{"table": "a.b", "key": ["id"]}"#).unwrap();
        let mut catalog = Catalog::default();
        for name in ["sales.order", "sales.item", "stock.part"] {
            catalog
                .object_types
                .insert(name.to_owned(), object_type.clone());
        }
        for (name, json) in [
            ("sales.order.released", r#"{"object_type": "sales.order"}"#),
            ("sales.campaign.started", r#"{"schema": {}}"#),
        ] {
            let event_type = serde_json::from_str(json).unwrap();
            catalog.event_types.insert(name.to_owned(), event_type);
        }
        catalog
    }

    #[test]
    fn names_and_patterns_are_object_types_and_events_of_the_api() {
        let catalog = catalog();
        for (event_types, object_types, rows, api) in [
            (&["sales.order.released"][..], &[][..], "sales.order", ""),
            (&["sales.order.created"], &[], "sales.order", ""),
            (&["sales.campaign.*"], &[], "", "sales.campaign.started"),
            (
                &["sales.*ed"],
                &[],
                "sales.item sales.order",
                "sales.campaign.started",
            ),
            (&[], &["sales.*"], "sales.item sales.order", ""),
            (
                &["sales.campaign.started"],
                &["stock.part"],
                "stock.part",
                "sales.campaign.started",
            ),
            (
                &["rowcall.capture.*"],
                &[],
                "sales.item sales.order stock.part",
                "",
            ),
            (
                &["rowcall.subscription.*"],
                &[],
                "",
                "rowcall.subscription.disabled",
            ),
            (
                &["*ed"],
                &[],
                "sales.item sales.order stock.part",
                "sales.campaign.started",
            ),
            (&["sales.order"], &["stock"], "", ""),
        ] {
            let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            let meant = Meant::by(&catalog, &owned(event_types), &owned(object_types));
            let joined = |names: BTreeSet<String>| Vec::from_iter(names).join(" ");
            let found = (joined(meant.object_types), joined(meant.api_event_types));
            assert_eq!(found, (rows.to_owned(), api.to_owned()), "{event_types:?}");
        }
        assert_eq!(Meant::everything(&catalog).object_types.len(), 3);
    }
}
