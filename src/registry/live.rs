//! The catalogue and the registration list as one batch sees them, with everything made ready for
//! use.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::{
    filters::Filters,
    index::Index,
    registered::Registered,
    store::targets_load,
    suspended::{Suspended, SuspendedKind, constraints_suspended, event_types_suspended},
    target::Target,
    webhook::webhook,
};
use crate::{
    capture::store::SUBMITTED_TARGET,
    catalog::{
        columns::columns_load,
        model::{Catalog, Constraint, name_matches},
        shape::shape_stored,
    },
    constraint::{compile::Compiled, model::Judge},
    db::{Connection, DbError},
    digest::schedule::Schedule,
    expr::{Expression, Scope},
    observe::metrics::SUSPENDED,
    sink::{EmailSink, Mailer, Sink, WebhookClient},
    subscription::{
        model::{Mode, SinkSpec, Subscription},
        rate::rate_within,
        secret::SecretKey,
        store::{Loaded, subscription_load},
        verify::ORIGIN_DEFAULT,
    },
};

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
    pub subscriptions: Vec<Arc<Registered>>,
    /// Places in `subscriptions`.
    pub by_id: HashMap<Uuid, u32>,
    /// Which subscriptions an event is for.
    pub index: Index,
    /// Whether a subscription is synchronous-delayed.
    pub has_delayed: bool,
    /// The constraints with the versions in which they were last changed.
    pub constraints: BTreeMap<String, i64>,
    /// What is written down and can't be judged now.
    pub suspended: Vec<Suspended>,
}

impl Registry {
    /// The object type of this name, if it is captured.
    #[must_use]
    pub fn target(&self, object_type: &str) -> Option<&Arc<Target>> {
        let mut targets = self.targets.values();
        targets.find(|target| *target.name == *object_type)
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
    client: WebhookClient,
    mailer: Option<Mailer>,
    origin: Arc<str>,
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

    /// The registry at `revision`, which the caller has just read in the same transaction. Loaded
    /// again only if that is another than the last one.
    pub fn at(&self, connection: &mut Connection, revision: i64) -> Result<Arc<Registry>, DbError> {
        if let Some(last) = self.last().as_ref()
            && last.revision == revision
        {
            return Ok(Arc::clone(last));
        }
        let registry = Arc::new(self.load(connection, revision)?);
        *self.last() = Some(Arc::clone(&registry));
        Ok(registry)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Registry>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self, connection: &mut Connection, revision: i64) -> Result<Registry, DbError> {
        let catalog = Catalog::load(connection)?;
        let scopes = scopes(connection, &catalog)?;
        let (targets, targets_known) = targets(connection, &catalog, &scopes)?;
        let list = subscription_load(connection, &self.secret_key)?;
        for (name, reason) in &list.unreadable {
            tracing::error!(
                subscription = name,
                reason,
                "a subscription can't be read; it is sent nothing"
            );
        }
        let mut suspended = event_types_suspended(&catalog, &scopes);
        let mut filters = Filters::new(&catalog, &scopes);
        let constraints = constraints(&catalog, &scopes);
        let mut subscriptions = Vec::with_capacity(list.subscriptions.len());
        for loaded in list.subscriptions {
            let subscription = &loaded.subscription;
            let filtered = filters.of(&subscription.name, &subscription.spec);
            suspended.extend(filtered.suspended);
            let (grouping, ungrouped) = filters.grouping(subscription).unzip();
            suspended.extend(ungrouped.into_iter().flatten());
            let mut registered = self.registered(loaded, &catalog, filtered.fitting, &constraints);
            registered.grouping = grouping;
            subscriptions.push(Arc::new(registered));
        }
        suspended.extend(constraints_suspended(&catalog, &scopes, &constraints));
        report(&suspended);
        let by_id = subscriptions
            .iter()
            .zip(0..)
            .map(|(registered, place)| (registered.subscription.id, place))
            .collect();
        let mut index = Index::default();
        for target in targets.values() {
            index.add_object_type(&target.name, target.event_types(), &subscriptions);
        }
        for name in catalog.api_event_types() {
            index.add_event_type(&name.into(), &subscriptions);
        }
        let is_delayed = |registered: &Arc<Registered>| {
            registered.subscription.spec.mode == Mode::SynchronousDelayed
        };
        Ok(Registry {
            revision,
            has_delayed: subscriptions.iter().any(is_delayed),
            constraints: catalog
                .constraints
                .iter()
                .map(|(name, constraint)| (name.clone(), constraint.version))
                .collect(),
            targets,
            targets_known,
            subscriptions,
            by_id,
            index,
            suspended,
        })
    }

    fn registered(
        &self,
        loaded: Loaded,
        catalog: &Catalog,
        filters: HashMap<Arc<str>, Expression>,
        constraints: &[Arc<Compiled>],
    ) -> Registered {
        let subscription = &loaded.subscription;
        let Subscription { id, name, spec, .. } = subscription;
        let sink = match &spec.sink {
            SinkSpec::Webhook { .. } => webhook(self.client.clone(), &self.origin, &loaded)
                .map(|sink| Arc::new(sink) as Arc<dyn Sink>),
            SinkSpec::Email(email) => match self.mailer.clone() {
                Some(mailer) => EmailSink::new(mailer, email, *id, name)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>),
                None => Err("this server sends no mail: set ROWCALL_SMTP_URL".to_owned()),
            },
        };
        let labels = &spec.labels;
        let constraints: Vec<Arc<Compiled>> = constraints
            .iter()
            .filter(|constraint| constraint.is_for_subscription(name, labels))
            .cloned()
            .collect();
        Registered {
            digest_constraints: on_digests(subscription, catalog, &constraints),
            constraints,
            filters,
            schedule: schedule(&loaded.subscription),
            grouping: None,
            rate: rate_within(spec.rate(), loaded.allowed_per_minute),
            subscription: loaded.subscription,
            sink,
        }
    }
}

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

