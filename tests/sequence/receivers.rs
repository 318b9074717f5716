//! The receivers of docs/receivers, as programs of their own: each event is handled once, whatever
//! was lost on the way, and what is not Rowcall's is refused.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use rowcall::{
    auth::{Role, store::key_revoke},
    sink::SigningSecret,
    stage::Stage as _,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

use crate::{
    harness::{id_of, key, order, shop, subscription},
    support::{
        app::{SIGNING_SECRET, TestApp},
        receiver::{Answer, Received, Receiver},
    },
};

/// A program that says nothing for so long hangs.
const WAIT: Duration = Duration::from_secs(30);
/// How often another port is tried.
const STARTS_MAX: usize = 5;

#[derive(Clone, Copy)]
enum Language {
    Python,
    JavaScript,
    Php,
}

impl Language {
    /// The program; PHP's server has to be told a port, the others choose a free one.
    fn command(self, port: u16) -> Command {
        let serve = |extension| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/receivers/serve.{extension}"))
        };
        let of = |program: &str, extension| {
            let mut command = Command::new(program);
            command.arg(serve(extension)).args([SIGNING_SECRET, "0"]);
            command
        };
        match self {
            Self::Python => of("python3", "py"),
            Self::JavaScript => of("node", "mjs"),
            Self::Php => {
                let mut command = Command::new("php");
                command.args(["-S", &format!("127.0.0.1:{port}")]);
                command.arg(serve("php"));
                command
            }
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::JavaScript => "nodejs",
            Self::Php => "php-cli",
        }
    }
}

/// A running receiver of another language.
struct Foreign {
    child: Child,
    lines: UnboundedReceiver<String>,
    port: u16,
    /// A request that it refuses.
    forged: Received,
}

impl Foreign {
    async fn start(
        language: Language,
        since: &str,
        key: &str,
        state: &Path,
        forged: Received,
    ) -> Self {
        for _ in 0..STARTS_MAX {
            let port = {
                let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
                free.local_addr().unwrap().port()
            };
            let mut command = language.command(port);
            command
                .env("SECRET", SIGNING_SECRET)
                .env("SINCE", since)
                .env("KEY", key)
                .env("STATE", state)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap_or_else(|error| {
                panic!(
                    "{command:?}: {error}; run: sudo apt-get install {}",
                    language.package()
                )
            });
            let (said, lines) = unbounded_channel();
            read(child.stdout.take().unwrap(), said.clone());
            read(child.stderr.take().unwrap(), said);
            let forged = forged.clone();
            let mut foreign = Self {
                child,
                lines,
                port,
                forged,
            };
            // Another test may have taken the port that was free.
            if foreign.is_ready().await {
                return foreign;
            }
        }
        panic!("no port was free {STARTS_MAX} times");
    }

    /// Waits until it can be asked; false: its port is taken.
    async fn is_ready(&mut self) -> bool {
        let mut lines = Vec::new();
        loop {
            let line = tokio::time::timeout(WAIT, self.lines.recv()).await;
            let Some(line) = line.ok().flatten() else {
                panic!("it did not start: {lines:?}");
            };
            if let Some(port) = line.strip_prefix("listening on ") {
                self.port = port.parse().unwrap();
                return true;
            }
            if line.contains(" started") {
                return true;
            }
            if line.contains("Failed to listen") {
                return false;
            }
            lines.push(line);
        }
    }

