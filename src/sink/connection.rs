//! A connection that knows whether it has carried an answer before.
//!
//! A receiver may close a kept-alive connection at the moment it is used again. Then the request
//! fails although nothing is wrong, and only the age of the connection tells this from a receiver
//! that drops its callers. The HTTP client does not say it, so the connection carries a mark.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Shared by a connection, the answers that came over it, and the errors that ended it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReuseMark(Arc<AtomicBool>);

impl ReuseMark {
    /// Notes that an answer came over the connection: whatever comes next is a reuse.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether an answer came over the connection before.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An open connection to a receiver, plain or encrypted, with its mark.
pub(super) struct MarkedConnection {
    inner: MaybeHttpsStream<TokioIo<TcpStream>>,
    mark: ReuseMark,
}

impl MarkedConnection {
    pub(super) fn fresh(inner: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self {
            inner,
            mark: ReuseMark::default(),
        }
    }
}

impl Connection for MarkedConnection {
    fn connected(&self) -> Connected {
        self.inner.connected().extra(self.mark.clone())
    }
}

impl Read for MarkedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl Write for MarkedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }
}
