//! The HTTP client that all webhooks share: its connections, its limits and whom it trusts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::connect::{Connector, Dialer};
use super::guard::AddressGuard;

/// How long a connection is kept without use. Shorter than the 60 s and more after which common
/// proxies close theirs, so that Rowcall is usually the side that closes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How many unused connections to one scheme, host and port are kept.
pub const IDLE_PER_HOST_MAX: usize = 8;
/// The largest response head (status line and headers) accepted, in bytes.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most response headers accepted.
pub const RESPONSE_HEADERS_MAX: usize = 100;

/// How long the answer to a lookup is believed, whatever its time to live says: a receiver that
/// moves is found again within this time.
const LOOKUP_KEPT_MAX: Duration = Duration::from_secs(300);
/// The same for the answer that there is no such name.
const NO_SUCH_NAME_KEPT_MAX: Duration = Duration::from_secs(30);
/// How many lookups are kept.
const LOOKUPS_KEPT_MAX: u64 = 4_096;

/// Sends requests over kept-alive connections; clones share them. HTTP/1.1 only.
///
/// Must be used in the tokio runtime in which it first sent something.
#[derive(Clone)]
pub struct WebhookClient {
    /// Shared: each of many subscriptions has a clone, and this is some hundred bytes.
    http: Arc<Client<Connector, Full<Bytes>>>,
    guard: Arc<AddressGuard>,
    trusts_nobody: bool,
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A root certificate or the cryptographic provider is unusable.
    #[error("TLS for outgoing requests cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The resolver rejects its configuration.
    #[error("the resolver for outgoing requests cannot be set up")]
    Resolver(#[from] hickory_resolver::net::NetError),
}

impl WebhookClient {
    /// A client that reaches what `guard` admits and trusts the certificates that the operating
    /// system trusts (or `SSL_CERT_FILE`, `SSL_CERT_DIR`).
    ///
    /// Without any trusted certificate http still works, and https fails with a text that says
    /// so. Without a readable `/etc/resolv.conf` only the hosts file and addresses work.
    ///
    /// # Errors
    ///
    /// [`ClientError`], if the TLS provider or the resolver's configuration is unusable.
    pub fn new(guard: AddressGuard) -> Result<Self, ClientError> {
        Self::trusting(guard, Vec::new())
    }

    /// The same, trusting `extra_roots` (DER) besides: a company's own authority, or a test's.
    ///
    /// # Errors
    ///
    /// [`ClientError`], as for [`WebhookClient::new`], or if an extra root is no certificate.
    pub fn trusting(
        guard: AddressGuard,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, ClientError> {
        let mut roots = system_roots();
        for root in extra_roots {
            roots.add(root)?;
        }
        if roots.is_empty() {
            tracing::warn!("no trusted root certificates were found; https receivers will fail");
        }

        Self::build(guard, roots, resolver(None)?)
    }

    /// A client that asks this name server, and no other, for the addresses of names: a company's
    /// own, or a test's. Otherwise as [`WebhookClient::new`].
    ///
    /// # Errors
    ///
    /// [`ClientError`], as for [`WebhookClient::new`].
    pub fn resolving_at(guard: AddressGuard, name_server: SocketAddr) -> Result<Self, ClientError> {
        Self::build(guard, system_roots(), resolver(Some(name_server))?)
    }

    fn build(
        guard: AddressGuard,
        roots: RootCertStore,
        resolver: TokioResolver,
    ) -> Result<Self, ClientError> {
        let trusts_nobody = roots.is_empty();
        let guard = Arc::new(guard);
        let dialer = Dialer::new(Arc::clone(&guard), resolver);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(RESPONSE_HEAD_BYTES_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            // A request that was never written because its kept-alive connection had closed goes
            // out again on another one. That cannot deliver twice.
            .retry_canceled_requests(true)
            .build(Connector::new(dialer, tls(roots)?));
        Ok(Self {
            http: Arc::new(http),
            guard,
            trusts_nobody,
        })
    }

    /// What this client may reach.
    #[must_use]
    pub fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Whether no certificate at all is trusted, so that every https request must fail.
    pub(super) fn trusts_nobody(&self) -> bool {
        self.trusts_nobody
    }

    pub(super) fn request(&self, request: hyper::Request<Full<Bytes>>) -> ResponseFuture {
        self.http.request(request)
    }
}

impl fmt::Debug for WebhookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookClient")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

/// Roots of the system that cannot be read are left out: one broken file among a hundred must not
/// stop deliveries that do not need it.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The provider is named, not taken from the process: a client works before, or without,
/// anybody having installed a default.
fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn resolver(
    name_server: Option<SocketAddr>,
) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    if let Some(address) = name_server {
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, Default::default());
        limit(builder.options_mut());
        return builder.build();
    }
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "no DNS configuration; host names outside the hosts file will fail");
        TokioResolver::builder_with_config(ResolverConfig::default(), Default::default())
    });
    limit(builder.options_mut());
    builder.build()
}

fn limit(options: &mut ResolverOpts) {
    // IPv4 first: where both exist, broken IPv6 is the commoner fault, and it costs a timeout.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = LOOKUPS_KEPT_MAX;
    options.positive_max_ttl = Some(LOOKUP_KEPT_MAX);
    options.negative_max_ttl = Some(NO_SUCH_NAME_KEPT_MAX);
}
