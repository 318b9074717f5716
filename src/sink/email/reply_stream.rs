//! The connection to a mail server, as far as it may be trusted with our memory.
//!
//! lettre reads a line of a reply to its end before it looks how long it is, and keeps what was
//! read beyond it, across STARTTLS too. Two rules mend both:
//!
//! - Between two things that are written, at most [`REPLY_BYTES_MAX`] are read. SMTP answers one
//!   command at a time, so this bounds a reply, whether it is encrypted or not.
//! - Until the connection is encrypted, reading ends at a line's end. So nothing that somebody
//!   slips in behind the answer to STARTTLS is taken for an answer that was encrypted: it stays
//!   here, and the TLS handshake, which meets it, fails.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The longest reply of a mail server, in bytes; certificates of a handshake included.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What is read from the network at once, in bytes.
const CHUNK_BYTES: usize = 4 * 1024;

/// A TCP connection whose replies are bounded.
#[derive(Debug)]
pub(super) struct ReplyStream {
    tcp: TcpStream,
    /// Read and not yet handed on.
    kept: Vec<u8>,
    read_since_write: usize,
    by_lines: bool,
}

impl ReplyStream {
    /// `by_lines`: replies are read line by line, for STARTTLS may follow.
    pub(super) fn new(tcp: TcpStream, by_lines: bool) -> Self {
        Self {
            tcp,
            kept: Vec::new(),
            read_since_write: 0,
            by_lines,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read_since_write >= REPLY_BYTES_MAX {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                ReplyTooLong,
            )));
        }
        let mut chunk = [0; CHUNK_BYTES];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read))?;
        self.read_since_write += read.filled().len();
        self.kept.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

/// A mail server does not stop answering.
#[derive(Debug, thiserror::Error)]
#[error("the reply has more than {REPLY_BYTES_MAX} bytes")]
pub(super) struct ReplyTooLong;

impl AsyncRead for ReplyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.kept.is_empty() {
            ready!(this.poll_fill(cx))?;
        }
        let line = this.kept.iter().position(|byte| *byte == b'\n');
        let end = match line {
            Some(newline) if this.by_lines => newline + 1,
            _ => this.kept.len(),
        };
        let taken = end.min(buffer.remaining());
        buffer.put_slice(&this.kept[..taken]);
        this.kept.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReplyStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, bytes))?;
        if written > 0 {
            this.read_since_write = 0;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for ReplyStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

/// The same, encrypted from its first byte.
#[derive(Debug)]
pub(super) struct EncryptedStream(pub(super) TlsStream<ReplyStream>);

impl AsyncRead for EncryptedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for EncryptedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for EncryptedStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}
