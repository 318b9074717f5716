//! Where subscribers reach the API: what the links in events begin with.

use std::{fmt, str::FromStr};

use url::Url;

/// The longest address, in bytes: it is in every event.
const BYTES_MAX: usize = 500;

/// The address of the API as subscribers know it; behind a proxy that is not where it listens.
///
/// `http` or `https`, without query, fragment, user name and password. May have a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Without a slash at its end.
    text: String,
}

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    /// Nothing that could be an address.
    #[error("it is no URL ({0}); expected is one such as https://rowcall.example.com")]
    NoUrl(url::ParseError),
    /// Of another kind.
    #[error("it begins with `{0}:`; expected is http:// or https://")]
    Scheme(String),
    /// It holds what would be in every event, or what nothing can be appended to.
    #[error("it has {0}; leave that out")]
    Excess(&'static str),
    /// Too long.
    #[error("it is longer than {BYTES_MAX} bytes")]
    TooLong,
}

impl PublicUrl {
    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.text).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// Where the JSON Schema of an event type's `data` is.
    #[must_use]
    pub fn schema(&self, event_type: &str) -> String {
        format!("{self}/v1/event-types/{event_type}/schema")
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(text.trim()).map_err(PublicUrlError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PublicUrlError::Scheme(url.scheme().to_owned()));
        }
        let excess = [
            (
                !url.username().is_empty() || url.password().is_some(),
                "a user name or password, which every subscriber would see",
            ),
            (url.query().is_some(), "a query"),
            (url.fragment().is_some(), "a fragment"),
        ];
        if let Some((_, what)) = excess.into_iter().find(|(is_there, _)| *is_there) {
            return Err(PublicUrlError::Excess(what));
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        if text.len() > BYTES_MAX {
            return Err(PublicUrlError::TooLong);
        }
        Ok(Self { text })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_begin_with_it_however_it_ends() {
        for (text, schema) in [
            (
                "https://rowcall.example.com",
                "https://rowcall.example.com/v1/event-types/sales.order.created/schema",
            ),
            (
                " HTTPS://Rowcall.Example.com:443/ ",
                "https://rowcall.example.com/v1/event-types/sales.order.created/schema",
            ),
            (
                "http://127.0.0.1:8080/rowcall//",
                "http://127.0.0.1:8080/rowcall/v1/event-types/sales.order.created/schema",
            ),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!(url.schema("sales.order.created"), schema, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_address_is_told() {
        let long = format!("https://example.com/{}", "a".repeat(BYTES_MAX));
        for (text, says) in [
            ("", "no URL"),
            ("rowcall.example.com", "no URL"),
            ("localhost:8080", "begins with `localhost:`"),
            ("ftp://example.com", "begins with `ftp:`"),
            ("https://", "no URL"),
            ("https://example.com/?a=1", "a query"),
            ("https://example.com?", "a query"),
            ("https://example.com/#top", "a fragment"),
            ("https://ada@example.com", "a user name or password"),
            ("https://:hush@example.com", "a user name or password"),
            (&long, "longer than 500 bytes"),
        ] {
            let error = text.parse::<PublicUrl>().unwrap_err().to_string();
            assert!(
                error.contains(says) && !error.contains("hush"),
                "{text}: {error}"
            );
        }
    }
}
