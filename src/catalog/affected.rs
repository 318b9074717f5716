//! Who is affected by an edit without being part of it, looked up and told.

use std::collections::BTreeSet;

use super::{
    columns::{Columns, columns},
    load::Folder,
    meant::World,
    model::{Catalog, text_matches},
    names::parent,
    place::Place,
    problem::{Problem, Warning},
    shape::Shapes,
    store::{PageFilter, Stored, catalog_exists, subscription_page, subscription_unknown},
    users::{Effect, Turn, User},
    validate::Findings,
};
use crate::{
    db::{Connection, DbError},
    subscription::model::SubscriptionSpec,
};

/// Users that an answer names, at most.
const NAMED_MAX: usize = 10;

/// Subscriptions that are read at a time.
const PAGE_ROWS: i64 = 1_000;

/// Who is affected, and how.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// Who would break, by what, and how; the first of them.
    pub(super) broken: Vec<Broken>,
    /// How many more would.
    pub(super) more_broken: usize,
    /// Who is not told of something new, in words; the first of them.
    pub(super) misses: Vec<String>,
    /// How many more are not.
    pub(super) more_misses: usize,
}

/// Somebody who would break.
#[derive(Debug)]
pub(super) struct Broken {
    /// The object type or event type whose change or removal it is.
    pub(super) of: String,
    /// Who, and what is wrong then.
    pub(super) text: String,
}

/// Whose subscriptions are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those of the API: the folder's own are part of its edit.
    Api,
    /// All.
    Everyones,
}

/// Looks at the event types and constraints of `catalog`, and at the registration list.
pub(super) fn affected(
    connection: &mut Connection,
    turn: &Turn<'_>,
    catalog: &Catalog,
    whose: Whose,
) -> Result<Affected, DbError> {
    let mut affected = Affected::default();
    if turn.is_harmless() {
        return Ok(affected);
    }
    let event_types = catalog.event_types.iter();
    let event_types = event_types.map(|(name, spec)| User::EventType(name, spec));
    let constraints = catalog.constraints.iter();
    let constraints = constraints.map(|(name, entry)| User::Constraint(name, &entry.spec));
    for user in event_types.chain(constraints) {
        affected.note(turn, &user);
    }
    let which = PageFilter {
        is_api_only: whose == Whose::Api,
        is_filtered_only: !turn.loses(),
    };
    let mut after = None;
    loop {
        let rows = subscription_page(connection, which, after, PAGE_ROWS)?;
        for row in &rows {
            // One that can't be read is told of nothing as it is.
            if let Ok(spec) = serde_json::from_str::<SubscriptionSpec>(&row.definition) {
                affected.note(turn, &User::Subscription(&row.name, &spec));
            }
        }
        match rows.last() {
            Some(last) if rows.len() as i64 == PAGE_ROWS => after = Some(last.id),
            _ => return Ok(affected),
        }
    }
}

impl Affected {
    fn note(&mut self, turn: &Turn<'_>, user: &User<'_>) {
        match turn.effect(user) {
            None => {}
            Some(Effect::Breaks { of, text }) if self.broken.len() < NAMED_MAX => {
                let text = format!("{} uses it: {text}", user.name());
                self.broken.push(Broken { of, text });
            }
            Some(Effect::Breaks { .. }) => self.more_broken += 1,
            Some(Effect::Misses(text)) if self.misses.len() < NAMED_MAX => self.misses.push(text),
            Some(Effect::Misses(_)) => self.more_misses += 1,
        }
    }

    /// The texts of `misses`, with the number of those that are not among them.
    pub(super) fn misses_told(self) -> Vec<String> {
        let more = (self.more_misses > 0).then(|| {
            format!(
                "{} more are not told of something new either",
                self.more_misses
            )
        });
        self.misses.into_iter().chain(more).collect()
    }
}

