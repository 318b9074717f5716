//! A name server whose answers a test decides, one question after the other.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// Answers questions for addresses of any name, each with the next of its answers; the last one
/// stays. Nothing of it may be kept (its time to live is 0). It stops when it is dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: AbortHandle,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Vec<IpAddr>>,
    asked: usize,
}

impl NameServer {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Vec<IpAddr>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            answers: answers.into_iter().collect(),
            asked: 0,
        }));
        let serving = tokio::spawn(serve(socket, Arc::clone(&state))).abort_handle();
        Self {
            address,
            state,
            serving,
        }
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, answer: Vec<IpAddr>) {
        self.state.lock().unwrap().answers = VecDeque::from([answer]);
    }

    /// How often it was asked for IPv4 addresses.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(answer) = answered(&buffer[..length], &state) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to a query (RFC 1035, section 4): its question again, and the addresses of its type.
/// Of both questions of one lookup, the one for IPv4 moves on to the next answer.
fn answered(query: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let name_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(12..name_end + 4)?;
    let kind = u16::from_be_bytes([*query.get(name_end)?, *query.get(name_end + 1)?]);
    let addresses = {
        let mut state = state.lock().unwrap();
        let addresses = state.answers.front().cloned().unwrap_or_default();
        if kind == TYPE_A {
            state.asked += 1;
            if state.answers.len() > 1 {
                state.answers.pop_front();
            }
        }
        addresses
    };
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) if kind == TYPE_A => Some(v4.octets().to_vec()),
            IpAddr::V6(v6) if kind == TYPE_AAAA => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();

    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1]);
    answer.extend((records.len() as u16).to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for record in records {
        // The name of the question, the class IN, no time to live.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend((record.len() as u16).to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}
