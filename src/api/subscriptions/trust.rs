//! How a subscription's receiver knows Rowcall, and whether it wants to: signing keys and their
//! rotation, headers, consent.

use std::{collections::HashMap, time::Duration};

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Shown, found, store};
use crate::{
    api::{
        ApiState,
        caller::Caller,
        fields::spec_of,
        idempotency::Memory,
        input::{Body, Id},
        problem::{Kind, Problem},
    },
    auth::Action,
    db::Connection,
    registry::registry_lock,
    subscription::{
        model::SubscriptionSpec,
        register::{RegisterError, SpecProblem},
        rotation::{OVERLAP_DEFAULT, Rotated, secret_rotate, secret_rotated},
        secret::SecretKey,
        verify::Verify,
    },
    verification::{
        change::verification_ask_again,
        store::{VerificationRow, verification_list},
    },
};

/// What is shown of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct TrustShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// While a rotation goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationShown>,
}

#[derive(Debug, Serialize)]
struct VerificationShown {
    state: String,
    attempts: i32,
    asked_at: DateTime<Utc>,
    next_at: Option<DateTime<Utc>>,
    granted_at: Option<DateTime<Utc>>,
    rate_per_minute: Option<i64>,
    detail: Option<String>,
}

impl From<VerificationRow> for VerificationShown {
    fn from(row: VerificationRow) -> Self {
        Self {
            state: row.state,
            attempts: row.attempts,
            asked_at: row.asked_at,
            next_at: row.due_at,
            granted_at: row.granted_at,
            rate_per_minute: row.rate_per_minute,
            detail: row.detail,
        }
    }
}

/// Adds it to what is shown.
pub(super) fn mark(connection: &mut Connection, shown: &mut [Shown]) -> Result<(), Problem> {
    let ids: Vec<Uuid> = shown.iter().map(|one| one.id).collect();
    let mut asked: HashMap<Uuid, VerificationRow> = verification_list(connection, &ids)?
        .into_iter()
        .map(|row| (row.subscription_id, row))
        .collect();
    let mut signed: HashMap<Uuid, store::SignedBy> = store::signed_by(connection, &ids)?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    for one in shown {
        let signed = signed.remove(&one.id);
        one.trust = TrustShown {
            verification: asked.remove(&one.id).map(VerificationShown::from),
            previous_secret_until: signed.as_ref().and_then(|row| row.previous_until),
            public_key: signed.and_then(|row| row.public_key),
        };
    }
    Ok(())
}

/// Writes the operator's policy into a specification, or says that it is against it.
pub(super) fn policy(spec: &mut SubscriptionSpec, policy: Verify) -> Result<(), Problem> {
    if spec.sink.verify_by(policy) {
        return Ok(());
    }
    let text = "this server asks every receiver for its consent; leave `verify` out, or write \
                \"handshake\"";
    Err(Problem::of_body(vec![SpecProblem::new(
        "/sink/verify",
        text,
    )]))
}

/// The secret of a registration that is repeated under its Idempotency-Key.
pub(super) fn secret_again(
    connection: &mut Connection,
    key: &SecretKey,
    id: Uuid,
) -> Result<Option<SecretString>, Problem> {
    match secret_rotated(connection, key, id) {
        Ok(rotated) => Ok(rotated.secret),
        // A sink that signs nothing.
        Err(RegisterError::Absent(_)) => Ok(None),
        Err(error) => {
            tracing::error!(%error, "a secret can't be told again");
            Err(Problem::internal())
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default, with = "crate::subscription::model::optional_duration")]
    overlap: Option<Duration>,
    #[serde(default)]
    secret: Option<SecretString>,
}

/// The answer to a rotation: after that of a registration, the one place where a secret is shown.
#[derive(Serialize)]
pub(in crate::api) struct RotatedShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    previous_secret_until: Option<DateTime<Utc>>,
}

impl From<Rotated> for RotatedShown {
    fn from(rotated: Rotated) -> Self {
        let secret = rotated.secret;
        Self {
            secret: secret.map(|secret| secret.expose_secret().to_owned()),
            public_key: rotated.public_key,
            previous_secret_until: rotated.previous_until,
        }
    }
}

/// `POST /v1/subscriptions/{id}/rotate-secret`
pub(in crate::api) async fn rotate_secret(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RotatedShown>, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let route = format!("POST /v1/subscriptions/{id}/rotate-secret");
    let memory = Memory::read(&headers, caller.name(), &route, &body.bytes)?;
    let asked: Rotation =
        spec_of(&body.fields).map_err(|problem| Problem::of_body(vec![problem]))?;
    let now = state.clock.now();
    let database = state.database.clone();
    let rotate = move |connection: &mut Connection| {
        registry_lock(connection)?;
        store::subscription_get(connection, id, owner.as_deref())?
            .ok_or_else(|| Problem::not_found("subscription", id))?;
        let key = &state.secret_key;
        if let Some(memory) = &memory
            && memory.recall(connection)?.is_some()
        {
            return Ok(secret_rotated(connection, key, id)?);
        }
        let given = asked.secret.as_ref().map(|secret| secret.expose_secret());
        let overlap = asked.overlap.unwrap_or(OVERLAP_DEFAULT);
        let rotated = secret_rotate(connection, key, id, given, overlap, now)?;
        if let Some(memory) = &memory {
            memory.remember(connection, id, now)?;
        }
        Ok::<_, Problem>(rotated)
    };
    let rotated = database.transaction(rotate).await?;
    Ok(Json(rotated.into()))
}