/// Adds to `findings` what applying the folder does to what the API made.
pub(super) fn of_folder(
    connection: &mut Connection,
    folder: &Folder,
    stored: &Stored,
    shapes: &Shapes,
    findings: &mut Findings,
) -> Result<(), DbError> {
    let (nothing, before): (BTreeSet<String>, Columns) =
        (BTreeSet::new(), columns(&stored.catalog, shapes));
    let world = |catalog, columns| World {
        catalog,
        columns,
        refused: &nothing,
    };
    let turn = Turn::new(
        world(&stored.catalog, &before),
        world(&findings.catalog, &findings.columns),
    );
    if !catalog_exists(connection)? {
        return Ok(());
    }
    let affected = affected(connection, &turn, &stored.elsewhere, Whose::Api)?;
    let mut problems = Vec::new();
    for Broken { of, text } in &affected.broken {
        let is_gone = !folder_has(&findings.catalog, of);
        let (message, help) = if is_gone {
            (
                format!("`{of}` would go, and {text}"),
                "keep it in the folder, or change or remove what uses it first, through the API",
            )
        } else {
            (
                format!("`{of}` would change, and {text}"),
                "change or remove what uses it first, through the API",
            )
        };
        let Some(place) = place_of(folder, of) else {
            continue;
        };
        problems.push(Problem::new(place, message).help(help));
    }
    if affected.more_broken > 0
        && let Some(place) = &folder.start
    {
        let message = format!("{} more use what goes or changes", affected.more_broken);
        problems.push(Problem::new(place.clone(), message));
    }
    findings.problems.extend(problems);
    let misses = affected.misses_told().into_iter();
    let misses = misses.map(|message| Warning {
        place: None,
        message,
    });
    findings.warnings.extend(misses);
    findings
        .warnings
        .extend(unknown_subscriptions(connection, folder)?);
    Ok(())
}

/// Constraints for subscriptions that nobody has registered: maybe not yet.
fn unknown_subscriptions(
    connection: &mut Connection,
    folder: &Folder,
) -> Result<Vec<Warning>, DbError> {
    let mut warnings = Vec::new();
    for item in &folder.constraints {
        let patterns = &item.spec.applies_to.subscriptions;
        let in_folder = |pattern: &str| {
            let mut subscriptions = folder.subscriptions.iter();
            subscriptions.any(|subscription| text_matches(pattern, &subscription.name))
        };
        let asked: Vec<&str> = patterns
            .iter()
            .map(String::as_str)
            .filter(|pattern| !in_folder(pattern))
            .collect();
        if asked.is_empty() {
            continue;
        }
        for pattern in subscription_unknown(connection, true, &asked)? {
            let index = patterns.iter().position(|known| *known == pattern);
            let pointer = format!("/applies_to/subscriptions/{}", index.unwrap_or_default());
            warnings.push(Warning {
                place: Some(item.places.at(&pointer)),
                message: unknown_subscription(&pattern),
            });
        }
    }
    Ok(warnings)
}

/// What to say of a name in `applies_to.subscriptions` that nobody has.
pub(super) fn unknown_subscription(pattern: &str) -> String {
    format!("no subscription is called `{pattern}`; the constraint waits for one")
}

fn folder_has(catalog: &Catalog, name: &str) -> bool {
    catalog.object_types.contains_key(name) || catalog.event_types().any(|known| known == name)
}

/// Where the folder says something of `name`, or of what is around it.
pub(super) fn place_of(folder: &Folder, name: &str) -> Option<Place> {
    let mut around = Some(name);
    while let Some(name) = around {
        let object_type = folder.object_types.iter().find(|item| item.name == name);
        let event_type = folder.event_types.iter().find(|item| item.name == name);
        let namespace = folder.namespaces.iter().find(|item| item.name == name);
        let places = object_type
            .map(|item| &item.places)
            .or_else(|| event_type.map(|item| &item.places))
            .or_else(|| namespace.map(|item| &item.places));
        if let Some(places) = places {
            return Some(places.at(""));
        }
        around = parent(name);
    }
    folder.start.clone()
}
