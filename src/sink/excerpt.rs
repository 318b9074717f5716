//! How a receiver's answer begins: for whoever looks why a delivery failed.
//!
//! The text is the receiver's, so it is bounded, without control characters, and without what only
//! the two sides may know: a receiver may repeat the secret that it compares with, or the query of
//! its URL. Pure, apart from reading.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http_body_util::{BodyExt as _, Limited};
use hyper::HeaderMap;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_ENCODING;
use tokio::time::{Instant, timeout_at};
use url::form_urlencoded;

/// How much of an answer is kept, in characters.
pub const ANSWER_CHARS_MAX: usize = 1_000;
/// How much of an answer is looked at for it, in bytes.
const BYTES_MAX: usize = 8 * 1024;
/// The shortest query of a URL, and the shortest value in it, that is hidden, in bytes. A shorter
/// one is no secret, and would be found anywhere.
const QUERY_BYTES_MIN: usize = 8;
/// The shortest value of a header that is hidden, in bytes.
const VALUE_BYTES_MIN: usize = 4;
/// So much of the beginning of something hidden is hidden at the end of a text, too, in bytes; of
/// something that is short, half of it.
const PART_BYTES_MIN: usize = 8;

/// The beginning of a body.
pub(super) struct Beginning {
    bytes: Vec<u8>,
}

