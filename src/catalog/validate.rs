//! A folder against the real tables, the rest of the catalogue, and itself. Pure.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    columns::{Columns, columns},
    credentials,
    load::{Folder, Item},
    model::{CaptureMode, Catalog, Constraint, SourceName, TableName},
    names::parent,
    problem::{Problem, Warning},
    relations,
    shape::Shapes,
    source_check,
};
use crate::{
    nearest::nearest,
    sink::{AddressGuard, MailSettings, Signer},
    subscription::model::{SecretSpec, SubscriptionSpec},
};

/// What a folder is judged by.
pub struct Surroundings<'a> {
    /// What of the catalogue was not born in the folder, and stays.
    pub elsewhere: &'a Catalog,
    /// The tables that the folder and the rest of the catalogue name.
    pub shapes: &'a Shapes,
    /// Which addresses a sink may have.
    pub guard: &'a AddressGuard,
    /// The operator's mail server, if there is one.
    pub mail: Option<&'a MailSettings>,
    /// The environment variables that secrets come from.
    pub environment: &'a dyn Fn(&str) -> Option<SecretString>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The catalogue as it would be; of use only if there is no problem.
    pub catalog: Catalog,
    /// The columns of its object types.
    pub columns: Columns,
    /// Why it can't be; with those that the files have by themselves.
    pub problems: Vec<Problem>,
    /// What will surprise.
    pub warnings: Vec<Warning>,
}

/// Judges `folder`.
#[must_use]
pub fn validate(folder: &Folder, around: &Surroundings<'_>) -> Findings {
    let mut findings = Findings {
        catalog: around.elsewhere.clone(),
        columns: Columns::new(),
        problems: folder.problems.clone(),
        warnings: Vec::new(),
    };
    merge(folder, around.elsewhere, &mut findings);
    for item in &folder.namespaces {
        check_parent(item, "namespace", &mut findings);
    }
    let mut refused = BTreeSet::new();
    for item in &folder.object_types {
        check_parent(item, "object_type", &mut findings);
        let before = findings.problems.len();
        source_check::check(
            item,
            around.shapes,
            &mut findings.problems,
            &mut findings.warnings,
        );
        if findings.problems.len() > before {
            refused.insert(item.name.clone());
        }
    }
    check_tables_apart(folder, around.elsewhere, &mut findings.problems);
    check_captured(folder, &mut findings);
    for item in &folder.subscriptions {
        check_secret(item, around.environment, &mut findings.problems);
        credentials::check(item, around.environment, &mut findings.problems);
    }
    findings.columns = columns(&findings.catalog, around.shapes);
    // Against a catalogue that lacks unreadable types each entry would be blamed for them.
    if folder.unread_types == 0 {
        relations::check(folder, around, &refused, &mut findings);
    }
    findings
}

/// Puts the folder's items into the catalogue; a name can be there only once.
fn merge(folder: &Folder, elsewhere: &Catalog, findings: &mut Findings) {
    let taken = |place, name: &str| {
        Problem::new(
            place,
            format!("`{name}` was made through the API and is not the folder's"),
        )
        .help("choose another name, or remove the one that is there first")
    };
    for item in &folder.namespaces {
        if elsewhere.namespaces.contains_key(&item.name) {
            findings
                .problems
                .push(taken(item.places.at(""), &item.name));
        }
        let namespaces = &mut findings.catalog.namespaces;
        namespaces.insert(item.name.clone(), item.spec.clone());
    }
    for item in &folder.object_types {
        if elsewhere.object_types.contains_key(&item.name) {
            findings
                .problems
                .push(taken(item.places.at(""), &item.name));
        }
        if findings.catalog.namespaces.contains_key(&item.name) {
            let message = format!("`{}` is a namespace and an object type", item.name);
            findings.problems.push(
                Problem::new(item.places.at(""), message).help("give one of the two another name"),
            );
        }
        let object_types = &mut findings.catalog.object_types;
        object_types.insert(item.name.clone(), item.spec.clone());
    }
    for item in &folder.event_types {
        if elsewhere.event_types.contains_key(&item.name) {
            findings
                .problems
                .push(taken(item.places.at(""), &item.name));
        }
        let event_types = &mut findings.catalog.event_types;
        event_types.insert(item.name.clone(), item.spec.clone());
    }
    for item in &folder.constraints {
        if elsewhere.constraints.contains_key(&item.name) {
            findings
                .problems
                .push(taken(item.places.at(""), &item.name));
        }
        let constraint = Constraint {
            // Known when it is applied; nothing that is judged here asks for it.
            version: 0,
            spec: item.spec.clone(),
        };
        let constraints = &mut findings.catalog.constraints;
        constraints.insert(item.name.clone(), constraint);
    }
}

