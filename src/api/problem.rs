//! Problem documents (RFC 9457): the body of every answer that is no success.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    capture::install::InstallError,
    catalog::edit::EditError,
    db::{DbError, QueryError},
    stage::chain,
    subscription::register::{RegisterError, SpecProblem},
};

/// The kinds of problems. The slug is the last part of `type`, which is a relative reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MalformedJson,
    InvalidParameter,
    InvalidHeader,
    MissingKey,
    InvalidKey,
    Forbidden,
    NoSuchRoute,
    NotFound,
    MethodNotAllowed,
    NameTaken,
    KeptInFolder,
    InUse,
    Standard,
    NotVerified,
    TooLarge,
    UnsupportedMediaType,
    InvalidBody,
    IdempotencyKeyReused,
    EventIdReused,
    NotActive,
    NotReplayable,
    NotBlocking,
    Internal,
    Unavailable,
    Timeout,
}

/// How long a caller should wait before it asks again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

impl Kind {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (S::BAD_REQUEST, "malformed-json", "The body is no JSON"),
            Self::InvalidParameter => (
                S::BAD_REQUEST,
                "invalid-parameter",
                "A query parameter is not valid",
            ),
            Self::InvalidHeader => (S::BAD_REQUEST, "invalid-header", "A header is not valid"),
            Self::MissingKey => (S::UNAUTHORIZED, "missing-key", "An API key is needed"),
            Self::InvalidKey => (S::UNAUTHORIZED, "invalid-key", "The API key is not valid"),
            Self::Forbidden => (
                S::FORBIDDEN,
                "forbidden",
                "The key's role does not allow this",
            ),
            Self::NoSuchRoute => (
                S::NOT_FOUND,
                "no-such-route",
                "There is nothing at this path",
            ),
            Self::NotFound => (S::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path has no such method",
            ),
            Self::NameTaken => (S::CONFLICT, "name-taken", "The name is taken"),
            Self::KeptInFolder => (
                S::CONFLICT,
                "kept-in-folder",
                "It is kept in the metadata folder",
            ),
            Self::InUse => (S::CONFLICT, "in-use", "Others need it as it is"),
            Self::Standard => (S::CONFLICT, "standard", "It exists by itself"),
            Self::NotVerified => (S::CONFLICT, "not-verified", "Its receiver need not consent"),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be JSON",
            ),
            Self::InvalidBody => (
                S::UNPROCESSABLE_ENTITY,
                "invalid-body",
                "The body is not what it should be",
            ),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The Idempotency-Key belongs to another request",
            ),
            Self::EventIdReused => (
                S::CONFLICT,
                "event-id-reused",
                "The event's id belongs to another event",
            ),
            Self::NotActive => (S::CONFLICT, "not-active", "The subscription is not active"),
            Self::NotReplayable => (S::CONFLICT, "not-replayable", "It can't be sent again"),
            Self::NotBlocking => (S::CONFLICT, "not-blocking", "Nothing waits for it"),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "The request failed through a fault of Rowcall",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "The database is away or busy",
            ),
            Self::Timeout => (
                S::SERVICE_UNAVAILABLE,
                "timeout",
                "The request took too long",
            ),
        }
    }
}

/// One answer that is no success.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FieldError {
    pointer: String,
    message: String,
}

#[derive(Serialize)]
struct Document {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// A problem of one part of the request; `pointer` is a JSON pointer into the body, or `?` and
    /// the name of a query parameter.
    pub(super) fn at(kind: Kind, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of_fields(kind, vec![SpecProblem::new(pointer, message)])
    }

    /// A body that is JSON and still not what it should be.
    pub(super) fn of_body(problems: Vec<SpecProblem>) -> Self {
        Self::of_fields(Kind::InvalidBody, problems)
    }

    /// Problems of several parts of the request.
    pub(super) fn of_fields(kind: Kind, problems: Vec<SpecProblem>) -> Self {
        let detail = match problems.as_slice() {
            [problem] => problem.to_string(),
            problems => format!("{} fields are not valid; see `errors`", problems.len()),
        };
        let errors = problems
            .into_iter()
            .map(|problem| FieldError {
                message: problem.text(),
                pointer: problem.pointer,
            })
            .collect();
        Self {
            kind,
            detail,
            errors,
        }
    }

    /// There is no such thing, or it is not the caller's to see: the answer is the same.
    pub(super) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} {id}"))
    }

    pub(super) fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "the log says more; nothing was changed by this request",
        )
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        (&error).into()
    }
}

impl From<&DbError> for Problem {
    fn from(error: &DbError) -> Self {
        let is_passing = error.is_passing();
        tracing::warn!(error = %chain(error), is_passing, "a request failed in the database");
        if is_passing {
            Self::new(
                Kind::Unavailable,
                "the database can't be used now; ask again in a moment",
            )
        } else {
            Self::internal()
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        DbError::from(error).into()
    }
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Database(error) => error.into(),
            InstallError::Busy { .. } => Self::new(
                Kind::Unavailable,
                format!("{error}; a long transaction uses it: ask again when it has ended"),
            ),
            InstallError::Privilege { .. } => {
                tracing::error!(error = %chain(&error), "the triggers could not be changed");
                Self::internal()
            }
        }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::NameTaken(_) => Self::at(Kind::NameTaken, "/name", error.to_string()),
            RegisterError::Absent(id) => Self::not_found("subscription", id),
            RegisterError::Problems(problems) => Self::of_body(problems),
            RegisterError::Db(error) => error.into(),
            RegisterError::Secret(_) | RegisterError::Definition(_) => {
                tracing::error!(error = %chain(&error), "a subscription could not be stored");
                Self::internal()
            }
        }
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Taken(_) => Self::at(Kind::NameTaken, "/name", error.to_string()),
            EditError::Absent { .. } => Self::new(Kind::NotFound, error.to_string()),
            EditError::Problems(problems) => Self::of_body(problems),
            EditError::InUse(users) => Self::of_fields(
                Kind::InUse,
                users
                    .into_iter()
                    .map(|text| SpecProblem::new("", text))
                    .collect(),
            ),
            EditError::Db(error) => error.into(),
            EditError::Unwritable(_) => {
                tracing::error!(error = %chain(&error), "an entry could not be stored");
                Self::internal()
            }
        }
    }
}

/// Something that works and is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    pointer: String,
    message: String,
}

impl Warning {
    pub(super) fn all_of(warnings: Vec<SpecProblem>) -> Vec<Self> {
        let warning = |warning: SpecProblem| Self {
            message: warning.text(),
            pointer: warning.pointer,
        };
        warnings.into_iter().map(warning).collect()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, slug, title) = self.kind.describe();
        let document = Document {
            r#type: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.kind {
            Kind::MissingKey => {
                let value = HeaderValue::from_static("Bearer realm=\"rowcall\"");
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
            Kind::InvalidKey => {
                let value =
                    HeaderValue::from_static("Bearer realm=\"rowcall\", error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
            Kind::Unavailable | Kind::Timeout => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
        response
    }
}
