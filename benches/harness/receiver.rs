//! The receiver of webhooks: a process of its own, which notes when each request arrived and does
//! nothing else. It ends with whoever holds its standard input.
//!
//! Its first line of output names its addresses. `POST /to/{place}` is what senders call; the
//! harness asks for `/count`, `/receipts` and `/clear`.

#![expect(clippy::print_stdout, reason = "the addresses, for who started it")]

use std::{
    convert::Infallible,
    fmt::Write as _,
    io::Read as _,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rowcall::clock::Clock;
use tokio::net::TcpListener;

/// To how many ports receivers are spread: each is another host for Rowcall.
pub(crate) const PORTS: usize = 100;

/// One request of a sender.
struct Receipt {
    place: u32,
    at_us: i64,
    bytes: usize,
    id: String,
}

type Ledger = Arc<Mutex<Vec<Receipt>>>;

/// Serves until standard input ends.
pub(crate) fn run() -> ExitCode {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let ledger = Ledger::default();
        let mut addresses = String::new();
        for _ in 0..PORTS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _ = write!(addresses, "{} ", listener.local_addr().unwrap());
            tokio::spawn(listen(listener, Arc::clone(&ledger)));
        }
        println!("{addresses}");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

async fn listen(listener: TcpListener, ledger: Ledger) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let ledger = Arc::clone(&ledger);
        let service = service_fn(move |request| answer(request, Arc::clone(&ledger)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A sender may leave whenever it wants.
        tokio::spawn(async { drop(connection.await) });
    }
}

async fn answer(
    request: Request<Incoming>,
    ledger: Ledger,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes());
    let at_us = Clock::System.now().timestamp_micros();
    let mut response = Response::new(Full::default());
    let path = head.uri.path();
    let place = path.strip_prefix("/to/").and_then(|text| text.parse().ok());
    if let (Some(place), Ok(body)) = (place, body) {
        let id = head.headers.get("webhook-id");
        let id = id.and_then(|value| value.to_str().ok()).unwrap_or_default();
        ledger.lock().unwrap().push(Receipt {
            place,
            at_us,
            bytes: body.len(),
            id: id.to_owned(),
        });
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    match path {
        "/count" => *response.body_mut() = ledger.lock().unwrap().len().to_string().into(),
        "/receipts" => *response.body_mut() = told(&ledger.lock().unwrap()).into(),
        "/clear" => ledger.lock().unwrap().clear(),
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

/// One line a request: the place, the time in microseconds, the bytes, and the id.
fn told(receipts: &[Receipt]) -> String {
    let mut text = String::new();
    for receipt in receipts {
        let Receipt {
            place,
            at_us,
            bytes,
            id,
        } = receipt;
        let _ = writeln!(text, "{place} {at_us} {bytes} {id}");
    }
    text
}
