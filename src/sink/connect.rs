//! Opening connections: resolve, ask the guard, dial exactly what it admitted, encrypt.
//!
//! The address that the guard saw is the address that is dialled; there is no second lookup for a
//! hostile name server to answer differently. An IP address as host passes by the resolver and not
//! by the guard. If a name has admitted and refused addresses, only the admitted ones are dialled.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::connection::MarkedConnection;
use super::guard::{AddressGuard, Refusal};

/// How many addresses of one name are dialled, in turn, before the attempt is given up.
pub const ADDRESSES_TRIED_MAX: usize = 4;
/// How long one address may take to accept a connection. Three seconds let the first packet be
/// repeated once (RFC 6298: after 1 s), and leave time for the next address within the request
/// timeout.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the whole of resolving, connecting and the TLS handshake may take. The request
/// timeout is usually shorter; this one ends what no request waits for any more, because the
/// client found an idle connection first and let the new one go on by itself.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

type Error = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Why no connection was opened. The sources are in the chain, not in the texts.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("`{0}` cannot be connected to: it names no host")]
    NoHost(Uri),
    #[error("the name {host} was not resolved")]
    Resolve {
        host: String,
        #[source]
        source: hickory_resolver::net::NetError,
    },
    #[error("the name {host} has no address")]
    NoAddress { host: String },
    /// Every address was refused; the first refusal stands for all.
    #[error("no address of {host} may be reached")]
    Refused {
        host: String,
        #[source]
        refusal: Refusal,
    },
    #[error("{address} did not accept a connection")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no connection was established within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
}

/// Opens connections for the HTTP client: dials, encrypts if the scheme says so, bounds the time.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Dialer>,
}

impl Connector {
    pub(super) fn new(dialer: Dialer, tls: rustls::ClientConfig) -> Self {
        Self {
            https: HttpsConnector::from((dialer, tls)),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = MarkedConnection;
    type Error = Error;
    type Future = Connecting<MarkedConnection, Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.https.call(target);
        Box::pin(async move {
            match timeout(HANDSHAKE_TIMEOUT, connecting).await {
                Ok(connected) => Ok(MarkedConnection::fresh(connected?)),
                Err(_elapsed) => Err(DialError::HandshakeTimeout.into()),
            }
        })
    }
}

/// Opens plain connections to admitted addresses.
#[derive(Clone)]
pub(super) struct Dialer {
    guard: Arc<AddressGuard>,
    resolver: TokioResolver,
}

impl Dialer {
    pub(super) fn new(guard: Arc<AddressGuard>, resolver: TokioResolver) -> Self {
        Self { guard, resolver }
    }

    async fn dial(self, target: Uri) -> Result<TokioIo<TcpStream>, DialError> {
        let Some(host) = target
            .host()
            .map(without_brackets)
            .filter(|host| !host.is_empty())
        else {
            return Err(DialError::NoHost(target));
        };
        let port = target.port_u16().unwrap_or(match target.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let found = match host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.resolve(host).await?,
        };
        dial_in_turn(self.admitted(host, &found)?, host, port).await
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, DialError> {
        match self.resolver.lookup_ip(host).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(source) => Err(DialError::Resolve {
                host: host.to_owned(),
                source,
            }),
        }
    }

    /// The addresses of `found` that may be dialled, each once, in the resolver's order.
    fn admitted(&self, host: &str, found: &[IpAddr]) -> Result<Vec<IpAddr>, DialError> {
        let mut admitted = Vec::new();
        let mut first_refusal = None;
        for address in found.iter().map(IpAddr::to_canonical) {
            match self.guard.check(address) {
                Ok(()) if admitted.contains(&address) => {}
                Ok(()) => admitted.push(address),
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        match first_refusal {
            Some(refusal) if admitted.is_empty() => Err(DialError::Refused {
                host: host.to_owned(),
                refusal,
            }),
            _ => Ok(admitted),
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Connecting<TokioIo<TcpStream>, DialError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().dial(target))
    }
}

/// Connects to the first address that accepts; the error is that of the last one tried.
async fn dial_in_turn(
    addresses: Vec<IpAddr>,
    host: &str,
    port: u16,
) -> Result<TokioIo<TcpStream>, DialError> {
    let mut failed = DialError::NoAddress {
        host: host.to_owned(),
    };
    for address in addresses.into_iter().take(ADDRESSES_TRIED_MAX) {
        let address = SocketAddr::new(address, port);
        let source = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one small write: waiting to fill a packet only delays it. Failing
                // to say so costs time and nothing else.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => io::ErrorKind::TimedOut.into(),
        };
        failed = DialError::Connect { address, source };
    }
    Err(failed)
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(allow: &[&str]) -> Dialer {
        let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
        let resolver = hickory_resolver::Resolver::builder_with_config(
            hickory_resolver::config::ResolverConfig::default(),
            Default::default(),
        );
        Dialer::new(
            Arc::new(AddressGuard::new(allow)),
            resolver.build().unwrap(),
        )
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn of_mixed_addresses_only_the_admitted_are_dialled() {
        let found = addresses(&[
            "10.0.0.1",
            "8.8.8.8",
            "::1",
            "::ffff:8.8.8.8",
            "2606:4700::1",
        ]);
        let admitted = dialer(&[]).admitted("mixed.example", &found).unwrap();
        assert_eq!(admitted, addresses(&["8.8.8.8", "2606:4700::1"]));
    }

    #[tokio::test]
    async fn a_name_with_no_admitted_address_is_refused() {
        let found = addresses(&["10.0.0.1", "127.0.0.1"]);
        let error = dialer(&["10.1.0.0/16"])
            .admitted("inside.example", &found)
            .unwrap_err();
        let DialError::Refused { refusal, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(refusal.address, found[0]);
    }

    #[tokio::test]
    async fn an_address_as_host_is_judged_without_a_lookup() {
        for target in [
            "http://127.0.0.1:1/",
            "http://[::1]:1/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            let error = dialer(&[]).dial(target.parse().unwrap()).await.unwrap_err();
            assert!(
                matches!(error, DialError::Refused { .. }),
                "{target}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn localhost_is_loopback_and_judged_as_such() {
        let error = dialer(&[])
            .dial("http://localhost:1/".parse().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_accept() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nothing listens on this port of the second loopback address.
        let stream = dial_in_turn(addresses(&["127.0.0.2", "127.0.0.1"]), "two.example", port);
        let peer = stream.await.unwrap().inner().peer_addr().unwrap();
        assert_eq!(peer.ip(), addresses(&["127.0.0.1"])[0]);
    }
}
