//! The catalogue and the registration list as one batch sees them, with everything made ready for
//! use.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

pub use super::ground::{Scopes, Targets};
use super::{
    filters::Filters,
    ground::Ground,
    index::{Candidate, Candidates, Index, Query, is_for},
    maker::Maker,
    registered::Registered,
    roster::{Places, Roster},
    store::registry_edits,
    suspended::{Suspended, SuspendedKind, constraints_suspended, event_types_suspended},
    target::Target,
};
use crate::{
    catalog::model::Catalog,
    db::{Connection, DbError},
    observe::metrics::SUSPENDED,
    sink::{Mailer, WebhookClient},
    subscription::{
        list::{RegistrationList, Wanted, store::subscription_list},
        model::Mode,
        sealed::kept_load,
        secret::SecretKey,
        verify::ORIGIN_DEFAULT,
    },
};

/// Subscriptions that are read with one statement.
const PAGE: i64 = 2_000;
/// Suspended conditions that are named in the log when the registry is loaded.
const REPORTED_MAX: usize = 20;

/// The registry at one revision.
pub struct Registry {
    /// The revision.
    pub revision: i64,
    /// What changes' targets mean; those of removed object types are not in it.
    pub targets: Targets,
    /// The targets that were known when it was loaded, those of removed object types included.
    targets_known: HashSet<i32>,
    /// Everything that is not deleted.
    pub subscriptions: Roster,
    /// Places in `subscriptions`.
    pub by_id: Places,
    /// Which subscriptions an event is for.
    pub index: Index,
    /// Whether a subscription is, or lately was, synchronous-delayed.
    pub has_delayed: bool,
    /// The constraints with the versions in which they were last changed.
    pub constraints: BTreeMap<String, i64>,
    /// What is written down and can't be judged now.
    pub suspended: Vec<Suspended>,
    ground: Arc<Ground>,
}

impl Registry {
    /// The catalogue that it was made of.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.ground.catalog
    }

    /// The object type of this name, if it is captured.
    #[must_use]
    pub fn target(&self, object_type: &str) -> Option<&Arc<Target>> {
        let mut targets = self.targets.values();
        targets.find(|target| *target.name == *object_type)
    }

    /// After these edits of subscriptions, up to `revision`, of which `new` is suspended.
    fn with(
        &self,
        edits: Vec<(Uuid, Option<Registered>)>,
        new: &[Suspended],
        revision: i64,
    ) -> Self {
        let places = edits.iter().filter_map(|(id, _)| self.by_id.get(id));
        let names: HashSet<&str> = places
            .map(|place| &*self.subscriptions[*place as usize].subscription.name)
            .collect();
        let is_same = |one: &&Suspended| {
            let is_subscriptions =
                matches!(one.kind, SuspendedKind::Filter | SuspendedKind::GroupBy);
            !(is_subscriptions && names.contains(one.name.as_str()))
        };
        let mut suspended: Vec<_> = self.suspended.iter().filter(is_same).cloned().collect();
        suspended.extend(new.iter().cloned());
        report(&suspended, new);
        let (mut subscriptions, mut by_id) = self.subscriptions.edited(&self.by_id, edits);
        let index = if subscriptions.is_worn() {
            let all = subscriptions.iter().cloned().collect();
            (subscriptions, by_id) = Roster::new(all);
            self.index.anew(&placed(subscriptions.placed()))
        } else {
            let since = placed(subscriptions.placed_since());
            self.index.with(subscriptions.edited_places(), &since)
        };
        let has_delayed = subscriptions.placed_since().any(|(_, one)| is_delayed(one));
        Self {
            revision,
            targets: self.targets.clone(),
            targets_known: self.targets_known.clone(),
            has_delayed: self.has_delayed || has_delayed,
            constraints: self.constraints.clone(),
            ground: Arc::clone(&self.ground),
            subscriptions,
            by_id,
            index,
            suspended,
        }
    }

    /// The subscription with this id, if it asks for such events; otherwise nobody.
    #[must_use]
    pub fn alone(&self, id: Uuid, query: Query<'_>) -> Candidates {
        let place = self.by_id.get(&id).copied();
        let asks = |place: &u32| is_for(&self.subscriptions[*place as usize], query);
        let candidate = place.filter(asks).map(|place| {
            let registered = &self.subscriptions[place as usize];
            Candidate::new(place, registered, query.object_type)
        });
        Candidates::new(candidate.into_iter().collect())
    }

    /// The id of the subscription at a place of the list.
    #[must_use]
    pub fn id(&self, place: u32) -> Uuid {
        self.subscriptions[place as usize].subscription.id
    }
}

/// Keeps the registry of the last revision that was seen; clones share it.
#[derive(Clone)]
pub struct LiveRegistry {
    secret_key: Arc<SecretKey>,
    pub(super) client: WebhookClient,
    pub(super) mailer: Option<Mailer>,
    pub(super) origin: Arc<str>,
    last: Arc<Mutex<Option<Arc<Registry>>>>,
}

impl LiveRegistry {
    /// An empty one; the first use loads it. Without a mailer, subscriptions of mails wait.
    #[must_use]
    pub fn new(secret_key: Arc<SecretKey>, client: WebhookClient, mailer: Option<Mailer>) -> Self {
        Self {
            secret_key,
            client,
            mailer,
            origin: ORIGIN_DEFAULT.into(),
            last: Arc::default(),
        }
    }

    /// The same, naming `origin` to receivers that have consented to it.
    #[must_use]
    pub fn asking_as(mut self, origin: &str) -> Self {
        self.origin = origin.into();
        self
    }

