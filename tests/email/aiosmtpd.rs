//! Mails as aiosmtpd takes them and as Python's e-mail package reads them.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rowcall::sink::{Mailer, Outcome, Sink};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    DIGEST, EVENT, PATIENT, certificates::Authority, mailer, message, now, retried, send, settings,
    sink_by,
};

/// What to do where it is missing.
const INSTALL: &str = "aiosmtpd is missing; install it: apt-get install python3-aiosmtpd \
                       (elsewhere: python3 -m pip install aiosmtpd)";

/// A mail as the other side understood it.
#[derive(Debug, Deserialize)]
pub(crate) struct Understood {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) encrypted: bool,
    pub(crate) user: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) defects: Vec<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) sha256: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    pub(crate) text: String,
}

impl Understood {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("not exactly one {name} in {:?}", self.headers);
        };
        value
    }
}

/// A running aiosmtpd; it ends when its standard input is closed.
pub(crate) struct Aiosmtpd {
    pub(crate) port: u16,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
    child: Child,
}

impl Aiosmtpd {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/email/mail_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            port: 0,
            lines: BufReader::new(child.stdout.take().unwrap()),
            input: child.stdin.take(),
            child,
        };
        server.port = server.line();
        server
    }

    /// The next mail; it was told before it was acknowledged.
    pub(crate) fn mail(&mut self) -> Understood {
        self.line()
    }

    fn line<T: for<'a> Deserialize<'a>>(&mut self) -> T {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Aiosmtpd {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// The Python that has aiosmtpd: Debian's package is for the system's own.
fn python() -> &'static str {
    let has_it = |python: &&str| {
        let mut command = Command::new(python);
        let tried = command
            .args(["-c", "import aiosmtpd.smtp"])
            .stderr(Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(has_it)
        .expect(INSTALL)
}

#[tokio::test]
async fn an_event_and_a_digest_are_read_as_they_were_meant() {
    // GIVEN
    let mut server = Aiosmtpd::start(&[]);
    let sink = sink_by(mailer(&format!(
        "smtp://127.0.0.1:{}?tls=none",
        server.port
    )));

    // WHEN an event is sent, twice, and a digest
    for (id, body) in [("0199-e", EVENT), ("0199-e", EVENT), ("0199-d.2", DIGEST)] {
        let outcome = sink.send(&message(id, body), now(), PATIENT).await;
        assert_eq!(outcome, Outcome::Delivered { status: 250 });
    }

    // THEN all recipients have the event as text and HTML
    let event = server.mail();
    assert_eq!(event.defects, Vec::<String>::new());
    assert_eq!(event.from, "rowcall@example.com");
    assert_eq!(event.to, ["ada@example.org", "bob@example.net"]);
    assert_eq!(event.header("From"), "Rowcall <rowcall@example.com>");
    assert_eq!(
        event.header("To"),
        "ada@example.org, \"Bob B.\" <bob@example.net>"
    );
    assert_eq!(event.header("Subject"), "sales.order.updated 42");
    assert_eq!(event.header("Date"), "Sat, 21 Nov 2026 07:58:12 +0000");
    assert_eq!(event.header("Auto-Submitted"), "auto-generated");
    assert_eq!(event.header("Rowcall-Event-Id"), "0199-e");
    assert_eq!(event.header("Rowcall-Subscription"), "morning");
    assert_eq!(
        event.header("List-Unsubscribe"),
        "<mailto:rowcall@example.com?subject=unsubscribe%20morning>"
    );
    let types: Vec<&str> = event
        .parts
        .iter()
        .map(|part| part.media_type.as_str())
        .collect();
    assert_eq!(types, ["text/plain", "text/html"]);
    let text = event.parts[0].text.replace("\r\n", "\n");
    assert!(
        text.contains("* note: old -> Grüße & <b>世界</b>\n.\nQUIT\n"),
        "{text}"
    );
    let html = &event.parts[1].text;
    assert!(html.contains("Grüße &amp; &lt;b&gt;世界"), "{html}");

    // AND the second is the first, to the byte
    let again = server.mail();
    assert_eq!(again.header("Message-ID"), event.header("Message-ID"));
    assert_eq!(again.sha256, event.sha256);

    // AND the digest says which part it is
    let digest = server.mail();
    assert_eq!(digest.defects, Vec::<String>::new());
    assert_eq!(
        digest.header("Subject"),
        "morning: 5 events until 2026-11-21 08:00:00 UTC (part 2 of 3)"
    );
    assert_ne!(digest.header("Message-ID"), event.header("Message-ID"));
    assert!(
        digest.parts[0]
            .text
            .contains("  Zürich/7  x 4  2026-11-21 07:58:12 UTC")
    );
    assert!(digest.parts[1].text.contains(">Zürich/7</td>"));
}

#[tokio::test]
async fn starttls_and_a_password_are_used() {
    // GIVEN a server that wants both, with a certificate of an own authority
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("mail authority");
    let files = authority.files(folder.path(), "localhost");
    let mut arguments = files.iter().map(String::as_str).collect::<Vec<_>>();
    arguments.extend(["--user", "row@call", "--password", "p/w%d"]);
    let mut server = Aiosmtpd::start(&arguments);
    let url = |login: &str| format!("smtp://{login}localhost:{}", server.port);
    let trusting = |url: &str| Mailer::trusting(settings(url), vec![authority.root()]).unwrap();

    // WHEN it is used rightly, with a wrong password, without one, and without the authority
    let right = trusting(&url("row%40call:p%2Fw%25d@"));
    let delivered = send(&sink_by(right)).await;
    let wrong = retried(send(&sink_by(trusting(&url("row%40call:hunter2@")))).await);
    let none = retried(send(&sink_by(trusting(&url("")))).await);
    let stranger = retried(send(&sink_by(mailer(&url("row%40call:p%2Fw%25d@")))).await);

    // THEN
    assert_eq!(delivered, Outcome::Delivered { status: 250 });
    let mail = server.mail();
    assert!(mail.encrypted);
    assert_eq!(mail.user.as_deref(), Some("row@call"));
    assert_eq!(wrong.0, Some(535));
    assert!(
        wrong.1.contains("correct them in ROWCALL_SMTP_URL"),
        "{}",
        wrong.1
    );
    assert!(!wrong.1.contains("hunter2"), "{}", wrong.1);
    assert_eq!(none.0, Some(530), "{}", none.1);
    assert_eq!(stranger.0, None);
    assert!(stranger.1.contains("UnknownIssuer"), "{}", stranger.1);
    assert!(stranger.1.contains("SSL_CERT_FILE"), "{}", stranger.1);
}

#[tokio::test]
async fn a_connection_can_be_encrypted_from_its_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("mail authority");
    let files = authority.files(folder.path(), "localhost");
    let mut arguments = files.iter().map(String::as_str).collect::<Vec<_>>();
    arguments.push("--implicit");
    let mut server = Aiosmtpd::start(&arguments);
    let url = format!("smtps://localhost:{}", server.port);

    let trusting = Mailer::trusting(settings(&url), vec![authority.root()]).unwrap();
    assert_eq!(
        send(&sink_by(trusting)).await,
        Outcome::Delivered { status: 250 }
    );
    assert!(server.mail().encrypted);

    let (status, detail) = retried(send(&sink_by(mailer(&url))).await);
    assert_eq!(status, None);
    assert!(detail.contains("UnknownIssuer"), "{detail}");
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_without_starttls() {
    let server = Aiosmtpd::start(&[]);
    let (_, detail) = retried(
        send(&sink_by(mailer(&format!(
            "smtp://127.0.0.1:{}",
            server.port
        ))))
        .await,
    );
    assert!(detail.contains("does not offer STARTTLS"), "{detail}");

    // GIVEN leave to do without
    let url = format!("smtp://127.0.0.1:{}?tls=opportunistic", server.port);
    let delivered = send(&sink_by(mailer(&url))).await;
    assert_eq!(delivered, Outcome::Delivered { status: 250 });
}

#[tokio::test]
async fn a_connection_is_used_again_for_the_next_mail() {
    let mut server = Aiosmtpd::start(&[]);
    let sink = sink_by(mailer(&format!(
        "smtp://127.0.0.1:{}?tls=none",
        server.port
    )));
    for _ in 0..20 {
        assert_eq!(send(&sink).await, Outcome::Delivered { status: 250 });
        server.mail();
    }
}

#[tokio::test]
async fn what_is_slipped_in_behind_starttls_is_not_believed() {
    // GIVEN somebody on the line who adds answers of their own to the one to STARTTLS
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("mail authority");
    let files = authority.files(folder.path(), "localhost");
    let arguments = files.iter().map(String::as_str).collect::<Vec<_>>();
    let server = Aiosmtpd::start(&arguments);
    let port = meddler(server.port).await;

    // WHEN a mail goes that way
    let settings = settings(&format!("smtp://localhost:{port}"));
    let mailer = Mailer::trusting(settings, vec![authority.root()]).unwrap();
    let (status, detail) = retried(send(&sink_by(mailer)).await);

    // THEN none of these answers is taken for one that was encrypted
    assert_eq!(status, None, "{detail}");
    assert!(detail.contains("no encrypted connection"), "{detail}");
}

/// Passes everything on, both ways, but adds an answer to each command of a mail behind the answer
/// to STARTTLS. The port it listens on.
async fn meddler(server_port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server_port))
            .await
            .unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move {
            // Ends when one of the two has had enough.
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        });
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut chunk).await {
            let mut passed = chunk[..count].to_vec();
            if passed.starts_with(b"220 Ready to start TLS") {
                passed.extend(b"250 faked\r\n250 fine\r\n250 fine\r\n250 fine\r\n354 go on\r\n");
                passed.extend(b"250 taken\r\n");
            }
            if to_client.write_all(&passed).await.is_err() {
                break;
            }
        }
    });
    port
}
