//! Which triggers a table is to have, and with which WHEN.
//!
//! A trigger with a WHEN carries a mark as its argument: what it was made of. A WHEN follows its
//! columns when they are renamed, so its text alone does not tell whether it is still right.

use sha2::{Digest as _, Sha256};

use super::{
    store::{Relation, Target, Trigger, trigger_create, trigger_drop},
    tables::Tables,
    verdict::{
        Table, Verdicts,
        store::{Present, trigger_with_when, triggers_present},
    },
};
use crate::{
    catalog::model::{CaptureMode, Catalog, ObjectType, Operation},
    db::{Connection, QueryError},
};

/// The mark of a trigger that only its owner can drop, and that never fires.
const NEVER_MARK: &str = "never";

/// What of an object type's changes is written down, and where that is judged.
pub(super) struct Judged {
    /// The block of the function that judges, if it does.
    pub(super) body: Option<String>,
    /// The operations that have a trigger, if WHEN judges.
    when: Option<Vec<When>>,
}

/// The condition of a trigger.
#[derive(Clone, Debug)]
struct When {
    operation: Operation,
    sql: Option<String>,
    mark: String,
}

/// A trigger that a table is to have.
#[derive(Clone, Debug)]
pub struct Wanted {
    trigger: Trigger,
    /// Its condition and its mark.
    when: Option<When>,
}

impl Wanted {
    /// As it looks once it is there.
    fn present(&self) -> Present {
        let mark = self.when.as_ref().map_or("", |when| when.mark.as_str());
        Present::new(self.trigger, mark)
    }
}

/// Judges an object type by its table as it is now.
pub(super) fn judged(
    tables: &Tables,
    target: &Target,
    catalog: &Catalog,
    object_type: &ObjectType,
) -> Judged {
    let table = tables.judged(target.relation);
    let Some(table) = table.filter(|_| object_type.capture == CaptureMode::Defined) else {
        let (body, when) = (None, None);
        return Judged { body, when };
    };
    let verdicts = Verdicts::of(&target.object_type, object_type, catalog, table);
    if !object_type.when_clause {
        let body = verdicts.body(table);
        return Judged { body, when: None };
    }
    let when = verdicts.when_clauses().map(|(operation, sql)| When {
        operation,
        sql: sql.map(ToOwned::to_owned),
        mark: mark(sql, table),
    });
    Judged {
        body: None,
        when: Some(when.collect()),
    }
}

/// Tells one condition over one table from another: by the text, and by which columns the names
/// are.
fn mark(sql: Option<&str>, table: &Table) -> String {
    let Some(sql) = sql else {
        return "always".to_owned();
    };
    let mut digest = Sha256::new().chain_update(sql);
    for column in &table.columns {
        let name = &column.sql.name;
        let named = format!("{name:?} {} {};", column.place, column.type_oid);
        if sql.contains(&crate::expr::identifier(name)) {
            digest.update(named);
        }
    }
    let bytes = digest.finalize();
    bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Judged {
    /// Row triggers on a table of its own and on every inheritance child; a partition has a clone
    /// of its root's. TRUNCATE triggers are not cloned, so everything has its own.
    pub(super) fn triggers_on(&self, relation: &Relation) -> Vec<Wanted> {
        let mut wanted = vec![Wanted {
            trigger: Trigger::Truncate,
            when: None,
        }];
        match &self.when {
            _ if relation.is_partition => {}
            None => wanted.push(Wanted {
                trigger: Trigger::Row,
                when: None,
            }),
            Some(clauses) => wanted.extend(clauses.iter().map(|when| Wanted {
                trigger: Trigger::On(when.operation),
                when: Some(when.clone()),
            })),
        }
        wanted
    }
}

/// Whether the triggers of one table that call the function are what is wanted.
pub(super) fn triggers_are(present: &[&Present], wanted: &[Wanted]) -> bool {
    let is_there = |wanted: &Wanted| present.contains(&&wanted.present());
    let is_wanted = |present: &&Present| {
        present.mark == NEVER_MARK || wanted.iter().any(|one| one.trigger == present.trigger)
    };
    wanted.iter().all(is_there) && present.iter().all(is_wanted)
}

/// Makes the triggers of one table that call the function what is wanted. What is right is not
/// touched.
pub(super) fn triggers_put(
    connection: &mut Connection,
    relation: &Relation,
    function: &str,
    wanted: &[Wanted],
) -> Result<(), QueryError> {
    let present = triggers_present(connection, relation.oid, function)?;
    for one in wanted {
        let (table, trigger) = (&relation.name, one.trigger);
        if present.contains(&one.present()) {
            continue;
        }
        match &one.when {
            None => trigger_create(connection, table, trigger, function)?,
            Some(When { sql, mark, .. }) => {
                let sql = sql.as_deref();
                trigger_with_when(connection, table, trigger, function, sql, mark)?;
            }
        }
    }
    for Present { trigger, mark } in present {
        let is_wanted = wanted.iter().any(|wanted| wanted.trigger == trigger);
        if is_wanted || mark == NEVER_MARK || trigger_drop(connection, relation, trigger)? {
            continue;
        }
        let (table, never) = (&relation.name, Some("false"));
        trigger_with_when(connection, table, trigger, function, never, NEVER_MARK)?;
    }
    Ok(())
}