impl Beginning {
    /// Reads a body to its end, `bytes_max` or `deadline`, and keeps its beginning. What is not
    /// read to its end costs the receiver the connection.
    pub(super) async fn read(body: Incoming, bytes_max: usize, deadline: Instant) -> Self {
        let mut body = Limited::new(body, bytes_max);
        let mut read = Self { bytes: Vec::new() };
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            if let Ok(data) = frame.into_data() {
                read.push(&data);
            }
        }
        read
    }

    fn push(&mut self, data: &Bytes) {
        let room = BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// The text that may be kept; nothing if there is none. What is compressed is none. `keys` are
    /// what signs, `sent` the subscriber's own headers.
    pub(super) fn text(
        &self,
        headers: &HeaderMap,
        keys: &[String],
        sent: &HeaderMap,
        query: Option<&str>,
    ) -> Option<String> {
        if headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let text: String = String::from_utf8_lossy(&self.bytes)
            .chars()
            .filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'))
            .collect();
        let text = without(text, &hidden(keys, sent, query));
        let text: String = text.trim().chars().take(ANSWER_CHARS_MAX).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// What is not shown, the longest first: a short one may be a part of a long one, the rest of which
/// would stay.
fn hidden(keys: &[String], sent: &HeaderMap, query: Option<&str>) -> Vec<String> {
    let mut hidden: Vec<String> = keys.iter().flat_map(|key| spellings_of_key(key)).collect();
    let sent = sent.values().filter_map(|value| value.to_str().ok());
    hidden.extend(sent.flat_map(parts_of_value));
    hidden.extend(query.into_iter().flat_map(parts_of_query));
    hidden.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
    hidden.dedup();
    hidden
}

/// A body may be cut in the middle of something hidden, by its limits here or by the receiver: its
/// beginning is looked for at the end, and first, while nothing is taken out of it.
fn without(mut text: String, hidden: &[String]) -> String {
    let parts = hidden.iter().filter_map(|one| {
        let least = PART_BYTES_MIN.min(one.len().div_ceil(2));
        let mut parts = (least..one.len()).rev().filter_map(|end| one.get(..end));
        let found = parts.find(|part| text.ends_with(part));
        found.map(str::len)
    });
    if let Some(longest) = parts.max() {
        text.truncate(text.len() - longest);
        text.push_str("***");
    }
    for one in hidden {
        text = text.replace(one, "***");
    }
    text
}

/// The value of a header with and without its scheme, and the password in it; each as it is and as
/// JSON would spell it.
fn parts_of_value(value: &str) -> Vec<String> {
    let core = value.split_once(' ').map_or(value, |(_, core)| core);
    let login = STANDARD.decode(core).ok().map(String::from_utf8);
    let password = match &login {
        Some(Ok(login)) => login.split_once(':').map(|(_, password)| password),
        _ => None,
    };
    let parts = [Some(value), Some(core), password].into_iter().flatten();
    let parts = parts.filter(|part| part.len() >= VALUE_BYTES_MIN);
    parts
        .flat_map(|part| {
            let json = serde_json::to_string(part).unwrap_or_default();
            let json = json.trim_start_matches('"').strip_suffix('"');
            [Some(part.to_owned()), json.map(str::to_owned)]
        })
        .flatten()
        .collect()
}

/// The query of a URL, and its values, with and without percent signs.
fn parts_of_query(query: &str) -> Vec<String> {
    let raw = query.split('&').filter_map(|pair| pair.split_once('='));
    let raw = raw.map(|(_, value)| value.to_owned());
    let decoded = form_urlencoded::parse(query.as_bytes()).map(|(_, value)| value.into_owned());
    let all = std::iter::once(query.to_owned()).chain(raw).chain(decoded);
    all.filter(|part| part.len() >= QUERY_BYTES_MIN).collect()
}

/// A key in the two alphabets of base64 and in hexadecimal digits.
fn spellings_of_key(exposed: &str) -> Vec<String> {
    let core = exposed
        .split_once('_')
        .map_or(exposed, |(_, core)| core)
        .trim_end_matches('=');
    let mut spellings = vec![core.to_owned(), core.replace('+', "-").replace('/', "_")];
    if let Ok(key) = STANDARD_NO_PAD.decode(core) {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        spellings.extend([hex.to_ascii_uppercase(), hex]);
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn text(bytes: &[u8]) -> Option<String> {
        let beginning = Beginning {
            bytes: bytes.to_vec(),
        };
        let mut sent = HeaderMap::new();
        // rowcall:s3cret
        sent.insert(
            "authorization",
            "Basic cm93Y2FsbDpzM2NyZXQ=".parse().unwrap(),
        );
        sent.insert("x-api-key", "k-4711".parse().unwrap());
        let keys = [SECRET.to_owned()];
        beginning.text(&HeaderMap::new(), &keys, &sent, Some("token=a1b2c3d4"))
    }

    #[test]
    fn what_the_subscriber_has_sent_with_it_is_hidden() {
        let told = "k-4711 and Basic cm93Y2FsbDpzM2NyZXQ= say rowcall:s3cret";
        assert_eq!(
            text(told.as_bytes()).as_deref(),
            Some("*** and *** say rowcall:***")
        );
    }

    #[test]
    fn what_postgres_cannot_hold_and_nobody_can_read_is_left_out() {
        assert_eq!(
            text(b"no\0 such\r\n\x1b[31morder\xff").as_deref(),
            Some("no such\n[31morder\u{fffd}")
        );
        assert_eq!(text(b" \0\n "), None);
        let long = "\u{e9}".repeat(5_000);
        assert_eq!(
            text(long.as_bytes()).unwrap().chars().count(),
            ANSWER_CHARS_MAX
        );
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let core = SECRET.strip_prefix("whsec_").unwrap();
        let key = STANDARD_NO_PAD.decode(core).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
        let told = format!("expected {SECRET} or {core}, in hex {hex}, at /hook?token=a1b2c3d4");
        assert_eq!(
            text(told.as_bytes()).as_deref(),
            Some("expected whsec_*** or ***, in hex ***, at /hook?***")
        );
        // A NUL between does not help.
        let split = format!("{}\0{}", &core[..9], &core[9..]);
        assert_eq!(text(split.as_bytes()).as_deref(), Some("***"));
    }

    #[test]
    fn a_secret_that_is_cut_is_not_shown_in_part() {
        // What is hidden gets short, so that the end of what was read would be shown.
        let told = format!("{}{}", SECRET.repeat(200), &SECRET[..30]);
        let shown = text(told.as_bytes()).unwrap();
        assert!(!shown.contains("MfKQ9r8G"), "{shown}");
        // However long it is, and wherever it was cut.
        let token: String = (0..2_000)
            .map(|at| char::from(b'a' + (at * at % 23) as u8))
            .collect();
        let mut sent = HeaderMap::new();
        sent.insert("authorization", format!("Bearer {token}").parse().unwrap());
        for length in [8, 9, 700, 1_999] {
            let told = format!("no: {token} is not {}", &token[..length]);
            let beginning = Beginning {
                bytes: told.into_bytes(),
            };
            let shown = beginning.text(&HeaderMap::new(), &[], &sent, None);
            assert_eq!(shown.as_deref(), Some("no: *** is not ***"), "{length}");
        }
        assert_eq!(text(b"expected cm93Y2Fsb").as_deref(), Some("expected ***"));
        assert_eq!(text(b"basically, no").as_deref(), Some("basically, no"));
    }

    #[test]
    fn of_two_secrets_the_longer_is_hidden_first() {
        let mut sent = HeaderMap::new();
        sent.insert("x-a", "hunter".parse().unwrap());
        sent.insert("x-b", "hunter-of-foxes".parse().unwrap());
        let beginning = Beginning {
            bytes: b"hunter-of-foxes, hunter".to_vec(),
        };
        let shown = beginning.text(&HeaderMap::new(), &[], &sent, None);
        assert_eq!(shown.as_deref(), Some("***, ***"));
    }

    #[test]
    fn a_value_is_hidden_as_json_and_as_a_form_has_it() {
        let mut sent = HeaderMap::new();
        sent.insert("x-a", r#"pa"ss\word"#.parse().unwrap());
        let beginning = Beginning {
            bytes: br#"{"x-a":"pa\"ss\\word","sig":"a+b/c+d/e","raw":"a%2Bb%2Fc%2Bd/e","n":"1"}"#
                .to_vec(),
        };
        let query = Some("n=1&sig=a%2Bb%2Fc%2Bd/e");
        let shown = beginning.text(&HeaderMap::new(), &[], &sent, query);
        assert_eq!(
            shown.as_deref(),
            Some(r#"{"x-a":"***","sig":"***","raw":"***","n":"1"}"#)
        );
    }
}
