//! Roles: who writes without being captured, who could, and whether the capture role has more
//! rights than it needs.

use serde::Deserialize;

use super::{Looked, finding::Finding, store};
use crate::{capture::install::function::identifier, db::Connection};

/// Tables of which a message names some.
const NAMED_MAX: usize = 5;

#[derive(Clone, Debug, Default, Deserialize)]
struct Settings {
    settings: Vec<Setting>,
    /// Who may set session_replication_role without being a superuser.
    granted: Vec<String>,
}

/// A setting of a role, in a database; an empty name means all of them.
#[derive(Clone, Debug, Deserialize)]
struct Setting {
    role: String,
    database: String,
    setting: String,
}

/// `rowcall_capture`, with whose rights the functions run.
#[derive(Clone, Debug, Deserialize)]
struct CaptureRole {
    role: String,
    is_superuser: bool,
    can_login: bool,
    has_attributes: bool,
    member_of: Vec<String>,
    /// Tables that it owns or has privileges on, apart from those it needs.
    reaches: Vec<String>,
}

/// Roles and databases with settings that silence capture.
pub(super) fn settings(connection: &mut Connection) -> Looked {
    let rows: Vec<Settings> = store::rows(connection, include_str!("sql/settings.sql"))?;
    Ok(rows.iter().flat_map(judge_settings).collect())
}

/// Whether the capture role is what it should be.
pub(super) fn capture_role(connection: &mut Connection) -> Looked {
    let rows: Vec<CaptureRole> = store::rows(connection, include_str!("sql/capture_role.sql"))?;
    Ok(match rows.first() {
        Some(role) => judge_capture_role(role),
        None => {
            let text = "the role is gone, so functions can't be written: no table can be added, \
                        and the change table can't be rotated";
            let remedy = "CREATE ROLE rowcall_capture NOLOGIN; and GRANT it to the user of Rowcall";
            let finding = Finding::error("capture-role-gone", "role rowcall_capture", text);
            vec![finding.remedy(remedy)]
        }
    })
}

fn judge_settings(found: &Settings) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.settings.iter().map(setting).collect();
    for role in &found.granted {
        let text = "may set session_replication_role, and what it writes with `replica` is not \
                    captured";
        let remedy = format!(
            "if that is not meant: REVOKE SET ON PARAMETER session_replication_role FROM {};",
            role_name(role)
        );
        let finding = Finding::note("replica-role-granted", format!("role {role}"), text);
        findings.push(finding.remedy(remedy));
    }
    findings
}

fn setting(setting: &Setting) -> Finding {
    let Setting { role, database, .. } = setting;
    let is_replica = setting.setting.starts_with("session_replication_role=");
    let name = match is_replica {
        true => "session_replication_role",
        false => "rowcall.doorbell",
    };
    let subject = match (role.as_str(), database.as_str()) {
        ("", "") => "every role".to_owned(),
        ("", database) => format!("database {database}"),
        (role, _) => format!("role {role}"),
    };
    let reset = match (role.as_str(), database.as_str()) {
        ("", "") => format!("ALTER ROLE ALL RESET {name};"),
        ("", database) => format!("ALTER DATABASE {} RESET {name};", identifier(database)),
        (role, "") => format!("ALTER ROLE {} RESET {name};", identifier(role)),
        (role, database) => format!(
            "ALTER ROLE {} IN DATABASE {} RESET {name};",
            identifier(role),
            identifier(database)
        ),
    };
    if is_replica {
        let text = "has session_replication_role = replica, so no trigger fires for its sessions, \
                    and what they write is not captured";
        Finding::error("replica-role-set", subject, text).remedy(reset)
    } else {
        let text = "has rowcall.doorbell = off: its changes wait until the reader looks by itself, \
                    for up to `safety_poll_ms`";
        Finding::note("doorbell-off-for-role", subject, text).remedy(reset)
    }
}

