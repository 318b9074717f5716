//! Headers of a folder's webhooks: their values come from the environment, and from nowhere else.

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    entry::Entry,
    load::{Folder, Item},
    problem::Problem,
};
use crate::subscription::{
    credential::{Credential, slots},
    header_check::check_header_value,
    model::SubscriptionSpec,
};

/// Reports values that are written in the file, and takes them out.
pub(super) fn refuse_literals(entry: &Entry<'_>, spec: &mut SubscriptionSpec, folder: &mut Folder) {
    for slot in slots(&mut spec.sink) {
        if matches!(slot.credential, Credential::Environment { .. }) {
            continue;
        }
        *slot.credential = Credential::Kept;
        let name = slot.pointer.rsplit('/').next().unwrap_or_default();
        let message = format!("the value of `{name}` must not be written in a metadata file");
        let help = format!("write {name} = {{ env = \"NAME\" }} to take it from the environment");
        folder
            .problems
            .push(entry.problem(&slot.pointer, message).help(help));
    }
}

/// Reports variables that are not set, or whose values no header can carry.
pub(super) fn check(
    item: &Item<SubscriptionSpec>,
    environment: &dyn Fn(&str) -> Option<SecretString>,
    problems: &mut Vec<Problem>,
) {
    let mut sink = item.spec.sink.clone();
    for slot in slots(&mut sink) {
        let Credential::Environment { env, .. } = slot.credential else {
            continue;
        };
        let (message, help) = match environment(env) {
            None => (
                format!("the environment variable `{env}` is not set"),
                "set it for the program that applies the metadata",
            ),
            Some(value) => match check_header_value(value.expose_secret()) {
                Ok(()) => continue,
                Err(error) => (
                    format!("the environment variable `{env}` can't be sent in a header: {error}"),
                    "correct its value",
                ),
            },
        };
        problems.push(Problem::new(item.places.at(&slot.pointer), message).help(help));
    }
}
