//! A secret is in the answer to the registration that made it, and nowhere else.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rowcall::subscription::list::store::subscription_load;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{ADMIN_KEY, Api, order_subscription};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn no_answer_log_or_debug_text_tells_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let api = Api::start();

    // GIVEN a registration that brings its secret
    let mut body = order_subscription("erp");
    body["sink"]["secret"] = json!(SECRET);
    body["sink"]["headers"] = json!({"X-Api-Key": "whsec_Mhunter2"});
    body["sink"]["basic"] = json!({"user": "me", "password": "whsec_Mhunter2"});
    let made = api.post("/v1/subscriptions", &body).await;
    assert_eq!(made.json["secret"], SECRET);
    assert_eq!(made.json["sink"].get("secret"), None);
    let path = format!("/v1/subscriptions/{}", made.json["id"].as_str().unwrap());

    // WHEN it is shown, listed, changed and refused
    let mut refused = order_subscription("erp");
    refused["sink"]["secret"] = json!(format!("{SECRET}%"));
    for answer in [
        api.get(&path).await,
        api.get("/v1/subscriptions").await,
        api.patch(&path, &json!({"sink": {"secret": SECRET}})).await,
        api.patch(&path, &json!({"state": "paused"})).await,
        api.post("/v1/subscriptions", &refused).await,
        api.patch(&path, &json!({"sink": {"bearer": "whsec_Mhunter2"}}))
            .await,
        api.patch(
            &path,
            &json!({"sink": {"headers": {"X": ["whsec_Mhunter2"]}}}),
        )
        .await,
        api.patch(
            &path,
            &json!({"sink": {"headers": {"X": "whsec_Mhunter2\n"}}}),
        )
        .await,
        api.patch(&path, &json!({"labels": {"a": "b"}})).await,
        api.post("/v1/subscriptions", &body).await,
    ] {
        assert!(!answer.text.contains("whsec_M"), "{}", answer.text);
    }

    // THEN its sender has it, and no text of it shows it
    let list = subscription_load(&mut api.database.connect(), &api.secret_key).unwrap();
    let loaded = &list.subscriptions[0];
    assert_eq!(loaded.secret.as_ref().unwrap().expose(), SECRET);
    let shown = format!("{list:?}");
    assert!(!shown.contains("MfKQ9r8") && !shown.contains("hunter2"));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        !logged.contains("MfKQ9r8") && !logged.contains("hunter2") && !logged.contains(ADMIN_KEY),
        "{logged}"
    );
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_fails_its_subscription_only() {
    let api = Api::start();
    api.registered(ADMIN_KEY, "good").await;
    api.clock.advance(chrono::TimeDelta::seconds(1));
    api.registered(ADMIN_KEY, "bad").await;
    crate::support::postgres::execute(
        &api.database.url,
        "update rowcall.subscription set secret = set_byte(secret, 30, get_byte(secret, 30) # 1) \
         where name = 'bad'",
    );
    let list = subscription_load(&mut api.database.connect(), &api.secret_key).unwrap();
    let secrets: Vec<bool> = list
        .subscriptions
        .iter()
        .map(|one| one.secret.is_ok())
        .collect();
    assert_eq!(secrets, [true, false]);
    let reason = list.subscriptions[1].secret.as_ref().unwrap_err();
    assert!(reason.contains("ROWCALL_SECRET_KEY"), "{reason}");
}

#[tokio::test]
async fn a_wrong_secret_key_is_noticed_before_anything_is_sent() {
    use rowcall::{registry::secret_key_check, subscription::secret::SecretKey};
    let api = Api::start();
    let mut connection = api.database.connect();
    secret_key_check(&mut connection, &api.secret_key).unwrap();
    secret_key_check(&mut connection, &api.secret_key).unwrap();
    let other = SecretKey::parse(&"6b".repeat(32)).unwrap();
    let error = secret_key_check(&mut connection, &other).unwrap_err();
    assert!(error.to_string().contains(&other.id()), "{error}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("the key that was used before"), "{help}");
}
