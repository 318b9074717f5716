//! A request to another program of this machine, whose answer is waited for.

use std::{
    io::{Error, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// No program asked here takes so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Status and body of the answer to a request without a body.
pub(crate) fn ask(address: &str, method: &str, path: &str) -> Result<(u16, String), Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    // In one piece, so that it leaves at once.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || Error::other(format!("{address}{path} answered {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}
