//! Blanks out secrets in the text of a metadata file before an error may show a part of it.
//!
//! It works on the text and not on the parsed file, because the line that can't be parsed may be
//! the one with the secret. Every byte keeps its place, so that spans stay right.

/// Replaces what is, or looks like, a secret by `*`: the value of `secret = "..."`, the same of
/// `bearer` and `password`, the values of `headers`, every `whsec_...` and `whsk_...`, and the user
/// name and password of a URL.
pub(super) fn redacted(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for word in ["secret", "bearer", "password"] {
        blank_literals(word, text, &mut bytes);
    }
    blank_headers(text, &mut bytes);
    blank_prefixed(text, &mut bytes);
    blank_url_users(text, &mut bytes);
    // Only whole characters were replaced, each of their bytes by an ASCII one.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

fn blank(bytes: &mut [u8], from: usize, to: usize) {
    for byte in &mut bytes[from..to] {
        if !matches!(*byte, b'\n' | b'\r') {
            *byte = b'*';
        }
    }
}

/// `secret = "..."`, also with quotes around the key, of any kind of string, closed or not; and
/// what is in a list or a table there, but the name of a variable.
fn blank_literals(word: &str, text: &str, bytes: &mut [u8]) {
    for (at, word) in text.match_indices(word) {
        let rest = &text[at + word.len()..];
        let rest = rest
            .trim_start_matches(['"', '\''])
            .trim_start_matches([' ', '\t']);
        let Some(rest) = rest.strip_prefix('=') else {
            continue;
        };
        let value = rest.trim_start_matches([' ', '\t']);
        let start = text.len() - value.len();
        let closing = match value.as_bytes().first() {
            Some(b'[') => ']',
            Some(b'{') => '}',
            Some(b'"' | b'\'') => {
                let inside = string_at(value);
                blank(bytes, start + inside.start, start + inside.end);
                continue;
            }
            _ => continue,
        };
        let end = value.find(closing).unwrap_or(value.len());
        blank_strings(&value[..end], start, bytes);
    }
}

/// What is between the quotes of the string that `text` begins with. One that is not closed ends
/// with its line.
fn string_at(text: &str) -> std::ops::Range<usize> {
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| text.starts_with(quote));
    let from = quote.map_or(0, str::len);
    let inside = &text[from..];
    let line = inside.find('\n').unwrap_or(inside.len());
    let end = match quote.and_then(|quote| inside.find(quote)) {
        Some(end) if from == 3 => end,
        Some(end) => end.min(line),
        None if from == 3 => inside.len(),
        None => line,
    };
    from..from + end
}

/// Every string of `part`, which begins at `offset`, but keys and the names of variables.
fn blank_strings(part: &str, offset: usize, bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = part[at..].find(['"', '\'']) {
        let begin = at + found;
        let inside = string_at(&part[begin..]);
        let after = part[begin + inside.end..].trim_start_matches(['"', '\'', ' ', '\t']);
        let before = part[..begin].trim_end();
        let is_variable = before.strip_suffix('=').is_some_and(|before| {
            let name = before.trim_end().trim_end_matches(['"', '\'']);
            let before = name.strip_suffix("env");
            // A header's name may end like it.
            let is_part = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
            before.is_some_and(|before| !before.ends_with(is_part))
        });
        if !is_variable && !after.starts_with('=') {
            blank(
                bytes,
                offset + begin + inside.start,
                offset + begin + inside.end,
            );
        }
        at = begin + inside.end + inside.start;
        at = at.min(part.len());
        while !part.is_char_boundary(at) {
            at += 1;
        }
    }
}

