//! Who calls: every route under /v1 asks for a [`Caller`].

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::{
    ApiState,
    problem::{Kind, Problem},
};
use crate::auth::{Action, AuthError, Principal, Reach, authenticate};

/// The caller of a request, let in by its key.
pub(super) struct Caller(Principal);

impl Caller {
    /// How far the caller may go with `action`; a problem, if not at all.
    pub(super) fn may(&self, action: Action) -> Result<Reach, Problem> {
        self.0.role.reach(action).ok_or_else(|| {
            Problem::new(
                Kind::Forbidden,
                format!(
                    "this needs a key of the role {}; yours has the role {}",
                    action.roles_text(),
                    self.0.role
                ),
            )
        })
    }

    /// The owner that rows must have to be seen by this caller; `None`: any.
    pub(super) fn owner_for(&self, action: Action) -> Result<Option<String>, Problem> {
        Ok(match self.may(action)? {
            Reach::All => None,
            Reach::Own => Some(self.0.name.clone()),
        })
    }

    /// The key's id, or `bootstrap`.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let text = bearer(&parts.headers).ok_or_else(|| {
            Problem::new(
                Kind::MissingKey,
                "send `Authorization: Bearer <key>`; `rowcall key create` makes a key",
            )
        })?;
        match authenticate(&state.keys, state.admin_key.as_ref(), text).await {
            Ok(principal) => Ok(Self(principal)),
            Err(AuthError::Db(error)) => Err((&*error).into()),
            Err(error @ AuthError::Busy) => Err(Problem::new(Kind::Unavailable, error.to_string())),
            Err(error) => Err(Problem::new(Kind::InvalidKey, error.to_string())),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}
