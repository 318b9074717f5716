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

/// How much of an answer is kept, in characters.
pub const ANSWER_CHARS_MAX: usize = 1_000;
/// How much of an answer is looked at for it, in bytes.
const BYTES_MAX: usize = 8 * 1024;
/// What may be the beginning of something hidden at the end of what was looked at, in characters:
/// more than the longest secret has.
const TAIL_CHARS: usize = 256;
/// The shortest query of a URL that is hidden, in bytes. A shorter one is no secret, and would be
/// found anywhere.
const QUERY_BYTES_MIN: usize = 8;
/// The shortest value of a header that is hidden, in bytes.
const VALUE_BYTES_MIN: usize = 4;

/// The beginning of a body.
pub(super) struct Beginning {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Beginning {
    /// Reads a body to its end, `bytes_max` or `deadline`, and keeps its beginning. What is not
    /// read to its end costs the receiver the connection.
    pub(super) async fn read(body: Incoming, bytes_max: usize, deadline: Instant) -> Self {
        let mut body = Limited::new(body, bytes_max);
        let mut read = Self {
            bytes: Vec::new(),
            is_cut: false,
        };
        while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
            if let Ok(data) = frame.into_data() {
                read.push(&data);
            }
        }
        read
    }

    fn push(&mut self, data: &Bytes) {
        let room = BYTES_MAX - self.bytes.len();
        self.is_cut |= data.len() > room;
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
        let mut text: Vec<char> = String::from_utf8_lossy(&self.bytes)
            .chars()
            .filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'))
            .collect();
        if self.is_cut {
            text.truncate(text.len().saturating_sub(TAIL_CHARS));
        }
        let mut text: String = text.into_iter().collect();
        for key in keys {
            text = without_key(&text, key);
        }
        for value in sent.values().filter_map(|value| value.to_str().ok()) {
            text = without_value(&text, value);
        }
        if let Some(query) = query.filter(|query| query.len() >= QUERY_BYTES_MIN) {
            text = text.replace(query, "***");
        }
        let text: String = text.trim().chars().take(ANSWER_CHARS_MAX).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// The text without the value of a header, with and without its scheme, and without the password in
/// it.
fn without_value(text: &str, value: &str) -> String {
    let core = value.split_once(' ').map_or(value, |(_, core)| core);
    let login = STANDARD.decode(core).ok().map(String::from_utf8);
    let password = match &login {
        Some(Ok(login)) => login.split_once(':').map(|(_, password)| password),
        _ => None,
    };
    let hidden = [Some(value), Some(core), password].into_iter().flatten();
    hidden
        .filter(|hidden| hidden.len() >= VALUE_BYTES_MIN)
        .fold(text.to_owned(), |text, hidden| text.replace(hidden, "***"))
}

/// The text without a key, in the two alphabets of base64 and in hexadecimal digits.
fn without_key(text: &str, exposed: &str) -> String {
    let core = exposed
        .split_once('_')
        .map_or(exposed, |(_, core)| core)
        .trim_end_matches('=');
    let url_safe = core.replace('+', "-").replace('/', "_");
    let mut text = text.replace(core, "***").replace(&url_safe, "***");
    if let Ok(key) = STANDARD_NO_PAD.decode(core) {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        text = text
            .replace(&hex, "***")
            .replace(&hex.to_ascii_uppercase(), "***");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn text(bytes: &[u8], is_cut: bool) -> Option<String> {
        let beginning = Beginning {
            bytes: bytes.to_vec(),
            is_cut,
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
            text(told.as_bytes(), false).as_deref(),
            Some("*** and *** say rowcall:***")
        );
    }

    #[test]
    fn what_postgres_cannot_hold_and_nobody_can_read_is_left_out() {
        assert_eq!(
            text(b"no\0 such\r\n\x1b[31morder\xff", false).as_deref(),
            Some("no such\n[31morder\u{fffd}")
        );
        assert_eq!(text(b" \0\n ", false), None);
        let long = "\u{e9}".repeat(5_000);
        assert_eq!(
            text(long.as_bytes(), false).unwrap().chars().count(),
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
            text(told.as_bytes(), false).as_deref(),
            Some("expected whsec_*** or ***, in hex ***, at /hook?***")
        );
        // A NUL between does not help.
        let split = format!("{}\0{}", &core[..9], &core[9..]);
        assert_eq!(text(split.as_bytes(), false).as_deref(), Some("***"));
    }

    #[test]
    fn a_secret_that_is_cut_is_not_shown_in_part() {
        // Hidden ones are short, so that the end of what was read would be shown.
        let told = format!("{}{}", SECRET.repeat(200), &SECRET[..30]);
        let shown = text(told.as_bytes(), true).unwrap();
        assert!(!shown.contains("MfKQ9r8G"), "{shown}");
    }
}
