//! Which URLs a webhook subscription may name.
//!
//! Judged twice: when the subscription is registered, so that the mistake is told to whoever made
//! it, and when the sink is built, because the allowed networks may have changed since.

use std::net::IpAddr;

use hyper::Uri;
use url::{Host, Url};

use super::guard::{AddressGuard, Refusal};

/// The longest URL accepted, in bytes; RFC 9110 (section 4.1) asks for 8,000 at least of servers,
/// and every receiver seen needs far less.
pub const URL_BYTES_MAX: usize = 2_048;

/// Why a URL can never be called. The texts name the part that is wrong and never the whole URL,
/// which may carry a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefusal {
    /// Neither http nor https.
    #[error("the URL's scheme is `{0}`; use https or http")]
    Scheme(String),
    /// A user name or password before the host.
    #[error("the URL carries a user name or password; remove it: requests are signed instead")]
    UserInfo,
    /// No host to connect to.
    #[error("the URL names no host")]
    NoHost,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the URL has {bytes} bytes; the limit is {URL_BYTES_MAX}")]
    TooLong {
        /// The length found.
        bytes: usize,
    },
    /// Characters that no HTTP request line can carry.
    #[error("the URL cannot be written in an HTTP request; percent-encode its special characters")]
    Unusable,
    /// The host is an IP address that sinks may not reach.
    #[error(transparent)]
    Address(#[from] Refusal),
}

/// Whether `url` may be registered as the target of a webhook.
///
/// An IP address as host is judged at once, in whatever form it was written: the URL standard
/// normalises `0x7f.1` and `2130706433` while parsing. A host name is judged by its addresses when
/// it is dialled, for its answer now proves nothing about its answer then.
///
/// # Errors
///
/// The first rule that the URL breaks.
pub fn check_url(url: &Url, guard: &AddressGuard) -> Result<(), UrlRefusal> {
    target_of(url, guard).map(|_| ())
}

/// What [`check_url`] accepted, in the form the HTTP client takes it: without the fragment.
pub(super) fn target_of(url: &Url, guard: &AddressGuard) -> Result<Uri, UrlRefusal> {
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(UrlRefusal::TooLong {
            bytes: url.as_str().len(),
        });
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlRefusal::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlRefusal::UserInfo);
    }
    match url.host() {
        None => return Err(UrlRefusal::NoHost),
        Some(Host::Domain(name)) if name.trim_end_matches('.').is_empty() => {
            return Err(UrlRefusal::NoHost);
        }
        Some(Host::Domain(_)) => {}
        Some(Host::Ipv4(v4)) => guard.check(IpAddr::V4(v4))?,
        Some(Host::Ipv6(v6)) => guard.check(IpAddr::V6(v6))?,
    }

    let mut target = url.clone();
    target.set_fragment(None);
    target.as_str().parse().map_err(|_| UrlRefusal::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), UrlRefusal> {
        check_url(&Url::parse(text).unwrap(), &AddressGuard::default())
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for text in [
            "http://127.0.0.1/",
            "http://127.0.0.1./",
            "http://127.1/",
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://2130706433/",
            "http://0/",
            "http://%31%32%37.0.0.1/",
            "http://①②⑦.⓪.⓪.①/",
            "http://127。0。0。1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:a00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fe80::1]/",
            "https://10.0.0.5:8443/hook?x=1",
            "http://169.254.169.254/latest/meta-data/",
            "http://3232235777/",
        ] {
            let refusal = verdict(text).expect_err(text);
            assert!(
                matches!(refusal, UrlRefusal::Address(_)),
                "{text}: {refusal}"
            );
        }
    }

    #[test]
    fn the_parts_that_cannot_be_are_named() {
        for (text, refusal) in [
            ("ftp://example.com/", UrlRefusal::Scheme("ftp".into())),
            ("file:///etc/passwd", UrlRefusal::Scheme("file".into())),
            ("data:text/plain,x", UrlRefusal::Scheme("data".into())),
            ("https://user@example.com/", UrlRefusal::UserInfo),
            ("https://:word@example.com/", UrlRefusal::UserInfo),
            ("https://./", UrlRefusal::NoHost),
        ] {
            assert_eq!(verdict(text), Err(refusal), "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert!(matches!(verdict(&long), Err(UrlRefusal::TooLong { .. })));
    }

    #[test]
    fn names_and_public_addresses_pass() {
        for text in [
            "https://example.com/hooks?token=abc#top",
            "http://localhost:8080/",
            "https://8.8.8.8/",
            "https://[2606:4700:4700::1111]:8443/",
            "https://b\u{fc}cher.example/h\u{f6}ren?q=a b|c",
            "https://example.com/{id}/^",
        ] {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_target_has_no_fragment() {
        let url = Url::parse("https://example.com/a?b=c#d").unwrap();
        let target = target_of(&url, &AddressGuard::default()).unwrap();
        assert_eq!(target.to_string(), "https://example.com/a?b=c");
    }

    #[test]
    fn an_allowed_network_opens_its_addresses() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(check_url(&Url::parse("http://0x7f.1/").unwrap(), &guard).is_ok());
        assert!(check_url(&Url::parse("http://[::1]/").unwrap(), &guard).is_err());
    }
}