    /// What it says before it says `text`.
    async fn lines_to(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = tokio::time::timeout(WAIT, self.lines.recv()).await;
            match line.ok().flatten() {
                Some(line) if line.contains(text) => return lines,
                Some(line) => lines.push(line),
                None => panic!("it never said `{text}`: {lines:?}"),
            }
        }
    }

    /// Posts a request as Rowcall did; the status of the answer.
    async fn post(&self, request: &Received) -> u16 {
        let mut head = format!(
            "POST /hook HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.port,
            request.body.len()
        );
        for name in [
            "content-type",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        ] {
            let value = request.header(name).unwrap();
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream
            .write_all(&[head.as_bytes(), b"\r\n", &request.body].concat())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(WAIT, stream.read_to_end(&mut answer));
        read.await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn accepts(&self, request: &Received) {
        assert_eq!(self.post(request).await, 204);
    }

    /// The numbers of the events that it has handled since it was asked last.
    async fn handled(&mut self) -> Vec<i64> {
        // It says one thing after the other: what it handled before, it said before.
        assert_eq!(self.post(&self.forged).await, 401);
        let lines = self.lines_to("REFUSED").await;
        let number = |line: &String| {
            let event: Value = serde_json::from_str(line.strip_prefix("verified ")?).unwrap();
            Some(sequence(&event))
        };
        let numbers: Vec<i64> = lines.iter().filter_map(number).collect();
        let failed: Vec<&String> = lines.iter().filter(|line| line.contains("fail")).collect();
        assert!(failed.is_empty(), "{failed:?}");
        numbers
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(stream: impl Read + Send + 'static, said: UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
}

fn sequence(event: &Value) -> i64 {
    event["sequence"].as_str().unwrap().parse().unwrap()
}

fn event(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// A request with a header set to `value`.
fn with(request: &Received, name: &str, value: &str) -> Received {
    let mut changed = request.clone();
    for (found, old) in &mut changed.headers {
        if found == name {
            value.clone_into(old);
        }
    }
    changed
}

/// Rowcall, which is acknowledged everything by somebody who may pass it on.
struct Sender {
    app: TestApp,
    between: Receiver,
    serving: AbortHandle,
    since: String,
    key: String,
}

impl Sender {
    async fn start() -> Self {
        let between = Receiver::start().await;
        let more = "mode = \"synchronous\"\nheartbeat = \"10s\"\nretry = { schedule = [\"0s\", \"20s\"] }\n\
            [constraint.picky]\napplies_to = { subscriptions = [\"mirror\"] }\n\
            condition = \"row.region != 'XX'\"\njudge = \"at_send\"\notherwise = \"suppress\"\n";
        let mut app = shop(&subscription(&between, "mirror", more)).await;
        // Receivers know what time it is.
        let now =
            app.texts("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
        let now = DateTime::parse_from_rfc3339(&now[0]).unwrap().to_utc();
        app.clock.advance(now - app.clock.now());
        app.instance.beats.run_once(now).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let since = format!(
            "http://{address}/v1/subscriptions/{}/since",
            id_of(&app, "mirror")
        );
        let router = app.instance.router.clone();
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            key: key(&app, Role::Viewer),
            serving: serving.abort_handle(),
            app,
            between,
            since,
        }
    }

    /// Writes an order and sends what there is to send.
    async fn order(&mut self, id: i64, region: &str) {
        order(&self.app, [id], region);
        self.app.run_until_idle().await;
    }

    /// The last request of an event, by its number.
    fn sent(&self, number: i64) -> Received {
        let mut received = self.between.received();
        received.retain(|one| {
            event(one)["type"] != "rowcall.heartbeat" && sequence(&event(one)) == number
        });
        received.pop().unwrap()
    }

    /// The next heartbeat.
    async fn heartbeat(&mut self) -> Received {
        let before = self.between.received().len();
        self.app.advance(TimeDelta::seconds(10)).await;
        let retried = self.between.received().len() - before;
        let now = self.app.clock.now();
        self.app.instance.beats.run_once(now).await.unwrap();
        let mut received = self.between.wait_for(before + retried + 1, WAIT).await;
        let beat = received.pop().unwrap();
        assert_eq!(event(&beat)["type"], "rowcall.heartbeat");
        beat
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn remembered(state: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap()
}

async fn each_event_is_handled_once(language: Language) {
    let mut sender = Sender::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state: PathBuf = folder.path().join("state.json");
    for id in 1..=4 {
        sender.order(id, "EU").await;
    }
    let forged = with(&sender.sent(1), "webhook-signature", "v1,bm8=");
    let (since, key) = (sender.since.clone(), sender.key.clone());
    let start = async |forged: &Received| {
        Foreign::start(language, &since, &key, &state, forged.clone()).await
    };
    let mut foreign = start(&forged).await;

    // GIVEN a receiver that got the first event, and never the second WHEN the third comes
    foreign.accepts(&sender.sent(1)).await;
    assert_eq!(foreign.handled().await, [1]);
    foreign.accepts(&sender.sent(3)).await;
    // THEN it has fetched what it missed, in order
    assert_eq!(foreign.handled().await, [2, 3, 4]);
    // and what comes again is not handled again
    for number in [4, 3, 1] {
        foreign.accepts(&sender.sent(number)).await;
    }
    assert_eq!(foreign.handled().await, [0; 0]);
    let backup = std::fs::read(&state).unwrap();

    // GIVEN events that were lost with nothing after them: acknowledged, dead, suppressed
    sender.order(5, "EU").await;
    sender
        .between
        .script([Answer::Status(500), Answer::Status(500)]);
    sender.order(6, "EU").await;
    sender.app.advance(TimeDelta::seconds(23)).await;
    sender.order(7, "XX").await;
    // WHEN a heartbeat comes THEN those that there are are handled
    let beat = sender.heartbeat().await;
    foreign.accepts(&beat).await;
    assert_eq!(foreign.handled().await, [5, 6]);
    assert_eq!(remembered(&state), json!({"top": 7, "missing": []}));
    foreign.accepts(&beat).await;
    assert_eq!(foreign.handled().await, [0; 0]);

    // GIVEN an event that is still to be tried again WHEN a later one comes first
    sender.between.script([Answer::Status(500)]);
    sender.order(8, "EU").await;
    sender.order(9, "EU").await;
    foreign.accepts(&sender.sent(9)).await;
    // THEN it is not taken for lost, and handled when it comes
    assert_eq!(foreign.handled().await, [9]);
    assert_eq!(remembered(&state), json!({"top": 9, "missing": [8]}));
    let beat = sender.heartbeat().await;
    foreign.accepts(&beat).await;
    assert_eq!(foreign.handled().await, [0; 0]);
    // and if it is lost then, a heartbeat finds that out, though nothing is new
    sender.app.advance(TimeDelta::seconds(13)).await;
    let beat = sender.heartbeat().await;
    foreign.accepts(&beat).await;
    assert_eq!(foreign.handled().await, [8]);
    foreign.accepts(&sender.sent(8)).await;
    foreign.accepts(&sender.sent(9)).await;
    assert_eq!(foreign.handled().await, [0; 0]);

    // GIVEN a receiver that is set back to an older state WHEN it hears a heartbeat
    drop(foreign);
    std::fs::write(&state, backup).unwrap();
    let mut foreign = start(&forged).await;
    let beat = sender.heartbeat().await;
    foreign.accepts(&beat).await;
    // THEN it has handled since then what it had before
    assert_eq!(foreign.handled().await, [5, 6, 8, 9]);
    assert_eq!(remembered(&state), json!({"top": 9, "missing": []}));

    // WHEN what it is sent is not as Rowcall signed it THEN it is refused, and not handled
    sender.order(10, "EU").await;
    let right = sender.sent(10);
    let mut other_body = right.clone();
    other_body.body[2] ^= 1;
    let secret = SigningSecret::parse(SIGNING_SECRET).unwrap();
    let signed_at = |seconds: i64| {
        let at = sender.app.clock.now().timestamp() + seconds;
        let signature = secret.sign(&right.id, at, &right.body);
        let old = with(&right, "webhook-timestamp", &at.to_string());
        with(&old, "webhook-signature", &signature)
    };
    for wrong in [
        other_body,
        with(&right, "webhook-id", "01a1ffb3-65c2-736b-a0c8-8f15655ffde9"),
        // signed well, long ago and far ahead
        signed_at(-600),
        signed_at(900),
        with(&right, "webhook-timestamp", "now"),
        with(&right, "webhook-signature", &sender.sent(9).signature),
        with(&right, "webhook-signature", ""),
        with(&beat, "webhook-timestamp", "0"),
    ] {
        assert_eq!(foreign.post(&wrong).await, 401);
        assert_eq!(
            foreign
                .lines_to("REFUSED")
                .await
                .iter()
                .find(|line| line.contains("verified")),
            None
        );
    }
    // and one signature of several that is right will do
    let several = format!("v1,bm8= {} v1a,bm8=", right.signature);
    foreign
        .accepts(&with(&right, "webhook-signature", &several))
        .await;
    assert_eq!(foreign.handled().await, [10]);

    // WHEN Rowcall can't be asked THEN what comes behind a hole is not acknowledged
    let now = sender.app.clock.now();
    key_revoke(&mut sender.app.connect(), &key["rck_".len()..][..12], now).unwrap();
    sender.order(11, "EU").await;
    sender.order(12, "EU").await;
    assert_eq!(foreign.post(&sender.sent(12)).await, 500);
}

#[tokio::test]
async fn in_python() {
    each_event_is_handled_once(Language::Python).await;
}

#[tokio::test]
async fn in_javascript() {
    each_event_is_handled_once(Language::JavaScript).await;
}

#[tokio::test]
async fn in_php() {
    each_event_is_handled_once(Language::Php).await;
}
