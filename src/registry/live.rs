//! The catalogue and the registration list as one batch sees them, with everything made ready for
//! use.

use std::{collections::HashMap, sync::Arc, sync::Mutex, sync::PoisonError};

use uuid::Uuid;

use super::{index::Index, store::targets_load};
use crate::{
    catalog::model::{Catalog, ObjectType},
    db::{Connection, DbError},
    sink::{EmailSink, Mailer, Sink, WebhookClient, WebhookSink},
    subscription::{
        model::{SinkSpec, Subscription},
        secret::SecretKey,
        store::{Loaded, subscription_load},
    },
};

/// The registry at one revision.
pub struct Registry {
    /// The revision.
    pub revision: i64,
    /// What changes' targets mean; those of removed object types are not in it.
    pub targets: HashMap<i32, Arc<Target>>,
    /// Everything that is not deleted.
    pub subscriptions: Vec<Arc<Registered>>,
    /// Places in `subscriptions`.
    pub by_id: HashMap<Uuid, u32>,
    /// Which subscriptions an event is for.
    pub index: Index,
}

/// An object type whose table is captured.
#[derive(Debug)]
pub struct Target {
    /// The object type's full name.
    pub name: String,
    /// The metadata.
    pub object_type: ObjectType,
}

/// A subscription with its sink.
pub struct Registered {
    /// As it is registered.
    pub subscription: Subscription,
    /// Where it is told, or why it can't be.
    pub sink: Result<Arc<dyn Sink>, String>,
}

impl Registry {
    /// The id of the subscription at a place of the list.
    #[must_use]
    pub fn id(&self, place: u32) -> Uuid {
        self.subscriptions[place as usize].subscription.id
    }
}

impl Registered {
    /// What requests are counted by, so that one receiver can't take all senders.
    #[must_use]
    pub fn host(&self) -> &str {
        self.sink.as_ref().map_or("", |sink| sink.host())
    }
}

/// Keeps the registry of the last revision that was seen; clones share it.
#[derive(Clone)]
pub struct LiveRegistry {
    secret_key: Arc<SecretKey>,
    client: WebhookClient,
    mailer: Option<Mailer>,
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
            last: Arc::default(),
        }
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
        let targets = targets(connection, &catalog)?;
        let list = subscription_load(connection, &self.secret_key)?;
        for (name, reason) in &list.unreadable {
            tracing::error!(
                subscription = name,
                reason,
                "a subscription can't be read; it is sent nothing"
            );
        }
        let subscriptions: Vec<Arc<Registered>> = list
            .subscriptions
            .into_iter()
            .map(|loaded| Arc::new(self.registered(loaded)))
            .collect();
        let by_id = subscriptions
            .iter()
            .zip(0..)
            .map(|(registered, place)| (registered.subscription.id, place))
            .collect();
        let index = Index::build(&catalog, &subscriptions);
        Ok(Registry {
            revision,
            targets,
            subscriptions,
            by_id,
            index,
        })
    }

    fn registered(&self, loaded: Loaded) -> Registered {
        let Subscription { id, name, spec, .. } = &loaded.subscription;
        let sink = match &spec.sink {
            SinkSpec::Webhook { url, .. } => loaded.secret.and_then(|secret| {
                WebhookSink::new(self.client.clone(), url, secret)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>)
                    .map_err(|refusal| refusal.to_string())
            }),
            SinkSpec::Email(email) => match self.mailer.clone() {
                Some(mailer) => EmailSink::new(mailer, email, *id, name)
                    .map(|sink| Arc::new(sink) as Arc<dyn Sink>),
                None => Err("this server sends no mail: set ROWCALL_SMTP_URL".to_owned()),
            },
        };
        Registered {
            subscription: loaded.subscription,
            sink,
        }
    }
}

fn targets(
    connection: &mut Connection,
    catalog: &Catalog,
) -> Result<HashMap<i32, Arc<Target>>, DbError> {
    let mut targets = HashMap::new();
    for (id, name) in targets_load(connection)? {
        // Changes that were captured before their object type was taken out yield no events.
        if let Some(object_type) = catalog.object_types.get(&name) {
            let target = Target {
                name,
                object_type: object_type.clone(),
            };
            targets.insert(id, Arc::new(target));
        }
    }
    Ok(targets)
}