fn role_name(role: &str) -> String {
    match role {
        "PUBLIC" => "PUBLIC".to_owned(),
        role => identifier(role),
    }
}

fn judge_capture_role(found: &CaptureRole) -> Vec<Finding> {
    let CaptureRole { role, .. } = found;
    let subject = format!("role {role}");
    let mut findings = Vec::new();
    if found.is_superuser {
        let text = "is a superuser, and the capture functions run with its rights in every \
                    writer's statement: whoever owns a captured table could take over the server \
                    with a cast to json";
        let remedy = format!("ALTER ROLE {role} NOSUPERUSER;");
        findings.push(Finding::error("capture-role-superuser", &subject, text).remedy(remedy));
    }
    if found.can_login {
        let text = "can log in; it only owns the capture functions";
        let remedy = format!("ALTER ROLE {role} NOLOGIN;");
        findings.push(Finding::warning("capture-role-login", &subject, text).remedy(remedy));
    }
    if found.has_attributes {
        let text = "may create roles or databases, replicate, or bypass row security";
        let remedy =
            format!("ALTER ROLE {role} NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;");
        findings.push(Finding::warning("capture-role-attributes", &subject, text).remedy(remedy));
    }
    for group in &found.member_of {
        let text = format!("is a member of {group}, whose rights every writer's statement gets");
        let remedy = format!("REVOKE {} FROM {role};", identifier(group));
        findings.push(Finding::warning("capture-role-member", &subject, text).remedy(remedy));
    }
    if !found.reaches.is_empty() {
        let named: Vec<&str> = found
            .reaches
            .iter()
            .take(NAMED_MAX)
            .map(String::as_str)
            .collect();
        let more = match found.reaches.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!(
            "has more rights than to insert into the leaves of the change table: on {}{more}",
            named.join(", ")
        );
        let remedy = format!("REVOKE ALL ON {} FROM {role};", named.join(", "));
        findings.push(Finding::warning("capture-role-privileges", &subject, text).remedy(remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_told_with_the_statement_that_takes_it_back() {
        for (role, database, setting, code, remedy) in [
            (
                "loader",
                "",
                "session_replication_role=replica",
                "replica-role-set",
                "ALTER ROLE \"loader\" RESET session_replication_role;",
            ),
            (
                "loader",
                "shop",
                "rowcall.doorbell=off",
                "doorbell-off-for-role",
                "ALTER ROLE \"loader\" IN DATABASE \"shop\" RESET rowcall.doorbell;",
            ),
            (
                "",
                "shop",
                "session_replication_role=replica",
                "replica-role-set",
                "ALTER DATABASE \"shop\" RESET session_replication_role;",
            ),
        ] {
            let setting = Setting {
                role: role.to_owned(),
                database: database.to_owned(),
                setting: setting.to_owned(),
            };
            let finding = super::setting(&setting);
            assert_eq!((finding.code, finding.remedy.as_str()), (code, remedy));
        }
    }

    #[test]
    fn a_capture_role_that_only_inserts_is_sound() {
        let sound = CaptureRole {
            role: "rowcall_capture".to_owned(),
            is_superuser: false,
            can_login: false,
            has_attributes: false,
            member_of: Vec::new(),
            reaches: Vec::new(),
        };
        assert!(judge_capture_role(&sound).is_empty());
        let tables = (1..=7).map(|number| format!("public.t{number}"));
        let odd = CaptureRole {
            is_superuser: true,
            can_login: true,
            has_attributes: true,
            member_of: vec!["dba".to_owned()],
            reaches: tables.collect(),
            ..sound
        };
        let findings = judge_capture_role(&odd);
        let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(
            codes,
            [
                "capture-role-superuser",
                "capture-role-login",
                "capture-role-attributes",
                "capture-role-member",
                "capture-role-privileges"
            ]
        );
        assert!(findings[4].message.ends_with("public.t5 and 2 more"));
    }
}
