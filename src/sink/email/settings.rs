//! The mail server as the operator set it: `ROWCALL_SMTP_URL` and `ROWCALL_SMTP_FROM`.
//!
//! The server is the operator's own choice, so the address guard, which is there for addresses that
//! subscribers choose, does not judge it. Subscribers choose recipients, and those are checked.

use std::{fmt, path::PathBuf};

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::address::mailbox;

/// Mails under way at once, and connections to the mail server, if the URL does not say.
pub const CONNECTIONS_DEFAULT: usize = 8;
/// The most connections to the mail server that a URL may ask for.
pub const CONNECTIONS_MAX: usize = 64;

/// Where mails go, and from whom.
#[derive(Clone, Debug)]
pub struct MailSettings {
    pub(super) route: Route,
    /// The sender of every mail: who is told of bounces and asked to unsubscribe.
    pub(super) from: Mailbox,
    /// Mails under way at once.
    pub(super) connections_max: usize,
}

/// How a mail leaves.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Written to a file of its own in this directory.
    File(PathBuf),
    /// Handed to a mail server.
    Smtp(SmtpRoute),
}

/// A mail server.
#[derive(Clone)]
pub(super) struct SmtpRoute {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    /// User name and password.
    pub(super) login: Option<(String, SecretString)>,
}

/// Whether the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// From the first byte (`smtps`).
    Implicit,
    /// By STARTTLS, or nothing is sent.
    Required,
    /// By STARTTLS if the server offers it: whoever sits on the line can take the offer away.
    Opportunistic,
    /// Not at all.
    None,
}

/// Why the mail settings can't be used. The texts never hold the URL, which may have a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MailSettingsError(String);

impl MailSettings {
    /// Reads `smtp://`, `smtps://` or `file://` and the sender's address.
    ///
    /// # Errors
    ///
    /// [`MailSettingsError`], with what to write instead.
    pub fn parse(url: &SecretString, from: Option<&str>) -> Result<Self, MailSettingsError> {
        let url = Url::parse(url.expose_secret()).map_err(|error| {
            refused(format!(
                "ROWCALL_SMTP_URL is no URL such as smtps://user:password@mail.example.com: {error}; \
                 in user and password write special characters as %XX"
            ))
        })?;
        let options = Options::read(&url)?;
        let route = match url.scheme() {
            "file" => Route::File(directory(&url)?),
            "smtp" | "smtps" => Route::Smtp(SmtpRoute::read(&url, options.tls)?),
            other => {
                return Err(refused(format!(
                    "ROWCALL_SMTP_URL begins with `{other}:`; write smtps://, smtp:// or file://"
                )));
            }
        };
        let from = match (from, &route) {
            (Some(from), _) => {
                mailbox(from).map_err(|problem| refused(format!("ROWCALL_SMTP_FROM: {problem}")))?
            }
            (None, Route::File(_)) => mailbox("rowcall@localhost").map_err(refused)?,
            (None, Route::Smtp(_)) => {
                return Err(refused(
                    "ROWCALL_SMTP_FROM is not set: the sender of mails, such as \
                     \"Rowcall <rowcall@example.com>\"",
                ));
            }
        };
        Ok(Self {
            route,
            from,
            connections_max: options.connections_max,
        })
    }

    /// Whether a subscription may send as `from`: only in the domain that the operator sends from,
    /// so that nobody writes in another's name.
    pub(super) fn admits_sender(&self, from: &Mailbox) -> Result<(), String> {
        let domain = self.from.email.domain();
        if from.email.domain().eq_ignore_ascii_case(domain) {
            return Ok(());
        }
        Err(format!(
            "mails are sent from {domain} (ROWCALL_SMTP_FROM): write an address of that domain, or \
             leave `from` out"
        ))
    }
}

/// What stands behind the `?` of the URL.
struct Options {
    tls: Option<Encryption>,
    connections_max: usize,
}

impl Options {
    fn read(url: &Url) -> Result<Self, MailSettingsError> {
        let mut options = Self {
            tls: None,
            connections_max: CONNECTIONS_DEFAULT,
        };
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("tls", "required") => options.tls = Some(Encryption::Required),
                ("tls", "opportunistic") => options.tls = Some(Encryption::Opportunistic),
                ("tls", "none") => options.tls = Some(Encryption::None),
                ("tls", _) => {
                    return Err(refused(
                        "ROWCALL_SMTP_URL: `tls` is `required` (the default), `opportunistic` or \
                         `none`",
                    ));
                }
                ("connections", number) => {
                    options.connections_max = number
                        .parse()
                        .ok()
                        .filter(|number| (1..=CONNECTIONS_MAX).contains(number))
                        .ok_or_else(|| {
                            refused(format!(
                                "ROWCALL_SMTP_URL: `connections` is a number from 1 to \
                                 {CONNECTIONS_MAX}"
                            ))
                        })?;
                }
                _ => {
                    return Err(refused(
                        "ROWCALL_SMTP_URL has an unknown option: known are `tls` and `connections`",
                    ));
                }
            }
        }
        Ok(options)
    }
}

