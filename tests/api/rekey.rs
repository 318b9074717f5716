//! Another secret key for a repository: what was encrypted stays readable, and is encrypted anew.

use rowcall::{
    db::Connection,
    observe::readiness::Readiness,
    registry::secret_key_check,
    subscription::{
        list::store::subscription_load,
        rekey::{Rekeyed, keys_used, missing_keys_tell, rekey_batch},
        sealed::store::{ciphertext_list, ciphertext_replace},
        secret::{Purpose, SecretKey},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    harness::{Api, order_subscription},
    support::postgres::execute,
};

const OLD: &str = "5a";
const NEW: &str = "6b";

fn key(pair: &str) -> SecretKey {
    SecretKey::parse(&pair.repeat(32)).unwrap()
}

fn both() -> SecretKey {
    key(NEW).with_former([OLD.repeat(32).as_str()]).unwrap()
}

/// Subscriptions with a secret, a previous one and a header each.
async fn secrets(count: usize) -> Api {
    let api = Api::start();
    for number in 0..count {
        let mut body = order_subscription(&format!("erp-{number}"));
        body["sink"]["bearer"] = json!(format!("token-{number}"));
        let made = api.post("/v1/subscriptions", &body).await;
        let path = format!(
            "/v1/subscriptions/{}/rotate-secret",
            made.json["id"].as_str().unwrap()
        );
        assert_eq!(api.post(&path, &json!({})).await.status, 200);
    }
    api
}

/// Every secret, opened; or how many can't be.
fn opened(connection: &mut Connection, key: &SecretKey) -> Result<Vec<String>, usize> {
    let list = subscription_load(connection, key).unwrap();
    let (mut texts, mut closed) = (Vec::new(), 0);
    for one in list.subscriptions {
        match (one.secret, one.kept.previous, one.kept.credentials) {
            (Ok(secret), Some((previous, _)), Ok(credentials)) => {
                texts.extend([secret.expose(), previous.expose()]);
                texts.push(secrecy::ExposeSecret::expose_secret(&credentials.to_text()).to_owned());
            }
            _ => closed += 1,
        }
    }
    if closed == 0 { Ok(texts) } else { Err(closed) }
}

#[tokio::test]
async fn everything_is_encrypted_anew_in_batches_that_may_be_ended() {
    // GIVEN secrets under one key; one is as it was before the ids of keys were kept
    let api = secrets(5).await;
    let mut connection = api.database.connect();
    execute(
        &api.database.url,
        "update rowcall.subscription set secret_key_id = null where name = 'erp-2'",
    );
    let before = opened(&mut connection, &key(OLD)).unwrap();
    assert_eq!(before.len(), 15);
    assert_eq!(opened(&mut connection, &both()).unwrap(), before);
    assert_eq!(opened(&mut connection, &key(NEW)), Err(5));

    // WHEN it is ended after two batches, and begun again
    let mut so_far = Rekeyed::default();
    for _ in 0..2 {
        so_far = rekey_batch(&mut connection, &both(), so_far, 4).unwrap();
    }
    assert_eq!((so_far.done, so_far.is_ended()), (8, false));
    assert_eq!(opened(&mut connection, &both()).unwrap(), before);
    let mut so_far = Rekeyed::default();
    // One at a time, so that each batch ends inside a subscription.
    while !so_far.is_ended() {
        so_far = rekey_batch(&mut connection, &both(), so_far, 1).unwrap();
    }

    // THEN the rest is done, the old key opens nothing, and the new one all
    assert_eq!(
        (so_far.done, so_far.raced, so_far.unreadable.len()),
        (7, 0, 0)
    );
    assert_eq!(opened(&mut connection, &key(NEW)).unwrap(), before);
    assert_eq!(opened(&mut connection, &key(OLD)), Err(5));
    let used = keys_used(&mut connection).unwrap();
    let used: Vec<_> = used
        .iter()
        .map(|one| (one.key_id.clone(), one.count))
        .collect();
    assert_eq!(used, [(Some(key(NEW).id()), 15)]);
    let again = rekey_batch(&mut connection, &both(), Rekeyed::default(), 4).unwrap();
    assert_eq!((again.done, again.is_ended()), (0, true));
}

#[tokio::test]
async fn a_missing_key_is_named_and_disturbs_nobody_else() {
    // GIVEN secrets under two keys, of which the old one is not known any more
    let api = secrets(2).await;
    let mut connection = api.database.connect();
    let first = rekey_batch(&mut connection, &both(), Rekeyed::default(), 3).unwrap();
    assert_eq!(first.done, 3);

    // WHEN all are loaded, THEN one is as ever, and of the other it is said which key is missing
    let list = subscription_load(&mut connection, &key(NEW)).unwrap();
    assert!(list.subscriptions[0].secret.is_ok());
    let reason = list.subscriptions[1].secret.as_ref().unwrap_err();
    let old = key(OLD).id();
    assert!(
        reason.contains(&old) && reason.contains("ROWCALL_SECRET_KEYS_OLD"),
        "{reason}"
    );
    let readiness = Readiness::default();
    let database = rowcall::db::Database::new(&api.database.url, 1);
    missing_keys_tell(&database, key(NEW).ids(), &readiness)
        .await
        .unwrap();
    let warnings = readiness.report().warnings;
    assert!(
        warnings[0].contains(&format!("3 with the key {old}")),
        "{warnings:?}"
    );
    missing_keys_tell(&database, both().ids(), &readiness)
        .await
        .unwrap();
    assert!(readiness.report().warnings.is_empty());

    // WHEN it is encrypted anew without that key, THEN it is counted and left as it is
    let tried = rekey_batch(&mut connection, &key(NEW), Rekeyed::default(), 100).unwrap();
    assert_eq!((tried.done, tried.unreadable), (0, [(old, 3)].into()));
    assert!(opened(&mut connection, &both()).is_ok());
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_one_that_it_knows() {
    let api = Api::start();
    let mut connection = api.database.connect();
    secret_key_check(&mut connection, &key(OLD)).unwrap();
    assert!(secret_key_check(&mut connection, &key(NEW)).is_err());
    secret_key_check(&mut connection, &both()).unwrap();
    secret_key_check(&mut connection, &key(NEW)).unwrap();
    let error = secret_key_check(&mut connection, &key(OLD)).unwrap_err();
    assert!(error.to_string().contains(&key(NEW).id()), "{error}");
}

#[tokio::test]
async fn what_was_written_meanwhile_is_not_written_over() {
    // GIVEN secrets that were read to be encrypted anew
    let api = secrets(1).await;
    let mut connection = api.database.connect();
    let new = both();
    let read = ciphertext_list(&mut connection, &new.id(), (Uuid::nil(), ""), 10).unwrap();
    assert_eq!(read.len(), 3);
    let before = opened(&mut connection, &key(OLD)).unwrap();

    // WHEN its owner gives the subscription others before they are written
    let path = format!("/v1/subscriptions/{}", read[0].subscription_id);
    let rotated = api.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let changed = api
        .patch(&path, &json!({"sink": {"bearer": "other"}}))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let now = opened(&mut connection, &key(OLD)).unwrap();
    assert!(
        now.iter().zip(&before).all(|(now, before)| now != before),
        "{now:?}"
    );

    // THEN what was read is written nowhere
    for one in &read {
        let purpose = Purpose::parse(&one.kind).unwrap();
        let id = one.subscription_id;
        let secret = new
            .open_for(id, purpose, one.key_id.as_deref(), &one.sealed)
            .unwrap();
        let sealed = new.seal_for(id, purpose, &secret).unwrap();
        let is_written = ciphertext_replace(&mut connection, one, &sealed, &new.id()).unwrap();
        assert!(!is_written, "{}", one.kind);
    }
    assert_eq!(opened(&mut connection, &key(OLD)).unwrap(), now);
}
