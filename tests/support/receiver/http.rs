//! As much of HTTP/1.1 as the scripted receiver speaks, and the ways in which it does not.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Answer, Received};

/// The largest request body accepted, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most headers accepted in a request.
const HEADERS_MAX: usize = 100;
/// The time between two bytes of [`Answer::Drip`] and [`Answer::DripBody`].
const DRIP_INTERVAL: Duration = Duration::from_millis(20);

/// Reads one request with a `content-length`, or nothing if the client has closed.
pub(super) async fn read_request<S>(
    stream: &mut BufReader<S>,
    connection: usize,
) -> io::Result<Option<Received>>
where
    S: AsyncRead + Unpin,
{
    let Some(first) = read_line(stream).await? else {
        return Ok(None);
    };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );

    let mut headers = Vec::new();
    while let Some(line) = read_line(stream).await?.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(refused("header"));
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        if headers.len() > HEADERS_MAX {
            return Err(refused("number of headers"));
        }
    }
    let value = |name: &str| {
        let found = headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };

    let length: usize = match (method.as_str(), value("content-length")) {
        // The one question that has no body.
        ("OPTIONS", text) if text.is_empty() => 0,
        (_, text) => text.parse().map_err(|_| refused("content-length"))?,
    };
    if length > BODY_BYTES_MAX {
        return Err(refused("content-length"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Received {
        order: 0,
        connection,
        method,
        path,
        id: value("webhook-id"),
        timestamp: value("webhook-timestamp"),
        signature: value("webhook-signature"),
        verified: None,
        headers,
        body,
    }))
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end().to_owned()))
}

fn refused(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the receiver cannot read this {what}"),
    )
}

/// Writes the answer and says whether the connection is to stay open.
pub(super) async fn write_answer<S>(stream: &mut S, answer: Answer) -> io::Result<bool>
where
    S: AsyncWrite + Unpin,
{
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    match answer {
        Answer::Status(status) => write_whole(stream, status, &[], b"").await?,
        Answer::StatusWith {
            status,
            headers,
            body,
        } => {
            write_whole(stream, status, &headers, &body).await?;
        }
        Answer::StatusThenClose(status) => {
            write_whole(stream, status, &[], b"").await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Answer::HangAfterAccept => std::future::pending().await,
        Answer::Drip => drip(stream, &format!("{OK}x-slow: ")).await?,
        Answer::DripBody => {
            stream
                .write_all(format!("{OK}content-length: 1000000\r\n\r\n").as_bytes())
                .await?;
            drip(stream, "").await?;
        }
        Answer::EndlessBody => {
            stream
                .write_all(format!("{OK}transfer-encoding: chunked\r\n\r\n").as_bytes())
                .await?;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        Answer::HugeBody(bytes) => write_whole(stream, 200, &[], &vec![b'x'; bytes]).await?,
        Answer::HugeHead(bytes) => {
            let header = ("x-huge".to_owned(), "x".repeat(bytes));
            write_whole(stream, 200, &[header], b"").await?;
        }
        Answer::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Answer::Reset => return Ok(false),
        Answer::Held(gate, status) => {
            gate.passed().await;
            write_whole(stream, status, &[], b"").await?;
        }
        Answer::Redirect(to) => {
            write_whole(stream, 302, &[("location".to_owned(), to)], b"").await?;
        }
    }
    Ok(true)
}

async fn write_whole<S>(
    stream: &mut S,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // These two may have no body and no length (RFC 9110, section 8.6).
    if !matches!(status, 204 | 304) {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

/// Writes `start` and then filling, one byte an interval, until the client has gone. The pace is
/// the fault that is played, not a wait for anything.
async fn drip<S: AsyncWrite + Unpin>(stream: &mut S, start: &str) -> io::Result<()> {
    let mut pace = tokio::time::interval(DRIP_INTERVAL);
    for byte in start.bytes().chain(std::iter::repeat(b'x')) {
        pace.tick().await;
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
    }
    Ok(())
}
