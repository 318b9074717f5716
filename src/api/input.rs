//! Reading requests, with an answer for each way they can be wrong.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::BytesRejection},
    http::{HeaderMap, header, request::Parts},
};
use serde_json::value::RawValue;
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    ApiState,
    problem::{Kind, Problem},
};
use crate::nearest::did_you_mean;

/// The members of a JSON object, each as it was written: numbers keep all their digits.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// The body of a request, with the bytes that it was.
pub(super) struct Body {
    pub(super) fields: Fields,
    pub(super) bytes: Bytes,
}

impl FromRequest<ApiState> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection, state.limits.body_bytes_max))?;
        let fields = fields_read(&bytes)?;
        Ok(Self { fields, bytes })
    }
}

/// The answer to a body that could not be read.
pub(super) fn unread(rejection: &BytesRejection, bytes_max: usize) -> Problem {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            Kind::TooLarge,
            format!("the limit is {bytes_max} bytes (limits.body_bytes_max)"),
        );
    }
    Problem::new(Kind::MalformedJson, "the body could not be read to its end")
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim();
    let essence = essence.to_ascii_lowercase();
    if essence == "application/json" || essence == "application/merge-patch+json" {
        return Ok(());
    }
    let found = match given {
        Some(_) => format!("the Content-Type is `{essence}`"),
        None => "there is no Content-Type".to_owned(),
    };
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        format!("{found}; send `Content-Type: application/json`"),
    ))
}

fn fields_read(bytes: &[u8]) -> Result<Fields, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Problem::new(Kind::MalformedJson, "the body is empty; send a JSON object");
        }
        if error.is_data() {
            let text = "a JSON object is expected";
            return Problem::at(Kind::InvalidBody, "", text);
        }
        // serde_json's text ends in line and column.
        Problem::new(Kind::MalformedJson, error.to_string())
    })
}

/// The id in the path. What is no id is the id of nothing.
pub(super) struct Id(pub(super) Uuid);

impl FromRequestParts<ApiState> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Problem::new(
                Kind::NotFound,
                "the id in the path is no text",
            ));
        };
        Uuid::try_parse(&text).map(Self).map_err(|_| {
            Problem::new(
                Kind::NotFound,
                "the id in the path is no UUID, so there is nothing with it",
            )
        })
    }
}

/// The name in the path.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<ApiState> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|_| {
            let text = "the name in the path is no text";
            Problem::new(Kind::NotFound, text)
        })
    }
}

/// The parameters of a query, each given once and all of them known.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads `query`, in which only `known` names may stand.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let hint = did_you_mean(&name, known.iter().copied());
                let text = format!(
                    "there is no such parameter; expected is one of {}{hint}",
                    known.join(", ")
                );
                return Err(invalid(&name, text));
            }
            if values
                .insert(name.clone().into_owned(), value.into_owned())
                .is_some()
            {
                return Err(invalid(&name, "it is given twice; give it once"));
            }
        }
        Ok(Self(values))
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter read by `read`, which says what is expected if it can't.
    pub(super) fn value<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(read)
            .transpose()
            .map_err(|text| invalid(name, text))
    }
}

/// A parameter that is not valid.
pub(super) fn invalid(parameter: &str, text: impl Into<String>) -> Problem {
    Problem::at(Kind::InvalidParameter, format!("?{parameter}"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_given_once() {
        let known = ["limit", "cursor"];
        let read = Parameters::read(Some("limit=5&cursor=a%20b"), &known).unwrap();
        assert_eq!(
            (read.text("limit"), read.text("cursor")),
            (Some("5"), Some("a b"))
        );
        assert!(Parameters::read(None, &known).is_ok());
        let unknown = format!(
            "{:?}",
            Parameters::read(Some("limt=5"), &known).unwrap_err()
        );
        assert!(unknown.contains("did you mean `limit`?"), "{unknown}");
        let twice = format!(
            "{:?}",
            Parameters::read(Some("limit=5&limit=6"), &known).unwrap_err()
        );
        assert!(twice.contains("given twice"), "{twice}");
    }
}
