//! A mail, to the byte the same on every attempt.
//!
//! Date, Message-ID and boundary come from the message and not from the clock or from chance, so a
//! mail that arrives twice can be told by its Message-ID, and nothing else differs. Bodies are
//! quoted-printable with CRLF at the end of each line. The whole is looked at once more before it
//! leaves: a bare CR or LF, which some servers take for the end of a line, would let a value end
//! the mail and begin another.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use lettre::{
    Address, Message as Composed,
    address::Envelope,
    message::{
        Mailbox, MessageBuilder, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::template::Rendered;

/// The longest line, in bytes without its end (RFC 5322, section 2.1.1).
const LINE_BYTES_MAX: usize = 998;
/// The longest id that stands in a Message-ID as it is; of a longer one, or one with other
/// characters, the hash does.
const ID_BYTES_MAX: usize = 128;

/// From whom, to whom, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Addressing {
    /// What the reader sees.
    pub(super) from: Mailbox,
    /// Who is told of bounces, and asked to unsubscribe.
    pub(super) operator: Address,
    pub(super) to: Vec<Mailbox>,
    pub(super) reply_to: Option<Mailbox>,
    pub(super) subscription_id: Uuid,
    pub(super) subscription_name: String,
}

/// A mail, ready to be handed over.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) envelope: Envelope,
    pub(super) bytes: Vec<u8>,
    /// Under which it is written, if it is written to a file.
    pub(super) file_name: String,
}

/// Puts a mail together; `id` is the message's.
///
/// # Errors
///
/// Why there can be no such mail, in words that hold nothing of it.
pub(super) fn compose(
    addressing: &Addressing,
    id: &str,
    time: DateTime<Utc>,
    rendered: Rendered,
) -> Result<Mail, String> {
    let id = plain_id(id);
    let message_id = message_id(addressing, &id);
    let boundary = boundary(&message_id, &rendered);
    let recipients = addressing.to.iter().map(|to| to.email.clone()).collect();
    let envelope = Envelope::new(Some(addressing.operator.clone()), recipients)
        .map_err(|error| error.to_string())?;

    let mut builder = Composed::builder()
        .from(addressing.from.clone())
        .subject(rendered.subject)
        .date(date(time))
        .message_id(Some(message_id))
        .envelope(envelope.clone());
    for to in &addressing.to {
        builder = builder.to(to.clone());
    }
    if let Some(reply_to) = &addressing.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    for (name, value) in headers(addressing, &id) {
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    let bytes = body(builder, boundary, rendered.text, rendered.html)?.formatted();
    wire_fault(&bytes).map_or(Ok(()), |fault| Err(fault.to_owned()))?;
    let file_name = format!(
        "{}-{}-{id}.eml",
        time.format("%Y%m%dT%H%M%SZ"),
        addressing.subscription_name
    );
    Ok(Mail {
        envelope,
        bytes,
        file_name,
    })
}

/// The headers that lettre has no type for.
fn headers(addressing: &Addressing, id: &str) -> [(HeaderName, String); 4] {
    let name = &addressing.subscription_name;
    let subject = utf8_percent_encode(name, NON_ALPHANUMERIC);
    // Percent-encoded too: an address may hold `?` and `&`.
    let operator = utf8_percent_encode(addressing.operator.as_ref(), NON_ALPHANUMERIC)
        .to_string()
        .replace("%40", "@")
        .replace("%2E", ".")
        .replace("%2D", "-");
    [
        // RFC 3834: no robot is to answer.
        (
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ),
        // RFC 2369. There is no way to unsubscribe by one click (RFC 8058), so none is promised.
        (
            HeaderName::new_from_ascii_str("List-Unsubscribe"),
            format!("<mailto:{operator}?subject=unsubscribe%20{subject}>"),
        ),
        (
            HeaderName::new_from_ascii_str("Rowcall-Subscription"),
            name.clone(),
        ),
        (
            HeaderName::new_from_ascii_str("Rowcall-Event-Id"),
            id.to_owned(),
        ),
    ]
}

fn body(
    builder: MessageBuilder,
    boundary: String,
    text: String,
    html: Option<String>,
) -> Result<Composed, String> {
    let part = |kind, text: String| {
        SinglePart::builder()
            .header(kind)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(with_line_feeds(&text))
    };
    let text = part(ContentType::TEXT_PLAIN, text);
    let built = match html {
        None => builder.singlepart(text),
        Some(html) => builder.multipart(
            MultiPart::alternative()
                .boundary(boundary)
                .singlepart(text)
                .singlepart(part(ContentType::TEXT_HTML, html)),
        ),
    };
    built.map_err(|error| error.to_string())
}

/// Each line ends in one line feed, of which lettre makes CR LF.
fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// An id that can stand in a header and in a file name.
fn plain_id(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_dotted = !id.is_empty() && id.split('.').all(|part| !part.is_empty());
    if is_dotted && id.len() <= ID_BYTES_MAX && id.chars().all(|c| is_plain(c) || c == '.') {
        id.to_owned()
    } else {
        hex(&Sha256::digest(id), 16)
    }
}

/// The same for the same message, subscription and recipients, and for no others.
fn message_id(addressing: &Addressing, id: &str) -> String {
    let mut recipients = Sha256::new();
    for to in &addressing.to {
        recipients.update(to.email.as_ref() as &str);
        recipients.update([0]);
    }
    format!(
        "<{id}.{}.{}@{}>",
        addressing.subscription_id.simple(),
        hex(&recipients.finalize(), 8),
        addressing.operator.domain()
    )
}

/// `=_` stands in no quoted-printable text, so no body can hold the boundary.
fn boundary(message_id: &str, rendered: &Rendered) -> String {
    let digest = Sha256::new()
        .chain_update(message_id)
        .chain_update(&rendered.text)
        .chain_update(rendered.html.as_deref().unwrap_or_default())
        .finalize();
    format!("=_{}", hex(&digest, 16))
}

fn hex(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The years that the date of a mail can have.
fn date(time: DateTime<Utc>) -> SystemTime {
    let latest = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default();
    time.clamp(DateTime::UNIX_EPOCH, latest).into()
}

/// What a server could read in another way than it is meant.
fn wire_fault(mail: &[u8]) -> Option<&'static str> {
    for line in mail.split(|byte| *byte == b'\n') {
        let is_last = line.as_ptr_range().end == mail.as_ptr_range().end;
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if is_last && line.is_empty() => line,
            None => return Some("the mail has a line that does not end in CR LF"),
        };
        if line.contains(&b'\r') {
            return Some("the mail has a CR inside a line");
        }
        if line.contains(&0) || !line.is_ascii() {
            return Some("the mail has bytes that are not ASCII");
        }
        if line.len() > LINE_BYTES_MAX {
            return Some("the mail has a line that is too long");
        }
    }
    None
}

#[cfg(test)]
mod tests;