fn check_parent<T>(item: &Item<T>, kind: &str, findings: &mut Findings) {
    let Some(wanted) = parent(&item.name) else {
        return;
    };
    let namespaces = &findings.catalog.namespaces;
    // A name that is wrong by itself has been told.
    if wanted.is_empty() || namespaces.contains_key(wanted) {
        return;
    }
    let declare = super::entry::header("namespace", wanted);
    let help = match nearest(wanted, namespaces.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? or add {declare}"),
        None => format!("add {declare}"),
    };
    let header = super::entry::header(kind, &item.name);
    let message = format!("{header} needs the namespace `{wanted}`, which is not declared");
    findings
        .problems
        .push(Problem::new(item.places.at(""), message).help(help));
}

/// One table is one object type: its triggers are made for one.
fn check_tables_apart(folder: &Folder, elsewhere: &Catalog, problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<(&SourceName, &TableName), (&str, String)> = elsewhere
        .object_types
        .iter()
        .map(|(name, object_type)| {
            let table = (&object_type.source, &object_type.table);
            (table, (name.as_str(), "the API".to_owned()))
        })
        .collect();
    for item in &folder.object_types {
        let table = &item.spec.table;
        let named = (&item.spec.source, table);
        if let Some((owner, place)) = owners.get(&named) {
            let message = format!("`{table}` is already the object type `{owner}` ({place})");
            problems.push(
                Problem::new(item.places.at("/table"), message)
                    .help("one table is one object type: remove one of the two"),
            );
        } else {
            let place = item.places.at("/table").to_string();
            owners.insert(named, (&item.name, place));
        }
    }
}

/// Of an object type that is captured where an event type says so, and has none, nothing is.
fn check_captured(folder: &Folder, findings: &mut Findings) {
    for item in &folder.object_types {
        let mut written = findings.catalog.event_types.values();
        let is_of = |name: &Option<String>| name.as_ref() == Some(&item.name);
        if item.spec.capture == CaptureMode::Defined
            && !written.any(|event_type| is_of(&event_type.object_type))
        {
            findings.warnings.push(Warning {
                place: Some(item.places.at("/capture")),
                message: format!(
                    "nothing of `{}` is captured until an event type of it is written down",
                    item.name
                ),
            });
        }
    }
}

fn check_secret(
    item: &Item<SubscriptionSpec>,
    environment: &dyn Fn(&str) -> Option<SecretString>,
    problems: &mut Vec<Problem>,
) {
    let Some(SecretSpec::Environment { env, .. }) = item.spec.sink.secret() else {
        return;
    };
    let scheme = item.spec.sink.scheme().unwrap_or_default();
    let (message, help) = match environment(env) {
        None => (
            format!("the environment variable `{env}` is not set"),
            "set it for the program that applies the metadata, or leave `secret` out to have one \
             generated",
        ),
        Some(value) => match Signer::parse(scheme, value.expose_secret()) {
            Ok(_) => return,
            Err(error) => (
                format!("the environment variable `{env}` holds no signing secret: {error}"),
                "leave `secret` out to have one generated",
            ),
        },
    };
    problems.push(Problem::new(item.places.at("/sink/secret/env"), message).help(help));
}

/// The tables of Rowcall's own database that the folder's object types name.
pub fn tables(folder: &Folder) -> impl Iterator<Item = &TableName> {
    let specs = folder.object_types.iter().map(|item| &item.spec);
    specs
        .filter(|spec| spec.source.is_default())
        .map(|spec| &spec.table)
}
