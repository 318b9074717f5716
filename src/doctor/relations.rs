//! The triggers of every captured table, partition and child, and what keeps them from firing.

use serde::Deserialize;

use super::{
    Looked,
    finding::Finding,
    store::{self, Asked},
};
use crate::{
    capture::install::function::identifier,
    catalog::model::{CaptureMode, Catalog},
    db::Connection,
};

/// `pg_trigger.tgtype`: insert, delete and update.
const EVERY_EVENT: i32 = 4 | 8 | 16;

/// A table of an object type, or what inherits from it.
#[derive(Clone, Debug, Deserialize)]
struct Relation {
    object_type: String,
    is_root: bool,
    /// Quoted, with its schema.
    name: String,
    /// `pg_class.relkind`
    kind: char,
    /// `pg_class.relpersistence`
    persistence: char,
    can_trigger: bool,
    /// The row triggers that call the object type's function.
    triggers: Vec<Trigger>,
    /// It is the target of a subscription of logical replication.
    is_replicated: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Trigger {
    name: String,
    /// `pg_trigger.tgenabled`
    enabled: char,
    /// Bits as in [`EVERY_EVENT`].
    events: i32,
}

pub(super) fn check(
    connection: &mut Connection,
    catalog: &Catalog,
    asked: &Asked,
    role: &str,
) -> Looked {
    let sql = include_str!("sql/relations.sql");
    let relations: Vec<Relation> = store::rows_of(connection, sql, asked)?;
    let judge = |relation: &Relation| {
        let object_type = catalog.object_types.get(&relation.object_type);
        let mode = object_type.map_or(CaptureMode::All, |object_type| object_type.capture);
        judge(relation, mode, role)
    };
    Ok(relations.iter().flat_map(judge).collect())
}

fn judge(relation: &Relation, mode: CaptureMode, role: &str) -> Vec<Finding> {
    let Relation {
        object_type, name, ..
    } = relation;
    if relation.kind == 'f' {
        let text = format!(
            "this foreign table is a part of `{object_type}`: rows that are written in the other \
             database fire no trigger here and are not captured"
        );
        let remedy = "capture the table where it is, as an object type of another source, or write \
                      it only through this database";
        return vec![Finding::warning("foreign-part", name, text).remedy(remedy)];
    }
    if relation.persistence == 't' {
        let text = format!(
            "this temporary table inherits from the table of `{object_type}`; only its own session \
             sees its rows, and they are not captured"
        );
        let remedy = format!("ALTER TABLE {name} NO INHERIT its parent; in that session");
        return vec![Finding::warning("temporary-part", name, text).remedy(remedy)];
    }
    let mut findings = Vec::new();
    if relation.persistence == 'u' {
        let text = "the table is unlogged: after a crash of the server Postgres empties it, which \
                    fires no trigger, so no event tells that the rows are gone";
        let remedy = format!("ALTER TABLE {name} SET LOGGED;");
        findings.push(Finding::warning("unlogged-table", name, text).remedy(remedy));
    }
    if !relation.can_trigger {
        let text = format!("the user {role} may not create triggers on it");
        let remedy = format!("GRANT TRIGGER ON {name} TO {};", identifier(role));
        findings.push(Finding::warning("trigger-privilege-missing", name, text).remedy(remedy));
    }
    findings.extend(missing(relation, mode));
    findings.extend(silent(relation));
    findings
}

fn missing(relation: &Relation, mode: CaptureMode) -> Option<Finding> {
    let Relation {
        object_type,
        name,
        triggers,
        ..
    } = relation;
    let events = triggers
        .iter()
        .fold(0, |events, trigger| events | trigger.events);
    let is_covered = match mode {
        CaptureMode::All => events == EVERY_EVENT,
        // Only what an event type may match has a trigger.
        CaptureMode::Defined => !triggers.is_empty(),
    };
    if is_covered {
        return None;
    }
    let text = if relation.is_root {
        format!("a trigger of `{object_type}` is missing, so changes are not captured")
    } else {
        format!(
            "a trigger of `{object_type}`, whose table this inherits from, is missing, so changes \
             of its rows are not captured"
        )
    };
    let remedy = "nothing, if `rowcall serve` runs: it is created as soon as the table's lock is \
                  free, within 30 seconds, or its log and /readyz say why it can't";
    Some(Finding::error("trigger-missing", name, text).remedy(remedy))
}

/// Triggers that are there and don't fire.
fn silent(relation: &Relation) -> impl Iterator<Item = Finding> {
    relation.triggers.iter().filter_map(|trigger| {
        let name = &relation.name;
        let quoted = identifier(&trigger.name);
        let (code, text, mode) = match trigger.enabled {
            'D' => (
                "trigger-disabled",
                format!("the trigger {quoted} is disabled, so changes are not captured"),
                "ENABLE",
            ),
            'R' => (
                "trigger-replica-only",
                format!(
                    "the trigger {quoted} fires only where session_replication_role is replica, so \
                     other changes are not captured"
                ),
                "ENABLE ALWAYS",
            ),
            'O' if relation.is_replicated => (
                "replica-not-captured",
                format!(
                    "logical replication writes into this table, and its worker does not fire the \
                     trigger {quoted}: what it applies is not captured"
                ),
                "ENABLE ALWAYS",
            ),
            _ => return None,
        };
        let remedy = format!("ALTER TABLE {name} {mode} TRIGGER {quoted};");
        Some(Finding::error(code, name, text).remedy(remedy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Relation {
        Relation {
            object_type: "sales.order".to_owned(),
            is_root: true,
            name: "public.orders".to_owned(),
            kind: 'r',
            persistence: 'p',
            can_trigger: true,
            triggers: vec![trigger('O', EVERY_EVENT)],
            is_replicated: false,
        }
    }

    fn trigger(enabled: char, events: i32) -> Trigger {
        Trigger {
            name: " rowcall".to_owned(),
            enabled,
            events,
        }
    }

    fn found(relation: &Relation, mode: CaptureMode) -> Vec<(&'static str, String)> {
        let findings = judge(relation, mode, "svc").into_iter();
        findings.map(|one| (one.code, one.remedy)).collect()
    }

    #[test]
    fn triggers_cover_every_event_unless_only_some_are_asked_for() {
        assert!(found(&sound(), CaptureMode::All).is_empty());
        let some = Relation {
            triggers: vec![trigger('O', 4), trigger('A', 16)],
            ..sound()
        };
        assert!(found(&some, CaptureMode::Defined).is_empty());
        assert_eq!(found(&some, CaptureMode::All)[0].0, "trigger-missing");
        let none = Relation {
            triggers: Vec::new(),
            ..sound()
        };
        assert_eq!(found(&none, CaptureMode::Defined)[0].0, "trigger-missing");
    }

    #[test]
    fn a_silent_trigger_is_told_with_the_statement_that_wakes_it() {
        for (enabled, is_replicated, code, mode) in [
            ('D', false, "trigger-disabled", "ENABLE"),
            ('R', false, "trigger-replica-only", "ENABLE ALWAYS"),
            ('O', true, "replica-not-captured", "ENABLE ALWAYS"),
        ] {
            let silent = Relation {
                triggers: vec![trigger(enabled, EVERY_EVENT)],
                is_replicated,
                ..sound()
            };
            let remedy = format!("ALTER TABLE public.orders {mode} TRIGGER \" rowcall\";");
            assert_eq!(found(&silent, CaptureMode::All), [(code, remedy)]);
        }
        let always = Relation {
            triggers: vec![trigger('A', EVERY_EVENT)],
            is_replicated: true,
            ..sound()
        };
        assert!(found(&always, CaptureMode::All).is_empty());
    }

    #[test]
    fn tables_that_no_trigger_can_tell_of_are_named() {
        for (kind, persistence, code) in [
            ('f', 'p', "foreign-part"),
            ('r', 't', "temporary-part"),
            ('r', 'u', "unlogged-table"),
        ] {
            let odd = Relation {
                kind,
                persistence,
                ..sound()
            };
            assert_eq!(found(&odd, CaptureMode::All)[0].0, code);
        }
        let foreign = Relation {
            can_trigger: false,
            ..sound()
        };
        assert_eq!(
            found(&foreign, CaptureMode::All)[0].1,
            "GRANT TRIGGER ON public.orders TO \"svc\";"
        );
    }
}
