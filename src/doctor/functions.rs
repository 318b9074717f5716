//! Object types against what is installed for them: the table that is captured, and the function
//! that its triggers call.

use serde::Deserialize;

use super::{
    Looked,
    finding::Finding,
    store::{self, Asked},
};
use crate::db::Connection;

/// The role that capture functions belong to.
const CAPTURE_ROLE: &str = "rowcall_capture";

/// What upkeep does by itself.
const UPKEEP: &str = "nothing, if `rowcall serve` runs: it does so within 30 seconds, or its log and \
                      /readyz say why it can't";

/// An object type and what is installed for it.
#[derive(Clone, Debug, Deserialize)]
struct Target {
    object_type: String,
    table_name: String,
    /// The table that has the name now.
    relation: Option<i64>,
    target: Option<i32>,
    /// The table that is captured.
    target_relation: Option<i64>,
    has_function: bool,
    is_as_written: bool,
    owner: Option<String>,
}

pub(super) fn check(connection: &mut Connection, asked: &Asked) -> Looked {
    let targets: Vec<Target> = store::rows_of(connection, include_str!("sql/targets.sql"), asked)?;
    Ok(targets.iter().flat_map(judge).collect())
}

fn judge(target: &Target) -> Vec<Finding> {
    let Target {
        object_type,
        table_name,
        ..
    } = target;
    let mut findings = Vec::new();
    let Some(relation) = target.relation else {
        let text = format!("the table of `{object_type}` is not there, so nothing is captured");
        let remedy = "create the table again, or take the object type out of the metadata and \
                      apply it";
        return vec![Finding::error("table-gone", table_name, text).remedy(remedy)];
    };
    let (Some(number), Some(captured)) = (target.target, target.target_relation) else {
        let text = format!("`{object_type}` is in the catalogue, and no triggers are installed");
        return vec![Finding::error("not-installed", table_name, text).remedy(UPKEEP)];
    };
    if captured != relation {
        let text = format!(
            "another table has this name since `{object_type}` was applied, and what is written \
             into it is not captured yet"
        );
        findings.push(Finding::error("table-replaced", table_name, text).remedy(UPKEEP));
    }
    let function = format!("rowcall.capture_{number}()");
    if !target.has_function {
        let text = format!("the function {function} is gone, and with it the triggers");
        findings.push(Finding::error("function-gone", table_name, text).remedy(UPKEEP));
        return findings;
    }
    if !target.is_as_written {
        let text =
            format!("the function {function} is not as Rowcall wrote it: somebody edited it");
        let remedy = format!(
            "UPDATE rowcall.capture_target SET function_sql = '' WHERE id = {number}; upkeep then \
             writes it anew within 30 seconds"
        );
        findings.push(Finding::error("function-edited", table_name, text).remedy(remedy));
    }
    if let Some(owner) = target
        .owner
        .as_deref()
        .filter(|owner| *owner != CAPTURE_ROLE)
    {
        let text = format!(
            "the function {function} belongs to {owner} and runs with that role's rights in every \
             writer's statement"
        );
        let remedy = format!("ALTER FUNCTION {function} OWNER TO {CAPTURE_ROLE};");
        findings.push(Finding::warning("function-owner", table_name, text).remedy(remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Target {
        Target {
            object_type: "sales.order".to_owned(),
            table_name: "public.orders".to_owned(),
            relation: Some(7),
            target: Some(1),
            target_relation: Some(7),
            has_function: true,
            is_as_written: true,
            owner: Some(CAPTURE_ROLE.to_owned()),
        }
    }

    fn codes(target: &Target) -> Vec<&'static str> {
        judge(target).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_fault_is_told_by_itself() {
        assert!(codes(&sound()).is_empty());
        let gone = Target {
            relation: None,
            ..sound()
        };
        assert_eq!(codes(&gone), ["table-gone"]);
        let fresh = Target {
            target: None,
            ..sound()
        };
        assert_eq!(codes(&fresh), ["not-installed"]);
        let replaced = Target {
            relation: Some(8),
            has_function: false,
            ..sound()
        };
        assert_eq!(codes(&replaced), ["table-replaced", "function-gone"]);
        let edited = Target {
            is_as_written: false,
            owner: Some("dba".to_owned()),
            ..sound()
        };
        assert_eq!(codes(&edited), ["function-edited", "function-owner"]);
    }
}