impl SmtpRoute {
    fn read(url: &Url, tls: Option<Encryption>) -> Result<Self, MailSettingsError> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(refused(
                "ROWCALL_SMTP_URL names no host: write smtps://mail.example.com",
            ));
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(refused(
                "ROWCALL_SMTP_URL has more than host, port and options: in user and password write \
                 `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
            ));
        }
        let (encryption, port) = match (url.scheme(), tls) {
            ("smtps", None) => (Encryption::Implicit, 465),
            ("smtps", Some(_)) => {
                return Err(refused(
                    "ROWCALL_SMTP_URL: smtps:// is always encrypted; take `tls` out, or write \
                     smtp://",
                ));
            }
            (_, None) => (Encryption::Required, 587),
            (_, Some(Encryption::None)) => (Encryption::None, 25),
            (_, Some(encryption)) => (encryption, 587),
        };
        let login = login(url)?;
        let is_safe = matches!(encryption, Encryption::Implicit | Encryption::Required);
        if login.is_some() && !is_safe && !is_this_machine(host) {
            return Err(refused(
                "ROWCALL_SMTP_URL has a password, which would cross the network unencrypted: use \
                 smtps://, or take `tls` out",
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            encryption,
            login,
        })
    }
}

fn login(url: &Url) -> Result<Option<(String, SecretString)>, MailSettingsError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
        (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
    };
    let user = decoded(url.username());
    let password = url.password().and_then(decoded);
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some((user, password.into()))),
        _ => Err(refused(
            "ROWCALL_SMTP_URL: user and password go together, without control characters: write \
             smtps://user:password@mail.example.com, or neither",
        )),
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn directory(url: &Url) -> Result<PathBuf, MailSettingsError> {
    url.to_file_path().map_err(|()| {
        refused("ROWCALL_SMTP_URL: write a whole path behind file://, as in file:///var/mail/out")
    })
}

fn refused(text: impl Into<String>) -> MailSettingsError {
    MailSettingsError(text.into())
}

impl fmt::Debug for SmtpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpRoute")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<MailSettings, MailSettingsError> {
        MailSettings::parse(
            &url.to_owned().into(),
            Some("Rowcall <rowcall@example.com>"),
        )
    }

    fn smtp(url: &str) -> SmtpRoute {
        match parse(url).unwrap().route {
            Route::Smtp(route) => route,
            Route::File(path) => panic!("{url} gave {path:?}"),
        }
    }

    #[test]
    fn a_url_says_where_and_how() {
        for (url, port, encryption) in [
            ("smtps://mail.example.com", 465, Encryption::Implicit),
            ("smtps://mail.example.com:9", 9, Encryption::Implicit),
            ("smtp://mail.example.com", 587, Encryption::Required),
            (
                "smtp://mail.example.com?tls=required",
                587,
                Encryption::Required,
            ),
            ("smtp://mail.example.com/?tls=none", 25, Encryption::None),
            (
                "smtp://mail.example.com:26?tls=opportunistic",
                26,
                Encryption::Opportunistic,
            ),
        ] {
            let route = smtp(url);
            assert_eq!((route.port, route.encryption), (port, encryption), "{url}");
            assert_eq!(route.host, "mail.example.com");
            assert!(route.login.is_none());
        }
        let route = smtp("smtps://ada%40example.com:p%3Ass%2F@[::1]:2525");
        let (user, password) = route.login.unwrap();
        assert_eq!(route.host, "::1");
        assert_eq!(
            (user.as_str(), password.expose_secret()),
            ("ada@example.com", "p:ss/")
        );
        let settings = parse("smtps://mail.example.com?connections=3").unwrap();
        assert_eq!(settings.connections_max, 3);
        let files = parse("file:///var/mail/out").unwrap();
        assert!(matches!(files.route, Route::File(path) if path.ends_with("mail/out")));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_the_password() {
        for (url, says) in [
            ("mail.example.com", "is no URL such as"),
            ("https://mail.example.com", "begins with `https:`"),
            ("smtps://", "names no host"),
            (
                "smtp://mail.example.com?tls=maybe",
                "`required` (the default)",
            ),
            ("smtps://mail.example.com?tls=none", "always encrypted"),
            ("smtps://mail.example.com?timeout=3", "unknown option"),
            ("smtps://mail.example.com?connections=0", "from 1 to 64"),
            ("smtps://ada:hunter2@mail.example.com/x", "more than host"),
            ("smtps://ada@mail.example.com", "go together"),
            ("smtps://ada:hunter2%0d%0a@mail.example.com", "go together"),
            (
                "smtp://ada:hunter2@mail.example.com?tls=none",
                "unencrypted",
            ),
            (
                "smtp://ada:hunter2@mail.example.com?tls=opportunistic",
                "unencrypted",
            ),
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(error.contains(says), "{url} gave: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let shown = format!(
            "{:?}",
            parse("smtps://ada:hunter2@mail.example.com").unwrap()
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_password_may_go_unencrypted_to_this_machine_only() {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(smtp(&format!("smtp://a:b@{host}?tls=none")).login.is_some());
        }
    }

    #[test]
    fn the_sender_must_be_known_and_bounds_other_senders() {
        let url: SecretString = "smtps://mail.example.com".to_owned().into();
        let missing = MailSettings::parse(&url, None).unwrap_err().to_string();
        assert!(
            missing.contains("ROWCALL_SMTP_FROM is not set"),
            "{missing}"
        );
        let broken = MailSettings::parse(&url, Some("a@b\r\nc"))
            .unwrap_err()
            .to_string();
        assert!(broken.contains("line break"), "{broken}");

        let settings = parse("smtps://mail.example.com").unwrap();
        let same = mailbox("Desk <desk@EXAMPLE.com>").unwrap();
        assert_eq!(settings.admits_sender(&same), Ok(()));
        let other = mailbox("ceo@bank.example").unwrap();
        assert!(
            settings
                .admits_sender(&other)
                .unwrap_err()
                .contains("example.com")
        );
    }
}