/// Once for each revision.
fn report(suspended: &[Suspended]) {
    for kind in SuspendedKind::ALL {
        let of_kind = suspended.iter().filter(|one| one.kind == kind);
        metrics::gauge!(SUSPENDED, "kind" => kind.as_str()).set(of_kind.count() as f64);
    }
    for one in suspended.iter().take(REPORTED_MAX) {
        tracing::warn!(name = one.name, "{one}");
    }
    if suspended.len() > REPORTED_MAX {
        let more = suspended.len() - REPORTED_MAX;
        tracing::warn!(more, "more is suspended; `rowcall doctor` names all of it");
    }
}

/// A digest is no event, so what looks at events is judged when they are gathered. What only looks
/// at the clock is judged when the digest is sent, if it is for any event in it.
fn on_digests(
    subscription: &Subscription,
    catalog: &Catalog,
    constraints: &[Arc<Compiled>],
) -> Vec<Arc<Compiled>> {
    if subscription.spec.mode != Mode::Batch {
        return Vec::new();
    }
    let spec = &subscription.spec;
    let is_named = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| name_matches(pattern, name))
    };
    let mut meant: Vec<(Option<&str>, String)> = Vec::new();
    for object_type in catalog.object_types.keys() {
        let is_whole = is_named(&spec.object_types, object_type);
        let event_types = catalog.event_types_of(object_type);
        meant.extend(
            event_types
                .filter(|name| is_whole || is_named(&spec.event_types, name))
                .map(|name| (Some(object_type.as_str()), name)),
        );
    }
    let of_api = catalog.api_event_types();
    let of_api = of_api.filter(|name| is_named(&spec.event_types, name));
    meant.extend(of_api.map(|name| (None, name.to_owned())));
    constraints
        .iter()
        .filter(|constraint| constraint.judge != Judge::AtEvent && !constraint.has_condition())
        .filter(|constraint| {
            meant
                .iter()
                .any(|(object_type, event_type)| constraint.is_for_event(event_type, *object_type))
        })
        .cloned()
        .collect()
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

/// The schedule of a batch subscription. It was checked when it was registered; one that can't be
/// used all the same, for instance because its time zone has gone, is replaced.
fn schedule(subscription: &Subscription) -> Option<Schedule> {
    if subscription.spec.mode != Mode::Batch {
        return None;
    }
    let given = subscription.spec.schedule.as_ref();
    let compiled = given.map(Schedule::compile);
    Some(compiled.and_then(Result::ok).unwrap_or_else(|| {
        tracing::error!(
            subscription = subscription.name,
            "the schedule can't be used; digests are sent hourly until it is given anew"
        );
        Schedule::fallback()
    }))
}

/// Object types by the numbers that changes carry.
type Targets = HashMap<i32, Arc<Target>>;

/// The targets of object types that are in the catalogue, and the numbers of all.
fn targets(
    connection: &mut Connection,
    catalog: &Catalog,
    scopes: &Scopes,
) -> Result<(Targets, HashSet<i32>), DbError> {
    let mut targets = HashMap::new();
    // What the API accepted has no target of its own.
    let mut known = HashSet::from([SUBMITTED_TARGET]);
    for found in targets_load(connection)? {
        known.insert(found.id);
        let name = found.object_type.as_str();
        // Changes that were captured before their object type was taken out yield no events.
        let Some(object_type) = catalog.object_types.get(name) else {
            continue;
        };
        // Of a table that is gone there may be changes still: they are published, though nothing
        // can be said of its columns any more.
        let scope = scopes.get(name);
        let partitioned_by = if object_type.source.is_default() {
            found.partitioned_by
        } else {
            let mut tables = shape_stored(connection, &object_type.source)?;
            let shape = tables.remove(&object_type.table);
            shape.map(|shape| shape.partitioned_by).unwrap_or_default()
        };
        let target = Target::new(
            &found.source,
            name,
            object_type,
            catalog,
            scope,
            partitioned_by,
        );
        targets.insert(found.id, Arc::new(target));
    }
    Ok((targets, known))
}
