//! A router with a database of its own, and what is asked of it.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, header},
};
use chrono::{DateTime, Utc};
use diesel::{
    RunQueryDsl as _, sql_query,
    sql_types::{Array, BigInt, Text},
};
use rowcall::{
    account::Accounts,
    api::{ApiState, Intake, router},
    auth::{AdminKey, Keys, Role, store::key_create},
    clock::Clock,
    config::Limits,
    db::Database,
    observe::readiness::Readiness,
    sink::{AddressGuard, MailSettings},
    stage::Nudge,
    subscription::{secret::SecretKey, verify::Verify},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::postgres::{TestDatabase, execute};

pub(crate) const ADMIN_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Two object types: one with a single key, one with a key of two columns whose types have bounds.
pub(crate) const CATALOGUE: &str = r#"
    create table public.orders (id integer primary key, status text);
    create table public.parts (code varchar(5), lot numeric(8,2), primary key (code, lot));
    insert into rowcall.catalog_version values (1, now(), 'test', 'test', 'api', null);
    insert into rowcall.catalog_item (kind, name, origin, definition, version_from) values
        ('namespace', 'sales', 'api', '{}', 1),
        ('object_type', 'sales.order', 'api', '{"table": "public.orders", "key": ["id"]}', 1),
        ('object_type', 'sales.part', 'api',
            '{"table": "public.parts", "key": ["code", "lot"]}', 1);
"#;

pub(crate) struct Api {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Clock,
    pub(crate) secret_key: Arc<SecretKey>,
    pub(crate) readiness: Readiness,
    router: Router,
}

/// What the repository holds after registrations.
#[derive(diesel::QueryableByName)]
pub(crate) struct Stored {
    #[diesel(sql_type = BigInt)]
    pub(crate) revision: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) sequences: i64,
    #[diesel(sql_type = Array<Text>)]
    pub(crate) object_key_texts: Vec<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null if the body is no JSON.
    pub(crate) json: Value,
}

/// A mail server that no test of the API connects to.
fn mail_settings() -> MailSettings {
    let url = SecretString::from("smtps://mail.example.com");
    MailSettings::parse(&url, Some("rowcall@example.com")).unwrap()
}

impl Api {
    pub(crate) fn start() -> Self {
        let database = TestDatabase::create();
        execute(&database.url, CATALOGUE);
        Self::on(database)
    }

    pub(crate) fn on(database: TestDatabase) -> Self {
        Self::verifying(database, Verify::None)
    }

    pub(crate) fn verifying(database: TestDatabase, verify: Verify) -> Self {
        Self::built(database, verify, |_| {})
    }

    /// With other limits than most tests have.
    pub(crate) fn limited(database: TestDatabase, limit: impl FnOnce(&mut Limits)) -> Self {
        Self::built(database, Verify::None, limit)
    }

    fn built(database: TestDatabase, verify: Verify, limit: impl FnOnce(&mut Limits)) -> Self {
        let clock = Clock::manual("2026-01-31T08:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let secret_key = Arc::new(SecretKey::parse(&"5a".repeat(32)).unwrap());
        let readiness = Readiness::default();
        let mut limits = Limits {
            body_bytes_max: 10_000,
            event_bytes_max: 2_000,
            events_per_request_max: 20,
            ..Limits::for_testing()
        };
        limit(&mut limits);
        let pool = Database::new(&database.url, limits.connections_max);
        let state = ApiState {
            keys: Keys::new(pool.clone()),
            intake: Intake::new(pool.clone(), clock.clone(), &limits),
            database: pool,
            clock: clock.clone(),
            secret_key: Arc::clone(&secret_key),
            guard: Arc::new(AddressGuard::new(Vec::new())),
            mail: Some(Arc::new(mail_settings())),
            admin_key: Some(AdminKey::new(&SecretString::from(ADMIN_KEY))),
            limits,
            verify,
            wake: Nudge::default(),
            replays: Nudge::default(),
            ask: Nudge::default(),
            readiness: readiness.clone(),
            accounts: Accounts::new(readiness.clone(), 60),
        };
        Self {
            database,
            clock,
            secret_key,
            readiness,
            router: router(state),
        }
    }

    /// All routes, for who has a socket.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// A new key of `role`.
    pub(crate) fn key(&self, role: Role) -> String {
        let mut connection = self.database.connect();
        key_create(&mut connection, "test", role, self.clock.now())
            .unwrap()
            .expose()
    }

    /// The state of the repository; of several subscriptions the latest.
    pub(crate) fn stored(&self) -> Stored {
        sql_query(
            "select (select revision from rowcall.registry) as revision, \
             (select count(*) from rowcall.subscription_sequence) as sequences, \
             coalesce((select object_key_texts from rowcall.subscription \
                 order by id desc limit 1), '{}') as object_key_texts",
        )
        .get_result(&mut self.database.connect())
        .unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10_000_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub(crate) async fn call(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        self.send(
            request(key, method, path)
                .body(Body::from(body.to_owned()))
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(ADMIN_KEY, "GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(ADMIN_KEY, "POST", path, &body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(ADMIN_KEY, "PATCH", path, &body.to_string()).await
    }

    /// Registers [`order_subscription`] and returns its id.
    pub(crate) async fn registered(&self, key: &str, name: &str) -> String {
        let body = order_subscription(name).to_string();
        let answer = self.call(key, "POST", "/v1/subscriptions", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn request(key: &str, method: &str, path: &str) -> axum::http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    let builder = builder.header(header::CONTENT_TYPE, "application/json");
    if key.is_empty() {
        builder
    } else {
        builder.header(header::AUTHORIZATION, format!("Bearer {key}"))
    }
}

pub(crate) fn order_subscription(name: &str) -> Value {
    json!({
        "name": name,
        "event_types": ["sales.order.*"],
        "mode": "synchronous",
        "sink": {"kind": "webhook", "url": "https://erp.example.com/hooks"},
    })
}

impl Answer {
    /// Asserts that this is the problem `slug`, whose text says all of `says`.
    pub(crate) fn is_problem(&self, status: u16, slug: &str, says: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.json["type"],
            format!("/problems/{slug}"),
            "{}",
            self.text
        );
        assert_eq!(self.json["status"], status);
        assert!(self.json["title"].is_string() && self.json["detail"].is_string());
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        for part in says {
            assert!(
                self.json.to_string().contains(part),
                "`{part}` is not in {}",
                self.text
            );
        }
    }

    /// The pointers of the errors.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.json["errors"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        errors
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect()
    }
}
