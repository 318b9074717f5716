//! A second publisher that does not know of the first: as behind a pooler that keeps no session
//! locks.

use std::sync::Arc;

use rowcall::{
    capture::doorbell::Doorbell,
    config::Limits,
    db::Database,
    publish::Publish,
    registry::live::LiveRegistry,
    sink::{AddressGuard, WebhookClient},
    subscription::secret::SecretKey,
};

use crate::support::app::{SECRET_KEY, TestApp};

/// A publisher without a LISTEN session, which hands what it claims to the outbox of `app`.
pub(crate) fn without_lock(app: &TestApp) -> Publish {
    let limits = Limits::for_testing();
    let database = Database::new(&app.database.url, 2);
    let nobody = "postgres://127.0.0.1:1/none";
    let doorbell = Doorbell::new(nobody, database.clone(), None, |_| {});
    let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let client = WebhookClient::new(guard).unwrap();
    let secret_key = Arc::new(SecretKey::parse(SECRET_KEY).unwrap());
    let registry = LiveRegistry::new(secret_key, client, None);
    let outbox = app.instance.outbox.clone();
    Publish::new(
        database,
        doorbell,
        &app.database.url,
        registry,
        outbox,
        rowcall::stage::Nudge::default(),
        None,
        &limits,
    )
}