/// `POST /v1/subscriptions/{id}/verify`: asks a receiver again that has not consented.
pub(in crate::api) async fn verify(
    caller: Caller,
    Id(id): Id,
    State(state): State<ApiState>,
) -> Result<Json<Shown>, Problem> {
    let owner = caller.owner_for(Action::WriteSubscriptions)?;
    let now = state.clock.now();
    let ask = move |connection: &mut Connection| {
        registry_lock(connection)?;
        let shown = found(connection, id, owner.as_deref())?;
        if shown.trust.verification.is_none() {
            let text =
                "its receiver need not consent; set `sink.verify` to \"handshake\" to ask it";
            return Err(Problem::new(Kind::NotVerified, text));
        }
        if verification_ask_again(connection, id, now)? {
            return found(connection, id, None);
        }
        Ok(shown)
    };
    let shown = state.database.transaction(ask).await?;
    state.ask.ring();
    Ok(Json(shown))
}

/// What of a webhook's own fields is of another kind than it should be. A tagged sink is read in
/// one piece, and its error would not say where it is.
pub(super) fn trust_problem(sink: &Map<String, Value>) -> Option<SpecProblem> {
    let problem = |pointer: String, text: &str| Some(SpecProblem::new(pointer, text));
    for (name, expected) in [
        ("signature", &["v1", "v1a"]),
        ("verify", &["none", "handshake"]),
    ] {
        let is_known = |value: &Value| {
            let text = value.as_str();
            value.is_null() || text.is_some_and(|text| expected.contains(&text))
        };
        if !sink.get(name).is_none_or(is_known) {
            let text = format!("expected is `{}` or `{}`", expected[0], expected[1]);
            return problem(format!("/sink/{name}"), &text);
        }
    }
    let is_credential = |value: &Value| {
        value.is_string()
            || value.get("kept") == Some(&Value::Bool(true))
            || value.get("env").is_some_and(Value::is_string)
    };
    let text = "a text is expected: the value, which is kept and never shown";
    match sink.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(headers)) => {
            if let Some((name, _)) = headers.iter().find(|(_, value)| !is_credential(value)) {
                let name = crate::subscription::check::pointer_part(name);
                return problem(format!("/sink/headers/{name}"), text);
            }
        }
        Some(_) => {
            let text = "an object is expected, such as {\"X-Api-Key\": \"...\"}";
            return problem("/sink/headers".to_owned(), text);
        }
    }
    if sink
        .get("bearer")
        .is_some_and(|bearer| !bearer.is_null() && !is_credential(bearer))
    {
        return problem("/sink/bearer".to_owned(), text);
    }
    match sink.get("basic") {
        None | Some(Value::Null) => None,
        Some(Value::Object(basic)) => {
            if !basic.get("user").is_some_and(Value::is_string) {
                return problem("/sink/basic/user".to_owned(), "a text is expected");
            }
            let is_there = basic.get("password").is_some_and(is_credential);
            if is_there {
                None
            } else {
                problem("/sink/basic/password".to_owned(), text)
            }
        }
        Some(_) => {
            let text = "an object is expected: {\"user\": \"...\", \"password\": \"...\"}";
            problem("/sink/basic".to_owned(), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_of_another_kind_is_told_with_its_place() {
        for (field, value, pointer) in [
            ("signature", json!("v2"), "/sink/signature"),
            ("verify", json!(true), "/sink/verify"),
            ("headers", json!(["a"]), "/sink/headers"),
            ("headers", json!({"a/b": 7}), "/sink/headers/a~1b"),
            ("bearer", json!({"kept": false}), "/sink/bearer"),
            ("basic", json!({"password": "x"}), "/sink/basic/user"),
            ("basic", json!({"user": "x"}), "/sink/basic/password"),
            ("basic", json!("x"), "/sink/basic"),
        ] {
            let sink = Map::from_iter([(field.to_owned(), value)]);
            assert_eq!(trust_problem(&sink).unwrap().pointer, pointer);
        }
        let right = json!({"signature": "v1a", "verify": "none", "headers": {"A": "b"},
            "bearer": {"kept": true}, "basic": {"user": "a", "password": "b"}});
        assert_eq!(trust_problem(right.as_object().unwrap()), None);
    }
}
