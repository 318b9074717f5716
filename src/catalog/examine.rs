//! A folder held against the database: what is wrong with it, and what applying it would change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    affected,
    apply::ApplyError,
    conflict::{self, EditedRow, Take, catalog_edited},
    elsewhere,
    load::{Folder, Item},
    model::Catalog,
    plan::{Definitions, Kind, Plan, running, wanted},
    problem::{MetadataError, Problem},
    shape::shape_read,
    store::{RegisteredRow, Stored, catalog_current, catalog_exists, subscription_of_folder},
    validate::{Surroundings, tables, validate},
};
use crate::{
    config::{Sources, secret_from_environment},
    db::{Connection, DbError},
    foreign::look::Seen,
    sink::{AddressGuard, MailSettings},
    subscription::{model::SubscriptionSpec, register::Origin, secret::SecretKey},
};

/// A folder to be planned or applied, and what that needs.
pub struct Order {
    /// What to apply.
    pub folder: Folder,
    /// Who applies it.
    pub author: String,
    /// Why; may be empty.
    pub reason: String,
    /// Whose word holds where the API edited what the folder has; without it that is refused.
    pub take: Option<Take>,
    /// Which addresses the folder's sinks may have.
    pub guard: AddressGuard,
    /// By which mail server its mails go, if there is one.
    pub mail: Option<MailSettings>,
    /// The other databases that object types may name.
    pub sources: Sources,
    /// Encrypts the secrets of subscriptions; may be left out if there are none.
    pub secret_key: Option<Arc<SecretKey>>,
    /// Looks up an environment variable that a secret comes from.
    pub environment: fn(&str) -> Option<SecretString>,
}

impl Order {
    /// An order whose secrets come from the program's environment, and without a mail server.
    #[must_use]
    pub fn new(folder: Folder, guard: AddressGuard, secret_key: Option<Arc<SecretKey>>) -> Self {
        Self {
            folder,
            author: "rowcall".to_owned(),
            reason: String::new(),
            take: None,
            guard,
            mail: None,
            sources: Sources::default(),
            secret_key,
            environment: secret_from_environment,
        }
    }
}

/// A valid folder, and what it means here.
pub(super) struct Examined {
    /// The catalogue as it will be; its version is the running one's.
    pub(super) catalog: Catalog,
    pub(super) plan: Plan,
    pub(super) wanted: Definitions,
    /// What of the plan is not unchanged, to be looked up.
    changed: BTreeSet<(Kind, String)>,
    /// The subscriptions that were born in the folder, by name.
    pub(super) registered: BTreeMap<String, Uuid>,
}

impl Examined {
    /// Whether a subscription of the folder is new or changed, or must be written again because its
    /// objects' keys are spelled in another way now.
    pub(super) fn must_be_written(&self, item: &Item<SubscriptionSpec>) -> bool {
        let changed = |kind: Kind, name: &String| self.changed.contains(&(kind, name.clone()));
        changed(Kind::Subscription, &item.name)
            || !item.spec.object_keys.is_empty()
                && item
                    .spec
                    .object_types
                    .iter()
                    .any(|name| changed(Kind::ObjectType, name))
    }
}

/// Reads the tables and the running catalogue, judges the folder, and plans.
pub(super) fn examine(
    connection: &mut Connection,
    order: &Order,
    seen: &Seen,
) -> Result<Examined, ApplyError> {
    let mut folder = order.folder.clone();
    let (mut stored, registered, edited) = state(connection, &folder)?;
    conflict::settle(&mut folder, &mut stored, &edited, order.take);
    let folder = &folder;
    let here = stored.catalog.object_types.values();
    let here = here.filter(|spec| spec.source.is_default());
    let running_tables = here.map(|spec| &spec.table);
    let distinct: BTreeSet<_> = tables(folder).chain(running_tables).collect();
    let mut shapes = shape_read(connection, distinct)?;
    shapes.elsewhere = elsewhere::shapes(connection, order, folder, &stored.catalog, seen)?;
    let around = Surroundings {
        elsewhere: &stored.elsewhere,
        shapes: &shapes,
        guard: &order.guard,
        mail: order.mail.as_ref(),
        environment: &order.environment,
    };
    let mut findings = validate(folder, &around);
    findings.problems.extend(conflicts(folder, &registered));
    if findings.problems.is_empty() {
        affected::of_folder(connection, folder, &stored, &shapes, &mut findings)?;
    }
    if !findings.problems.is_empty() {
        return Err(MetadataError::invalid(findings.problems).into());
    }
    let wanted = wanted(folder);
    let mut plan = Plan::between(&running(&stored, &registered), &wanted);
    plan.warnings = findings.warnings;
    let folder_born = registered
        .into_iter()
        .filter(|row| row.origin == Origin::Folder);
    let changes = plan.changes.iter();
    Ok(Examined {
        catalog: findings.catalog,
        changed: changes
            .map(|change| (change.kind, change.name.clone()))
            .collect(),
        plan,
        wanted,
        registered: folder_born.map(|row| (row.name, row.id)).collect(),
    })
}

/// What runs; nothing, in a database that Rowcall has not been set up in yet.
fn state(
    connection: &mut Connection,
    folder: &Folder,
) -> Result<(Stored, Vec<RegisteredRow>, Vec<EditedRow>), DbError> {
    if !catalog_exists(connection)? {
        return Ok((Stored::default(), Vec::new(), Vec::new()));
    }
    let items = folder.subscriptions.iter();
    let names: Vec<&str> = items.map(|item| item.name.as_str()).collect();
    Ok((
        catalog_current(connection)?,
        subscription_of_folder(connection, &names)?,
        catalog_edited(connection)?,
    ))
}

/// Names of the folder that subscriptions of the API have.
fn conflicts(folder: &Folder, registered: &[RegisteredRow]) -> Vec<Problem> {
    let conflict = |item: &Item<SubscriptionSpec>| {
        let row = registered
            .iter()
            .find(|row| row.origin == Origin::Api && row.name == item.name)?;
        let owner = match &row.owner {
            Some(owner) => format!(" with the key {owner}"),
            None => String::new(),
        };
        let message = format!(
            "the name `{}` belongs to a subscription that was registered through the API{owner}",
            item.name
        );
        let help = format!(
            "choose another name, or delete that subscription first (its id is {})",
            row.id
        );
        Some(Problem::new(item.places.at(""), message).help(help))
    };
    folder.subscriptions.iter().filter_map(conflict).collect()
}
