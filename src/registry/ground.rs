//! What everything else of a registry stands on: the catalogue, the columns of its tables, and what
//! was compiled for them. Edits of subscriptions leave it as it is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    index::Names,
    store::{TargetName, targets_load},
    target::Target,
};
use crate::{
    capture::store::SUBMITTED_TARGET,
    catalog::{
        columns::columns_load,
        model::{Catalog, Constraint},
        shape::shape_stored,
    },
    constraint::compile::Compiled,
    db::{Connection, DbError},
    expr::Scope,
};

/// The catalogue, made ready.
pub(super) struct Ground {
    pub(super) catalog: Catalog,
    pub(super) scopes: Scopes,
    pub(super) constraints: Vec<Arc<Compiled>>,
    /// As the repository has them.
    pub(super) target_names: Vec<TargetName>,
}

impl Ground {
    pub(super) fn load(connection: &mut Connection) -> Result<Self, DbError> {
        let catalog = Catalog::load(connection)?;
        let scopes = scopes(connection, &catalog)?;
        Ok(Self {
            constraints: constraints(&catalog, &scopes),
            target_names: targets_load(connection)?,
            catalog,
            scopes,
        })
    }

    /// Whether the tables are still as they were when conditions were compiled for them.
    pub(super) fn is_current(&self, connection: &mut Connection) -> Result<bool, DbError> {
        Ok(scopes(connection, &self.catalog)? == self.scopes
            && targets_load(connection)? == self.target_names)
    }

    /// The constraints with the versions in which they were last changed.
    pub(super) fn constraint_versions(&self) -> BTreeMap<String, i64> {
        let constraints = self.catalog.constraints.iter();
        constraints
            .map(|(name, constraint)| (name.clone(), constraint.version))
            .collect()
    }

    /// The event types that the index is to know.
    pub(super) fn names(&self, targets: &Targets) -> Names {
        let of_rows = targets.values().map(|target| {
            let event_types = target.event_types().cloned().collect();
            (Some(Arc::clone(&target.name)), event_types)
        });
        let of_api = self.catalog.api_event_types().map(Arc::from).collect();
        of_rows.chain([(None, of_api)]).collect()
    }

    /// The targets of object types that are in the catalogue, and the numbers of all.
    pub(super) fn targets(
        &self,
        connection: &mut Connection,
    ) -> Result<(Targets, HashSet<i32>), DbError> {
        let mut targets = HashMap::new();
        // What the API accepted has no target of its own.
        let mut known = HashSet::from([SUBMITTED_TARGET]);
        for found in &self.target_names {
            known.insert(found.id);
            let name = found.object_type.as_str();
            // Changes that were captured before their object type was taken out yield no events.
            let Some(object_type) = self.catalog.object_types.get(name) else {
                continue;
            };
            // Of a table that is gone there may be changes still: they are published, though
            // nothing can be said of its columns any more.
            let scope = self.scopes.get(name);
            let partitioned_by = if object_type.source.is_default() {
                found.partitioned_by.clone()
            } else {
                let mut tables = shape_stored(connection, &object_type.source)?;
                let shape = tables.remove(&object_type.table);
                shape.map(|shape| shape.partitioned_by).unwrap_or_default()
            };
            let target = Target::new(
                &found.source,
                name,
                object_type,
                &self.catalog,
                scope,
                partitioned_by,
            );
            targets.insert(found.id, Arc::new(target));
        }
        Ok((targets, known))
    }
}

/// Object types by the numbers that changes carry.
pub type Targets = HashMap<i32, Arc<Target>>;

/// Every constraint, ready to be judged. Of one that can't be read nothing passes: it may be there
/// because something must not be told.
pub(super) fn constraints(catalog: &Catalog, scopes: &Scopes) -> Vec<Arc<Compiled>> {
    let compile = |(name, constraint): (&String, &Constraint)| {
        let scopes = scopes.iter().map(|(name, scope)| (&**name, scope));
        let compiled = Compiled::compile(name, constraint, scopes);
        Arc::new(compiled.unwrap_or_else(|problems| {
            let problems: Vec<String> = problems.into_iter().map(|(_, text)| text).collect();
            Compiled::closed(name, constraint, problems.join("; "))
        }))
    };
    catalog.constraints.iter().map(compile).collect()
}

/// What expressions over each object type may name; the empty name is that of events without one.
pub type Scopes = BTreeMap<Arc<str>, Scope>;

pub(super) fn scopes(connection: &mut Connection, catalog: &Catalog) -> Result<Scopes, DbError> {
    let columns = columns_load(connection, catalog)?;
    let rows = columns
        .into_iter()
        .map(|(name, columns)| (name.into(), Scope::rows(columns)));
    Ok(rows.chain([("".into(), Scope::api_event())]).collect())
}
