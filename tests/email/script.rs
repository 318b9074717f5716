//! A scripted mail server: does at each command what it is told, well or badly.
//!
//! It takes a bare CR or LF for the end of a line, as careless servers do: what such a server would
//! take for a second mail is in its ledger.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// What is done instead of the usual answer.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// This answer, with its line ends.
    Say(&'static str),
    /// The connection is dropped.
    Drop,
    /// Nothing, for ever.
    Hang,
    /// `2`, for ever, one at a time: no line that ends.
    Drip,
    /// Digits without a line end, as fast as they are taken, for ever.
    Flood,
    /// Lines of one answer, as fast as they are taken, for ever.
    Lines,
    /// The usual answer when the gate is open.
    Held(watch::Receiver<bool>),
}

/// The places of a script besides commands.
pub(crate) const BANNER: &str = "banner";
/// Behind the mail.
pub(crate) const END: &str = "end";

/// A mail in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) connection: usize,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Without the dots that SMTP adds; each line with the end it came with.
    pub(crate) data: Vec<u8>,
}

#[derive(Default)]
struct State {
    turns: Mutex<HashMap<&'static str, VecDeque<Turn>>>,
    commands: Mutex<Vec<(usize, String)>>,
    mails: Mutex<Vec<Taken>>,
    connections: Mutex<usize>,
    under_way: watch::Sender<usize>,
}

/// A running server; it stops when it is dropped.
pub(crate) struct Script {
    pub(crate) port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

impl Script {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut count = shared.connections.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    // How it ended is for the client to tell.
                    let _ = serve(stream, number, &state).await;
                });
            }
        });
        Self {
            port,
            state,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// From now on, at `place` (a command's verb, `banner` or `end`), these turns, then the usual.
    pub(crate) fn on(&self, place: &'static str, turns: impl IntoIterator<Item = Turn>) {
        let mut all = self.state.turns.lock().unwrap();
        all.entry(place).or_default().extend(turns);
    }

    pub(crate) fn mails(&self) -> Vec<Taken> {
        self.state.mails.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }

    /// The commands of all connections, each with the number of its connection.
    pub(crate) fn commands(&self) -> Vec<(usize, String)> {
        self.state.commands.lock().unwrap().clone()
    }

    /// Waits until so many mails wait for their acknowledgement at once.
    pub(crate) async fn wait_for_under_way(&self, count: usize) {
        let mut under_way = self.state.under_way.subscribe();
        let waited = under_way.wait_for(|now| *now >= count);
        tokio::time::timeout(crate::SOON, waited)
            .await
            .expect("so many mails never came")
            .unwrap();
    }

    pub(crate) fn under_way(&self) -> usize {
        *self.state.under_way.borrow()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, connection: usize, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    act(&mut stream, state, BANNER, "220 script ready\r\n").await?;
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let (line, _) = read_line(&mut stream).await?;
        let command = String::from_utf8_lossy(&line).into_owned();
        let verb = command.split([' ', ':']).next().unwrap_or_default();
        state
            .commands
            .lock()
            .unwrap()
            .push((connection, command.clone()));
        let rest = command.split_once(':').map_or("", |(_, rest)| rest);
        match verb {
            "EHLO" => act(&mut stream, state, "EHLO", "250 script\r\n").await?,
            "MAIL" => {
                from = rest.to_owned();
                to.clear();
                act(&mut stream, state, "MAIL", "250 2.1.0 fine\r\n").await?;
            }
            "RCPT" => {
                to.push(rest.to_owned());
                act(&mut stream, state, "RCPT", "250 2.1.5 fine\r\n").await?;
            }
            "DATA" => {
                act(&mut stream, state, "DATA", "354 go on\r\n").await?;
                let data = read_data(&mut stream).await?;
                state.mails.lock().unwrap().push(Taken {
                    connection,
                    from: from.clone(),
                    to: to.clone(),
                    data,
                });
                state.under_way.send_modify(|count| *count += 1);
                let acted = act(&mut stream, state, END, "250 2.0.0 taken\r\n").await;
                state.under_way.send_modify(|count| *count -= 1);
                acted?;
            }
            "QUIT" => {
                act(&mut stream, state, "QUIT", "221 bye\r\n").await?;
                return Ok(());
            }
            _ => act(&mut stream, state, "other", "500 what\r\n").await?,
        }
    }
}

async fn act(
    stream: &mut BufReader<TcpStream>,
    state: &State,
    place: &'static str,
    usual: &str,
) -> io::Result<()> {
    let turn = {
        let mut turns = state.turns.lock().unwrap();
        turns.get_mut(place).and_then(VecDeque::pop_front)
    };
    match turn {
        None => stream.write_all(usual.as_bytes()).await,
        Some(Turn::Say(text)) => stream.write_all(text.as_bytes()).await,
        Some(Turn::Drop) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Turn::Hang) => std::future::pending().await,
        Some(Turn::Drip) => loop {
            stream.write_all(b"2").await?;
            // Paces what has no end; no test waits for it.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        },
        Some(Turn::Flood) => loop {
            stream.write_all(&[b'2'; 4_096]).await?;
        },
        Some(Turn::Lines) => loop {
            stream
                .write_all("250-and another\r\n".repeat(100).as_bytes())
                .await?;
        },
        Some(Turn::Held(mut gate)) => {
            let _ = gate.wait_for(|open| *open).await;
            stream.write_all(usual.as_bytes()).await
        }
    }
}

/// A line and the end it came with: CR LF, or a bare one of the two.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return Ok((line, vec![b'\n'])),
            b'\r' => {
                // A CR is followed by something: our client never ends with one.
                let next = stream.read_u8().await?;
                if next == b'\n' {
                    return Ok((line, b"\r\n".to_vec()));
                }
                panic!("a bare CR behind {:?}", String::from_utf8_lossy(&line));
            }
            byte => line.push(byte),
        }
    }
}

async fn read_data(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let (line, end) = read_line(stream).await?;
        if line == b"." {
            return Ok(data);
        }
        data.extend(line.strip_prefix(b".").unwrap_or(&line));
        data.extend(end);
    }
}