    /// As [`Self::at`], for changes of these targets: loaded again if one of them is not known yet.
    /// A table that was made anew has another target, which raises no revision.
    ///
    /// # Errors
    ///
    /// Only those of the database.
    pub fn knowing(
        &self,
        connection: &mut Connection,
        revision: i64,
        targets: impl IntoIterator<Item = i32>,
    ) -> Result<Arc<Registry>, DbError> {
        let registry = self.at(connection, revision)?;
        let mut targets = targets.into_iter();
        if targets.all(|target| registry.targets_known.contains(&target)) {
            return Ok(registry);
        }
        *self.last() = None;
        self.at(connection, revision)
    }

    /// The registry at `revision`, which the caller has just read in the same transaction. If that
    /// is another than the last one, what was edited since is read; or all of it, if that was more
    /// than single subscriptions.
    pub fn at(&self, connection: &mut Connection, revision: i64) -> Result<Arc<Registry>, DbError> {
        if let Some(last) = self.last().as_ref()
            && last.revision == revision
        {
            return Ok(Arc::clone(last));
        }
        let last = self.last().clone();
        let edited = match last {
            Some(last) => self.edited(connection, &last, revision)?,
            None => None,
        };
        let registry = match edited {
            Some(registry) => registry,
            None => self.load(connection, revision)?,
        };
        let registry = Arc::new(registry);
        *self.last() = Some(Arc::clone(&registry));
        Ok(registry)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Registry>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, connection: &mut Connection, revision: i64) -> Result<Registry, DbError> {
        let ground = Ground::load(connection)?;
        let (targets, targets_known) = ground.targets(connection)?;
        let mut suspended = event_types_suspended(&ground.catalog, &ground.scopes);
        let mut maker = self.maker(&ground);
        let mut subscriptions = Vec::new();
        let mut kept = kept_load(connection, &self.secret_key, None)?;
        let mut after = None;
        loop {
            // By pages: read and made, the list would be in memory twice.
            let page = Wanted::Page(after, PAGE);
            let list = subscription_list(connection, &self.secret_key, page, &mut kept)?;
            report_unreadable(&list);
            let made = list.subscriptions.into_iter();
            subscriptions.extend(made.map(|one| Arc::new(maker.make(one, &mut suspended))));
            match list.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let constraints = &ground.constraints;
        suspended.extend(constraints_suspended(
            &ground.catalog,
            &ground.scopes,
            constraints,
        ));
        report(&suspended, &suspended);
        let names = ground.names(&targets);
        let (subscriptions, by_id) = Roster::new(subscriptions);
        let has_delayed = subscriptions.iter().any(is_delayed);
        let index = Index::new(names, &placed(subscriptions.placed()));
        Ok(Registry {
            revision,
            has_delayed,
            constraints: ground.constraint_versions(),
            targets,
            targets_known,
            index,
            subscriptions,
            by_id,
            suspended,
            ground: Arc::new(ground),
        })
    }

    /// `last` after the edits up to `revision`; `None` if these were not only of subscriptions, or
    /// tables have other columns than those that conditions were compiled for.
    fn edited(
        &self,
        connection: &mut Connection,
        last: &Registry,
        revision: i64,
    ) -> Result<Option<Registry>, DbError> {
        let Some(ids) = registry_edits(connection, last.revision, revision)? else {
            return Ok(None);
        };
        let ground = &last.ground;
        if !ground.is_current(connection)? {
            return Ok(None);
        }
        let mut kept = HashMap::new();
        for id in &ids {
            kept.extend(kept_load(connection, &self.secret_key, Some(*id))?);
        }
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let only = Wanted::Only(&ids);
        let list = subscription_list(connection, &self.secret_key, only, &mut kept)?;
        report_unreadable(&list);
        let mut maker = self.maker(ground);
        let mut suspended = Vec::new();
        let made = list.subscriptions.into_iter();
        let mut made: HashMap<Uuid, Registered> = made
            .map(|one| (one.subscription.id, maker.make(one, &mut suspended)))
            .collect();
        let edits: Vec<_> = ids.iter().map(|id| (*id, made.remove(id))).collect();
        Ok(Some(last.with(edits, &suspended, revision)))
    }

    fn maker<'a>(&'a self, ground: &'a Ground) -> Maker<'a> {
        Maker {
            live: self,
            catalog: &ground.catalog,
            constraints: &ground.constraints,
            filters: Filters::new(&ground.catalog, &ground.scopes),
        }
    }
}

fn report_unreadable(list: &RegistrationList) {
    for (name, reason) in &list.unreadable {
        tracing::error!(
            subscription = name,
            reason,
            "a subscription can't be read; it is sent nothing"
        );
    }
}

/// Once for each revision: counts all that is suspended, and tells what of it is `new`.
fn report(all: &[Suspended], new: &[Suspended]) {
    for kind in SuspendedKind::ALL {
        let of_kind = all.iter().filter(|one| one.kind == kind);
        metrics::gauge!(SUSPENDED, "kind" => kind.as_str()).set(of_kind.count() as f64);
    }
    for one in new.iter().take(REPORTED_MAX) {
        tracing::warn!(name = one.name, "{one}");
    }
    if new.len() > REPORTED_MAX {
        let more = new.len() - REPORTED_MAX;
        tracing::warn!(more, "more is suspended; `rowcall doctor` names all of it");
    }
}

fn is_delayed(registered: &Arc<Registered>) -> bool {
    registered.subscription.spec.mode == Mode::SynchronousDelayed
}

/// The list as the index takes it.
fn placed<'a>(
    list: impl Iterator<Item = (u32, &'a Arc<Registered>)>,
) -> Vec<(u32, &'a Registered)> {
    list.map(|(place, registered)| (place, &**registered))
        .collect()
}
