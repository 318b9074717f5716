//! What to say when a request got no answer: the error chain, read once, as an outcome.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use hyper::http::Extensions;
use hyper_util::client::legacy::Error;
use rustls::CertificateError;

use super::Outcome;
use super::client::RESPONSE_HEAD_BYTES_MAX;
use super::connect::DialError;
use super::connection::ReuseMark;

/// The outcome of a request to `host` that failed before a response head came.
///
/// `trusts_nobody` says that the client knows no root certificate, which explains every failed
/// TLS handshake better than the handshake's own error.
pub(super) fn outcome(error: &Error, host: &str, trusts_nobody: bool) -> Outcome {
    if let Some(DialError::Refused { refusal, .. }) = cause::<DialError>(error) {
        return Outcome::Final {
            status: None,
            detail: refusal.to_string(),
        };
    }
    retry(describe(error, host, trusts_nobody))
}

/// The outcome of a request that got no response head before its deadline.
pub(super) fn timed_out(host: &str, timeout: Duration, connected: bool) -> Outcome {
    let seconds = timeout.as_secs_f64();
    retry(if connected {
        format!("{host} was reached but did not answer within {seconds} s")
    } else {
        format!("no connection to {host} was established within {seconds} s")
    })
}

/// Whether the failure is that of a kept-alive connection which the receiver closed, or whose
/// path went away, while it was being used again.
pub(super) fn was_stale_connection(error: &Error) -> bool {
    let mut extras = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extras);
    }
    extras.get::<ReuseMark>().is_some_and(ReuseMark::is_set) && was_cut_off(error)
}

fn was_cut_off(error: &Error) -> bool {
    cause::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_closed())
        || cause::<io::Error>(error).is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            )
        })
}

fn describe(error: &Error, host: &str, trusts_nobody: bool) -> String {
    if let Some(error) = cause::<DialError>(error) {
        return describe_dial(error);
    }
    if let Some(error) = cause::<rustls::Error>(error) {
        return describe_tls(error, host, trusts_nobody);
    }
    if was_cut_off(error) {
        return if error.is_connect() {
            format!("{host} closed the connection during the TLS handshake; does it speak https?")
        } else {
            format!("{host} closed the connection before it answered")
        };
    }
    if let Some(error) = cause::<hyper::Error>(error) {
        if error.is_parse_too_large() {
            return format!(
                "{host} answered with a head larger than {RESPONSE_HEAD_BYTES_MAX} bytes"
            );
        }
        if error.is_parse() {
            return format!("{host} answered with something that is not HTTP/1.1");
        }
    }
    match cause::<io::Error>(error) {
        Some(error) => format!("the connection to {host} failed: {}", error.kind()),
        None => format!("the request to {host} failed"),
    }
}

fn describe_dial(error: &DialError) -> String {
    match error {
        DialError::Resolve { host, source }
            if source.is_nx_domain() || source.is_no_records_found() =>
        {
            format!("the name {host} has no address in DNS; check the URL")
        }
        DialError::Resolve { host, .. } => {
            format!("the name {host} was not resolved: the name servers gave no usable answer")
        }
        DialError::Connect { address, source } => match source.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!("{address} refused the connection; is the receiver running?")
            }
            io::ErrorKind::TimedOut => format!("{address} did not answer the connection request"),
            kind => format!("{address} cannot be reached: {kind}"),
        },
        DialError::NoHost(_)
        | DialError::NoAddress { .. }
        | DialError::Refused { .. }
        | DialError::HandshakeTimeout => error.to_string(),
    }
}

fn describe_tls(error: &rustls::Error, host: &str, trusts_nobody: bool) -> String {
    if trusts_nobody {
        return "no trusted root certificates were found on this machine; install the package \
                ca-certificates or set SSL_CERT_FILE"
            .to_owned();
    }
    let rustls::Error::InvalidCertificate(problem) = error else {
        return format!("the TLS handshake with {host} failed: {error}");
    };
    match problem {
        // A wrong signature is an authority of a known name with another key: made again, or
        // forged.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {host} comes from no trusted authority; if it is your own, add \
             the authority to this machine or set SSL_CERT_FILE"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet; check the clocks")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate that {host} shows was issued for another name")
        }
        other => format!("the certificate of {host} is not accepted: {other}"),
    }
}

fn retry(detail: String) -> Outcome {
    Outcome::Retry {
        status: None,
        detail,
        retry_after: None,
    }
}

/// The innermost error of type `T` in the chain: of I/O errors that wrap one another, only that
/// one knows what happened. Such an error passes over the wrapped one when asked for its source,
/// so that one is asked for first.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let next = match wrapped {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    };
    next.and_then(cause::<T>).or_else(|| error.downcast_ref())
}
