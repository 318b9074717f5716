//! The dialogue with a mail server: connect, encrypt, sign in, hand over one mail.
//!
//! lettre speaks the commands. Its pool is not used: a send that is dropped at its deadline would
//! put its connection back in the middle of a dialogue, and the next mail would take the late
//! answer to this one for its own.

use std::{io, sync::Arc, time::Duration};

use lettre::{
    address::Envelope,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Data, Mail, Quit, Rcpt},
        extension::ClientId,
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use secrecy::ExposeSecret as _;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    reply_stream::{EncryptedStream, ReplyStream},
    settings::{Encryption, SmtpRoute},
};
use crate::sink::connect::{ADDRESSES_TRIED_MAX, CONNECT_TIMEOUT};

/// How long a connection that is not used any more may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How far a mail has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Others are sent first.
    Waiting,
    /// Its text is made.
    Rendering,
    /// The name is resolved and the connection opened.
    Connecting,
    /// The server has to greet.
    Greeting,
    /// The connection becomes encrypted.
    Encrypting,
    /// User name and password are judged.
    SigningIn,
    /// The sender is judged.
    Sender,
    /// The recipient at this place of `to` is judged.
    Recipient(usize),
    /// The server has to ask for the mail.
    Announcing,
    /// The mail is sent and not yet acknowledged.
    Content,
}

/// Why a mail was not handed over.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection.
    Unreachable(io::Error),
    /// The TLS handshake failed.
    Tls(String),
    /// STARTTLS is required, and the server does not offer it.
    NoStartTls,
    /// The answer to a command, or that there was none.
    Smtp(SmtpError),
    /// A positive answer that does not fit the command.
    Unexpected(u16),
}

/// A mail server, and how to reach it.
pub(super) struct MailServer {
    route: SmtpRoute,
    starttls: Option<TlsParameters>,
    implicit: Option<(TlsConnector, ServerName<'static>)>,
    hello: ClientId,
}

impl MailServer {
    /// A server whose certificate the system's authorities, or one of `extra_roots`, must vouch
    /// for.
    pub(super) fn new(
        route: &SmtpRoute,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("TLS can't be set up: {error}");
        let mut server = Self {
            route: route.clone(),
            starttls: None,
            implicit: None,
            hello: ClientId::default(),
        };
        match route.encryption {
            Encryption::None => {}
            Encryption::Required | Encryption::Opportunistic => {
                let mut builder = TlsParameters::builder(route.host.clone())
                    .certificate_store(CertificateStore::Default);
                for root in extra_roots {
                    let root = Certificate::from_der(root.to_vec());
                    builder = builder.add_root_certificate(root.map_err(|error| wrong(&error))?);
                }
                server.starttls = Some(builder.build().map_err(|error| wrong(&error))?);
            }
            Encryption::Implicit => {
                let name = ServerName::try_from(route.host.clone());
                let name = name.map_err(|error| wrong(&error))?;
                let config = client_config(extra_roots).map_err(|error| wrong(&error))?;
                server.implicit = Some((TlsConnector::from(Arc::new(config)), name));
            }
        }
        Ok(server)
    }

    /// Opens a connection that is ready for a mail.
    pub(super) async fn connect(&self, step: &mut Step) -> Result<AsyncSmtpConnection, Failure> {
        *step = Step::Connecting;
        let tcp = self.dial().await.map_err(Failure::Unreachable)?;
        let mut connection = match &self.implicit {
            Some((connector, name)) => {
                *step = Step::Encrypting;
                let stream = ReplyStream::new(tcp, false);
                let encrypted = connector.connect(name.clone(), stream).await;
                let stream = encrypted.map_err(|error| Failure::Tls(error.to_string()))?;
                *step = Step::Greeting;
                self.greet(Box::new(EncryptedStream(stream))).await?
            }
            None => {
                *step = Step::Greeting;
                let by_lines = self.starttls.is_some();
                self.greet(Box::new(ReplyStream::new(tcp, by_lines)))
                    .await?
            }
        };
        if let Some(parameters) = &self.starttls {
            self.encrypt(&mut connection, parameters, step).await?;
        }
        if let Some((user, password)) = &self.route.login {
            *step = Step::SigningIn;
            let password = password.expose_secret().to_owned();
            let credentials = Credentials::new(user.clone(), password);
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(Failure::Smtp)?;
        }
        Ok(connection)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let addresses = lookup_host((self.route.host.as_str(), self.route.port)).await?;
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.take(ADDRESSES_TRIED_MAX) {
            failed = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // A command is one small write: waiting to fill a packet only delays it.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => io::ErrorKind::TimedOut.into(),
            };
        }
        Err(failed)
    }

    async fn greet(
        &self,
        stream: Box<dyn lettre::transport::smtp::client::AsyncTokioStream>,
    ) -> Result<AsyncSmtpConnection, Failure> {
        AsyncSmtpConnection::connect_with_transport(stream, &self.hello)
            .await
            .map_err(Failure::Smtp)
    }

    async fn encrypt(
        &self,
        connection: &mut AsyncSmtpConnection,
        parameters: &TlsParameters,
        step: &mut Step,
    ) -> Result<(), Failure> {
        if !connection.can_starttls() {
            return match self.route.encryption {
                Encryption::Opportunistic => Ok(()),
                _ => Err(Failure::NoStartTls),
            };
        }
        *step = Step::Encrypting;
        let encrypted = connection.starttls(parameters.clone(), &self.hello).await;
        encrypted.map_err(|error| {
            if error.status().is_some() || connection.is_encrypted() {
                Failure::Smtp(error)
            } else {
                Failure::Tls(cause(&error))
            }
        })
    }
}

/// Hands over one mail. After an error the connection is of no use any more.
pub(super) async fn transfer(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    mail: &[u8],
    step: &mut Step,
) -> Result<u16, Failure> {
    *step = Step::Sender;
    let sender = Mail::new(envelope.from().cloned(), Vec::new());
    command(connection, sender, 250..=259).await?;
    for (place, recipient) in envelope.to().iter().enumerate() {
        *step = Step::Recipient(place);
        let recipient = Rcpt::new(recipient.clone(), Vec::new());
        command(connection, recipient, 250..=259).await?;
    }
    *step = Step::Announcing;
    command(connection, Data, 354..=354).await?;
    *step = Step::Content;
    let response = connection.message(mail).await.map_err(Failure::Smtp)?;
    match u16::from(response.code()) {
        code @ 200..=299 => Ok(code),
        code => Err(Failure::Unexpected(code)),
    }
}

async fn command(
    connection: &mut AsyncSmtpConnection,
    command: impl std::fmt::Display,
    fitting: std::ops::RangeInclusive<u16>,
) -> Result<(), Failure> {
    let response = connection.command(command).await.map_err(Failure::Smtp)?;
    let code = u16::from(response.code());
    if fitting.contains(&code) {
        Ok(())
    } else {
        // The answers have come out of step, so no later one can be believed.
        Err(Failure::Unexpected(code))
    }
}

/// Says goodbye on a connection that is in step, as RFC 5321, section 4.1.1.10, asks.
pub(super) async fn quit(mut connection: AsyncSmtpConnection) {
    // Whether it was heard does not matter.
    let _ = timeout(QUIT_TIMEOUT, connection.command(Quit)).await;
}

fn client_config(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra_roots {
        roots.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The innermost reason of a failure that the network or TLS caused.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(error.source(), |error| error.source());
    chain
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
