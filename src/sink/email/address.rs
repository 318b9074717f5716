//! Addresses of mails: what may stand in `to`, `from` and `reply_to`.
//!
//! Stricter than the standards: an address that would have to be quoted, or that needs SMTPUTF8, is
//! refused when it is registered. So nothing that is written into a header or an SMTP command can
//! hold a line break, a bracket or a space.

use lettre::message::Mailbox;

/// The longest part of an address before the `@`, in bytes (RFC 5321, section 4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX: usize = 64;
/// The longest part after it, in bytes (RFC 5321, section 4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// The longest name before an address, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 100;

/// Reads `ada@example.com` or `Ada Lovelace <ada@example.com>`.
///
/// # Errors
///
/// What is wrong and what to write instead.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    if text.contains(['\r', '\n']) {
        return Err(format!(
            "{text:?} has a line break: write one address, such as ada@example.com"
        ));
    }
    if text.chars().any(|c| c.is_control() || is_line_separator(c)) {
        return Err(format!("{text:?} has a control character: take it out"));
    }
    let parsed: Mailbox = text.parse().map_err(|_| {
        format!(
            "`{text}` is no address such as ada@example.com or \"Ada Lovelace <ada@example.com>\""
        )
    })?;
    let (local, domain) = (parsed.email.user(), parsed.email.domain());
    if !text.contains(parsed.email.as_ref() as &str) || !is_plain(local, "!#$%&'*+-/=?^_`{|}~.") {
        return Err(format!(
            "`{text}`: before the @ stand letters, digits and signs of ASCII, without quotes"
        ));
    }
    if !is_plain(domain, "-.") || domain.starts_with('-') || domain.ends_with(['-', '.']) {
        return Err(format!(
            "`{text}`: after the @ stands a domain in ASCII; write another script as xn--..."
        ));
    }
    if local.len() > LOCAL_PART_BYTES_MAX || domain.len() > DOMAIN_BYTES_MAX {
        return Err(format!(
            "an address of {} and {} bytes is too long; the limits are {LOCAL_PART_BYTES_MAX} and \
             {DOMAIN_BYTES_MAX}",
            local.len(),
            domain.len()
        ));
    }
    let name_chars = parsed
        .name
        .as_deref()
        .map_or(0, |name| name.chars().count());
    if name_chars > DISPLAY_NAME_CHARS_MAX {
        return Err(format!(
            "a name of {name_chars} characters is too long; the limit is {DISPLAY_NAME_CHARS_MAX}"
        ));
    }
    Ok(parsed)
}

fn is_plain(part: &str, signs: &str) -> bool {
    !part.is_empty()
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
}

/// What Unicode calls the end of a line, besides the control characters.
pub(super) fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_name() {
        for (text, address, name) in [
            ("ada@example.com", "ada@example.com", None),
            ("a.b+c_d@mail.example.com", "a.b+c_d@mail.example.com", None),
            ("rowcall@localhost", "rowcall@localhost", None),
            (
                "Ada Lovelace <ada@example.com>",
                "ada@example.com",
                Some("Ada Lovelace"),
            ),
            ("Jürgen <j@example.com>", "j@example.com", Some("Jürgen")),
        ] {
            let read = mailbox(text).unwrap();
            assert_eq!(read.email.to_string(), address);
            assert_eq!(read.name.as_deref(), name);
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused_with_a_remedy() {
        for (text, says) in [
            ("", "is no address such as"),
            ("ada", "is no address such as"),
            ("ada@", "is no address such as"),
            ("ada@example.com, bob@example.com", "is no address such as"),
            (
                "ada@example.com\r\nBcc: eve@example.com",
                "has a line break",
            ),
            ("ada\n@example.com", "has a line break"),
            ("Ada\u{2028}B <ada@example.com>", "has a control character"),
            ("ada\0@example.com", "has a control character"),
            ("\"a b\"@example.com", "is no address such as"),
            ("\"a\"@example.com", "without quotes"),
            ("jürgen@example.com", "of ASCII"),
            ("ada@exämple.com", "xn--"),
            ("ada@[127.0.0.1]", "is no address such as"),
            ("ada@-example.com", "`ada@-example.com`"),
            ("<script>@example.com", "`"),
        ] {
            let error = mailbox(text).expect_err(text);
            assert!(error.contains(says), "{text:?} gave: {error}");
            assert!(!error.contains(['\r', '\n']), "{error:?}");
        }
        let long = format!("{}@example.com", "a".repeat(65));
        assert!(mailbox(&long).is_err());
        let long = format!("{} <ada@example.com>", "a".repeat(101));
        assert!(mailbox(&long).unwrap_err().contains("the limit is 100"));
    }
}