/// Every value of `headers = { ... }` and of a table `[....headers]`, whatever the header's name.
fn blank_headers(text: &str, bytes: &mut [u8]) {
    for (at, word) in text.match_indices("headers") {
        let after = &text[at + word.len()..];
        let rest = after.trim_start_matches(['"', '\'', ' ', '\t']);
        let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
        // Of a table, and of one in braces over several lines, up to the next table.
        let is_wide = rest.starts_with(']') || rest.starts_with('=') && !line.contains('}');
        let all = match rest.find("\n[") {
            Some(end) if is_wide => &rest[..end],
            None if is_wide => rest,
            _ => line,
        };
        if let Some(inside) = all.strip_prefix(['=', ']', '.']) {
            blank_strings(inside, text.len() - rest.len() + 1, bytes);
        }
    }
}

fn blank_prefixed(text: &str, bytes: &mut [u8]) {
    let prefixes = ["whsec_", "whsk_"];
    for (at, prefix) in prefixes
        .iter()
        .flat_map(|prefix| text.match_indices(prefix))
    {
        let from = at + prefix.len();
        let length = text[from..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+/=_-".contains(c)))
            .unwrap_or(text.len() - from);
        blank(bytes, from, from + length);
    }
}

fn blank_url_users(text: &str, bytes: &mut [u8]) {
    for (at, separator) in text.match_indices("://") {
        let from = at + separator.len();
        let authority = text[from..]
            .find(|c: char| "/?#\"'".contains(c) || c.is_whitespace())
            .unwrap_or(text.len() - from);
        if let Some(length) = text[from..from + authority].rfind('@') {
            blank(bytes, from, from + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_and_every_byte_keeps_its_place() {
        for (text, expected) in [
            (r#"secret = "hunter2""#, r#"secret = "*******""#),
            (
                r#"{ "secret"='hünter' }, x"#,
                r#"{ "secret"='*******' }, x"#,
            ),
            ("secret = \"open\nnext = 1", "secret = \"****\nnext = 1"),
            ("secret = '''a\nb''' x", "secret = '''*\n*''' x"),
            (
                r#"secret = { env = "ERP_SECRET" }"#,
                r#"secret = { env = "ERP_SECRET" }"#,
            ),
            (
                r#"headers = { "X-Key" = "k=1", Y = { env = "Y_KEY" }, Z='a' } # z = "z""#,
                r#"headers = { "X-Key" = "***", Y = { env = "Y_KEY" }, Z='*' } # z = "*""#,
            ),
            (
                r#"headers = { X-env = "k1", "x_env" = 'k2', Z = { "env" = "Z" } }"#,
                r#"headers = { X-env = "**", "x_env" = '**', Z = { "env" = "Z" } }"#,
            ),
            (
                "[subscription.a.sink.headers]\nX-Key = \"k1\"\n[b]\nx = \"y\"",
                "[subscription.a.sink.headers]\nX-Key = \"**\"\n[b]\nx = \"y\"",
            ),
            (
                "headers = { X = [\"a\", 'b'] }",
                "headers = { X = [\"*\", '*'] }",
            ),
            (
                "headers = {\n X = \"open\n Y = 'b' }",
                "headers = {\n X = \"****\n Y = '*' }",
            ),
            (
                r#"bearer = ["b"], password = { x = "p" }, url = "u""#,
                r#"bearer = ["*"], password = { x = "*" }, url = "u""#,
            ),
            ("sink.headers.X-Key = 'k1'", "sink.headers.X-Key = '**'"),
            (
                r#"bearer = "b", basic = { user = "u", password = "p" }"#,
                r#"bearer = "*", basic = { user = "u", password = "*" }"#,
            ),
            (r#"x = "whsec_aB+/=9" # y"#, r#"x = "whsec_******" # y"#),
            (
                "url = \"https://me:pass@host/x@y\"",
                "url = \"https://*******@host/x@y\"",
            ),
            (
                r#"to = ["sales@example.com"]"#,
                r#"to = ["sales@example.com"]"#,
            ),
        ] {
            assert_eq!(redacted(text), expected);
            assert_eq!(redacted(text).len(), text.len());
        }
    }
}
