//! The ways in which CloudEvents come over HTTP (HTTP protocol binding 1.0.2): structured, batched,
//! or binary, with the attributes in headers. Pure.

use std::fmt::Write as _;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, value::RawValue};

use super::{
    super::problem::{Kind, Problem},
    attributes::is_json,
};

/// What headers of attributes begin with.
const ATTRIBUTE_PREFIX: &str = "ce-";

/// The events of a request, each as its JSON text.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) events: Vec<Box<RawValue>>,
    /// Whether they came in a list, so that pointers begin with a number.
    pub(super) is_list: bool,
}

impl Request {
    /// Takes the events out of a request.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        let given = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        let is_binary = headers.contains_key("ce-specversion") || headers.contains_key("ce-id");
        match essence.to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Self::one(body),
            "application/cloudevents-batch+json" => Self::list(body),
            "" if is_binary && body.is_empty() => Self::binary(headers, None, body),
            json if is_binary && is_json(json) => Self::binary(headers, Some(given), body),
            "application/json" => {
                let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
                if first == Some(&b'[') {
                    Self::list(body)
                } else {
                    Self::one(body)
                }
            }
            _ => Err(unsupported(essence)),
        }
    }

    fn one(body: &[u8]) -> Result<Self, Problem> {
        let event: Box<RawValue> =
            serde_json::from_slice(body).map_err(|error| malformed(body, &error))?;
        Ok(Self {
            events: vec![event],
            is_list: false,
        })
    }

    fn list(body: &[u8]) -> Result<Self, Problem> {
        let events: Vec<Box<RawValue>> = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                let text = "a list of events is expected";
                return Problem::at(Kind::InvalidBody, "", text);
            }
            malformed(body, &error)
        })?;
        Ok(Self {
            events,
            is_list: true,
        })
    }

    /// Puts the headers and the body together into the structured form of the same event.
    fn binary(
        headers: &HeaderMap,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let mut event = String::from("{");
        let mut push = |name: &str, value: &str| {
            let comma = if event.len() > 1 { "," } else { "" };
            let _ = write!(event, "{comma}{}:{value}", Value::from(name));
        };
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix(ATTRIBUTE_PREFIX) else {
                continue;
            };
            let text = value.to_str().ok().and_then(decoded).ok_or_else(|| {
                Problem::new(
                    Kind::InvalidHeader,
                    format!(
                        "ce-{name} is no percent-encoded UTF-8, as CloudEvents over HTTP wants it"
                    ),
                )
            })?;
            push(name, &Value::from(text).to_string());
        }
        if let Some(content_type) = content_type {
            // By itself first: what is no JSON could become something else beside the attributes.
            let data: &RawValue =
                serde_json::from_slice(body).map_err(|error| malformed(body, &error))?;
            push("datacontenttype", &Value::from(content_type).to_string());
            push("data", data.get());
        }
        event.push('}');
        Self::one(event.as_bytes())
    }
}

/// The text of an attribute's header: without quotes, then percent-decoded (section 3.1.3.2).
fn decoded(value: &str) -> Option<String> {
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let unquoted: String = match quoted {
        None => value.to_owned(),
        Some(quoted) => {
            let mut is_escaped = false;
            let is_kept = |c: &char| {
                is_escaped = *c == '\\' && !is_escaped;
                !is_escaped
            };
            quoted.chars().filter(is_kept).collect()
        }
    };
    let decoded = percent_decode_str(&unquoted).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn malformed(body: &[u8], error: &serde_json::Error) -> Problem {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Problem::new(Kind::MalformedJson, "the body is empty; send an event");
    }
    // serde_json's text ends in line and column.
    Problem::new(Kind::MalformedJson, error.to_string())
}

fn unsupported(essence: &str) -> Problem {
    let found = if essence.is_empty() {
        "there is no Content-Type".to_owned()
    } else {
        format!("the Content-Type is `{essence}`")
    };
    Problem::new(
        Kind::UnsupportedMediaType,
        format!(
            "{found}; send `application/cloudevents+json`, `application/cloudevents-batch+json`, \
             `application/json`, or the attributes in `ce-` headers and JSON data as \
             `application/json`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn read(headers: &[(&str, &str)], body: &str) -> Result<Vec<String>, String> {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        match Request::read(&headers.collect(), body.as_bytes()) {
            Ok(request) => Ok(request
                .events
                .iter()
                .map(|event| event.get().to_owned())
                .collect()),
            Err(problem) => Err(format!("{problem:?}")),
        }
    }

    #[test]
    fn the_media_type_says_how_the_body_is_read() {
        let one = (
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        );
        let batch = ("content-type", "Application/CloudEvents-Batch+JSON");
        let json = ("content-type", "application/json");
        for (kind, body, events) in [
            (one, r#" {"id" : 1} "#, &[r#"{"id" : 1}"#][..]),
            (
                batch,
                r#"[{"id":1}, {"id" : 2}]"#,
                &[r#"{"id":1}"#, r#"{"id" : 2}"#],
            ),
            (batch, "[]", &[]),
            (json, "\n [1]", &["1"]),
            (json, r#" {"id":1}"#, &[r#"{"id":1}"#]),
        ] {
            assert_eq!(read(&[kind], body).unwrap(), events);
        }
        for (kind, body, says) in [
            (one, "", "the body is empty"),
            (one, "{\"a\":}", "MalformedJson"),
            (batch, "{}", "a list of events is expected"),
            (batch, "[1", "MalformedJson"),
            (("content-type", "text/plain"), "{}", "`text/plain`"),
            (("accept", "*/*"), "{}", "there is no Content-Type"),
        ] {
            let problem = read(&[kind], body).unwrap_err();
            assert!(problem.contains(says), "{body}: {problem}");
        }
    }

    #[test]
    fn attributes_may_be_headers() {
        let headers = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20%22b%C3%A4"),
            ("ce-subject", r#""quoted \" \\ %2F""#),
            ("other", "x"),
        ];
        let events = read(&headers, " [1.10 ]\n").unwrap();
        let expected = r#"{"specversion":"1.0","id":"a \"bä","subject":"quoted \" \\ /","#
            .to_owned()
            + r#""datacontenttype":"application/json","data":[1.10 ]}"#;
        assert_eq!(events, [expected]);
        let without_data = read(&[("ce-id", "1")], "").unwrap();
        assert_eq!(without_data, [r#"{"id":"1"}"#]);
        let smuggled = read(&headers[..3], r#"1, "id": "2""#).unwrap_err();
        assert!(smuggled.contains("MalformedJson"), "{smuggled}");
        let wrong = read(&[("ce-id", "%ff")], "").unwrap_err();
        assert!(
            wrong.contains("ce-id is no percent-encoded UTF-8"),
            "{wrong}"
        );
        let structured = read(
            &[
                ("content-type", "application/cloudevents+json"),
                ("ce-id", "1"),
            ],
            r#"{"id":"2"}"#,
        );
        assert_eq!(structured.unwrap(), [r#"{"id":"2"}"#]);
    }

    proptest! {
        #[test]
        fn no_request_is_a_panic(
            kind in proptest::sample::select(&[
                "application/json", "application/cloudevents+json",
                "application/cloudevents-batch+json", "x", "/json", "",
            ][..]),
            attribute in "[ -~]{0,10}",
            body in any::<Vec<u8>>(),
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            let _ = Request::read(&headers, &body);
            headers.insert("ce-id", HeaderValue::from_str(&attribute).unwrap());
            let _ = Request::read(&headers, &body);
        }
    }
}
