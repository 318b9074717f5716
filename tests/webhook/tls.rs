//! Receivers with good, bad and no certificates (F9).

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rowcall::sink::{Outcome, Sink, WebhookClient, WebhookSink};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use url::Url;

use crate::support::receiver::Receiver;
use crate::{IMPATIENT, PATIENT, SOON, guard, message, no_answer, now, secret, send, sink_to};

/// An authority for one test, and what a receiver needs to speak in a certificate of it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

#[tokio::test]
async fn certificates_are_checked_and_their_faults_named() {
    let (authority, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let expire = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    for (config, says) in [
        (authority.server("localhost", |_| {}), None),
        (
            stranger.server("localhost", |_| {}),
            Some("comes from no trusted authority"),
        ),
        (authority.server("localhost", expire), Some("has expired")),
        (
            authority.server("other.example", |_| {}),
            Some("was issued for another name"),
        ),
    ] {
        let receiver = Receiver::start_tls(config).await;
        let url = format!("https://localhost:{}/hook", receiver.port());
        let guard = guard(&["127.0.0.0/8"]);
        let client = WebhookClient::trusting(guard, vec![authority.root()]).unwrap();
        let sink = WebhookSink::new(client, &Url::parse(&url).unwrap(), secret()).unwrap();
        match (send(&sink, "sealed").await, says) {
            (Outcome::Delivered { status: 200 }, None) => {}
            (outcome, Some(says)) => {
                let detail = no_answer(outcome);
                assert!(detail.contains(says), "{says}: {detail}");
                assert!(
                    receiver.received().is_empty(),
                    "{says}: the message was sent"
                );
            }
            (outcome, None) => panic!("a good certificate gave {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_not_waited_for() {
    // One that expects plain HTTP, one that hangs up, and one that says nothing.
    let plain = Receiver::start().await;
    let url = plain.url().replace("http:", "https:");
    let detail = no_answer(sink_to(&url).send(&message("tls"), now(), IMPATIENT).await);
    assert!(detail.contains("during the TLS handshake"), "{detail}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let began = Instant::now();
    let detail = no_answer(sink_to(&url).send(&message("tls"), now(), IMPATIENT).await);
    assert!(detail.contains("no connection to"), "{detail}");
    assert!(began.elapsed() < SOON, "took {:?}", began.elapsed());

    let hanging_up = tokio::spawn(async move {
        let (stream, _) = silent.accept().await.unwrap();
        drop(stream);
        // The connection of the attempt above waits in the backlog first.
        let (stream, _) = silent.accept().await.unwrap();
        drop(stream);
    });
    let detail = no_answer(sink_to(&url).send(&message("tls"), now(), PATIENT).await);
    assert!(detail.contains("during the TLS handshake"), "{detail}");
    hanging_up.await.unwrap();
}
