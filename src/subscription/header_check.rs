//! Which headers a subscriber may have sent to its receiver, and with which values. Pure.

use std::collections::{BTreeMap, HashSet};

use hyper::header::HeaderName;

use super::{
    check::{SpecProblem, pointer_part},
    credential::{Basic, Credential},
};

/// The most headers of one subscription.
pub const HEADERS_MAX: usize = 16;
/// The longest name of a header, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 64;
/// The longest value of a header, of a token, a password or a user name, in bytes. Of all of them
/// together see [`HEADERS_BYTES_MAX`](super::credential::HEADERS_BYTES_MAX).
pub const HEADER_VALUE_BYTES_MAX: usize = 2_048;

/// Headers that belong to the request, to the connection, or to somebody on the way.
const RESERVED: [&str; 30] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "metadata",
    "origin",
    "range",
    "referer",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "via",
    "x-client-ip",
    "x-forwarded",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
];

/// Beginnings of the same: those of Rowcall's own headers, of CloudEvents, of proxies, and those by
/// which the metadata services of clouds tell their callers from strangers.
const RESERVED_PREFIXES: [&str; 11] = [
    "ce-",
    "metadata-",
    "proxy-",
    "rowcall-",
    "sec-",
    "webhook-",
    "x-aliyun-ecs-",
    "x-aws-ec2-",
    "x-forwarded-",
    "x-google-",
    "x-original-",
];

/// The header that `name` names.
///
/// # Errors
///
/// Why it can't be a subscriber's, and what to do.
pub fn check_header_name(name: &str) -> Result<HeaderName, String> {
    if name.len() > HEADER_NAME_BYTES_MAX {
        return Err(format!(
            "the name of a header has at most {HEADER_NAME_BYTES_MAX} bytes"
        ));
    }
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(
            "this is no name of a header: use letters, digits and `-`, as in X-Api-Key".to_owned(),
        );
    };
    let lower = header.as_str();
    // Gateways that hand headers on as variables (RFC 3875, section 4.1.18) take both for one.
    let dashed = lower.replace('_', "-");
    let is_reserved = RESERVED.contains(&dashed.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| dashed.starts_with(prefix));
    if is_reserved {
        return Err(format!(
            "`{lower}` is set by Rowcall, by the connection or by what is on the way; choose \
             another name, such as X-Api-Key"
        ));
    }
    Ok(header)
}

/// Whether a header can carry `value`.
///
/// # Errors
///
/// Why not; the value is not repeated.
pub fn check_header_value(value: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    let text = if value.is_empty() || value.trim() != value {
        "a value is needed, without spaces at its ends"
    } else if value.len() > HEADER_VALUE_BYTES_MAX {
        return Err(format!(
            "the value has more than {HEADER_VALUE_BYTES_MAX} bytes"
        ));
    } else if !value.bytes().all(is_plain) {
        "a value has visible ASCII characters and spaces only: no line breaks, no other controls"
    } else {
        return Ok(());
    };
    Err(text.to_owned())
}

/// What of a webhook's headers can be judged without their values.
pub(super) fn check_headers(
    headers: &BTreeMap<String, Credential>,
    bearer: Option<&Credential>,
    basic: Option<&Basic>,
    problems: &mut Vec<SpecProblem>,
) {
    if headers.len() > HEADERS_MAX {
        let text = format!("{} headers; the limit is {HEADERS_MAX}", headers.len());
        problems.push(SpecProblem::new("/sink/headers", text));
    }
    let mut seen = HashSet::new();
    for name in headers.keys() {
        let pointer = format!("/sink/headers/{}", pointer_part(name));
        let authorizes = bearer.is_some() || basic.is_some();
        let text = match check_header_name(name) {
            Err(text) => text,
            Ok(header) if authorizes && header == "authorization" => {
                "`bearer` or `basic` sets this header; keep one of them".to_owned()
            }
            Ok(header) if seen.insert(header.clone()) => continue,
            Ok(header) => format!("`{header}` is there twice; names have no case"),
        };
        problems.push(SpecProblem::new(pointer, text));
    }
    let Some(basic) = basic else {
        return;
    };
    if bearer.is_some() {
        let text = "`bearer` and `basic` set the same header; keep one of them";
        problems.push(SpecProblem::new("/sink/basic", text));
    }
    if basic.user.contains(':') || check_header_value(&basic.user).is_err() {
        let text = format!(
            "a user name has 1 to {HEADER_VALUE_BYTES_MAX} visible ASCII characters and no colon \
             (RFC 7617)"
        );
        problems.push(SpecProblem::new("/sink/basic/user", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_the_request_are_refused_in_any_case() {
        for name in [
            "Host",
            "content-LENGTH",
            "Transfer-Encoding",
            "Connection",
            "Webhook-Id",
            "webhook-signature",
            "WebHook-Request-Origin",
            "CE-id",
            "ce-anything",
            "User-Agent",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "Metadata-Flavor",
            "X-aws-ec2-metadata-token",
            "rowcall-replay",
            "Keep-Alive",
            "Webhook_Signature",
            "X_Forwarded_For",
            "content_length",
            "X-Forwarded",
            "True-Client-IP",
            "Metadata-Token",
            "X-aliyun-ecs-metadata-token",
            "X-HTTP-Method-Override",
        ] {
            let text = check_header_name(name).expect_err(name);
            assert!(text.contains("choose another name"), "{text}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "ä", "a\0"] {
            assert!(check_header_name(name).is_err(), "{name:?}");
        }
        assert!(check_header_name(&"a".repeat(HEADER_NAME_BYTES_MAX + 1)).is_err());
        for name in ["X-Api-Key", "authorization", "Cookie", "X-Tenant_1"] {
            assert!(check_header_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn no_value_can_end_its_line() {
        for value in [
            "",
            " a",
            "a ",
            "a\r\nX: y",
            "a\nb",
            "a\rb",
            "a\0b",
            "\u{7f}",
            "gr\u{fc}n",
            "a\u{85}b",
        ] {
            assert!(check_header_value(value).is_err(), "{value:?}");
        }
        assert!(check_header_value(&"a".repeat(HEADER_VALUE_BYTES_MAX + 1)).is_err());
        for value in ["a", "Token a b\tc", &"~".repeat(HEADER_VALUE_BYTES_MAX)] {
            assert_eq!(check_header_value(value), Ok(()));
        }
    }

    #[test]
    fn two_ways_to_authorize_and_one_name_twice_are_refused() {
        let headers = ["X-A", "x-a", "Authorization"].map(|name| (name.into(), Credential::Kept));
        let basic = Basic {
            user: "a:b".into(),
            password: Credential::Kept,
        };
        let mut problems = Vec::new();
        let bearer = Some(&Credential::Kept);
        check_headers(&headers.into(), bearer, Some(&basic), &mut problems);
        let pointers: Vec<&str> = problems.iter().map(|one| one.pointer.as_str()).collect();
        let expected = [
            "/sink/headers/Authorization",
            "/sink/headers/x-a",
            "/sink/basic",
            "/sink/basic/user",
        ];
        assert_eq!(pointers, expected);
    }
}
