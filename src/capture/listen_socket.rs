//! One session connection to Postgres whose socket tokio watches: LISTEN without a thread and
//! without polling.
//!
//! Diesel shows neither the socket nor a notification as it arrives, so this speaks to libpq
//! itself. It is the only place with `unsafe`. Each function of libpq used here needs a live
//! connection or result, which [`Connection`] and [`Answer`] own from the moment libpq gives them
//! until drop.
#![expect(
    unsafe_code,
    reason = "libpq is a C library; each block says why it is sound"
)]

use std::{
    ffi::{CStr, CString, c_char},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr::NonNull,
    time::Duration,
};

use pq_sys as pq;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{Interest, unix::AsyncFd};

use crate::db::{with_settings, without_url};

/// How long one statement of the session may take before the session is given up: the statements
/// sent here take no locks to wait for.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the session is gone. Whatever it held (LISTEN, advisory locks) is gone with it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No connection was made.
    #[error("the LISTEN session could not be opened: {0}")]
    Connect(String),
    /// The connection broke, or a statement failed.
    #[error("the LISTEN session was lost: {0}")]
    Lost(String),
    /// The server did not answer.
    #[error("the LISTEN session did not answer within {} s", STATEMENT_TIMEOUT.as_secs())]
    Silent,
}

/// An open session.
pub struct ListenSocket {
    // Before the connection, so that it is deregistered before libpq closes the socket.
    socket: AsyncFd<Socket>,
    connection: Connection,
    notified: bool,
}

struct Connection(NonNull<pq::PGconn>);

// SAFETY: libpq lets a connection be used from any one thread at a time, and `ListenSocket` uses it
// only through `&mut self`.
unsafe impl Send for Connection {}
// SAFETY: nothing is done with a shared reference to it.
unsafe impl Sync for Connection {}

struct Answer(NonNull<pq::PGresult>);

/// The connection's descriptor; libpq closes it.
struct Socket(RawFd);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl ListenSocket {
    /// Connects; runs on a blocking thread, because resolving a name blocks inside libpq.
    pub async fn connect(url: &str) -> Result<Self, ListenError> {
        let url = CString::new(with_settings(url))
            .map_err(|_| ListenError::Connect("the URL has a NUL byte".to_owned()))?;
        let connection = tokio::task::spawn_blocking(move || Connection::open(&url))
            .await
            .map_err(|error| ListenError::Connect(error.to_string()))??;
        let socket = connection.socket()?;
        // SAFETY: the descriptor stays open until `connection` is dropped, which is after the
        // registration: fields are dropped in their order, and on the way out of here `socket` goes
        // first.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| ListenError::Connect(error.to_string()))?;
        let mut session = Self {
            socket,
            connection,
            notified: false,
        };
        session
            .query("set application_name = 'rowcall listen'")
            .await?;
        Ok(session)
    }

    /// Runs one statement, or several, and gives the first column of their rows in their order;
    /// null is an empty string.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<String>, ListenError> {
        match tokio::time::timeout(STATEMENT_TIMEOUT, self.query_unbounded(sql)).await {
            Ok(answer) => answer,
            Err(_) => Err(ListenError::Silent),
        }
    }

    /// Waits for a notification; several that arrived together count as one.
    pub async fn notified(&mut self) -> Result<(), ListenError> {
        loop {
            self.connection.drain_notifications(&mut self.notified);
            if std::mem::take(&mut self.notified) {
                return Ok(());
            }
            self.readable().await?;
        }
    }

    async fn query_unbounded(&mut self, sql: &str) -> Result<Vec<String>, ListenError> {
        let sql = CString::new(sql).map_err(|_| ListenError::Lost("NUL in SQL".to_owned()))?;
        self.connection.send(&sql)?;
        let mut values = Vec::new();
        let mut failure = None;
        loop {
            while self.connection.is_busy() {
                self.readable().await?;
            }
            match self.connection.next_answer() {
                None => break,
                Some(answer) => match answer.first_column() {
                    Ok(rows) => values.extend(rows),
                    // The rest is read nevertheless, or the session could not be used again.
                    Err(error) => failure = Some(error),
                },
            }
        }
        failure.map_or(Ok(values), Err)
    }

    /// Waits for bytes and hands all of them to libpq.
    async fn readable(&mut self) -> Result<(), ListenError> {
        let mut ready = self
            .socket
            .readable()
            .await
            .map_err(|error| ListenError::Lost(error.to_string()))?;
        // Cleared before the read: what arrives during it sets it again.
        ready.clear_ready();
        loop {
            self.connection.consume()?;
            // libpq may leave bytes in the socket, for which no new readiness would come.
            if !self.connection.has_bytes()? {
                return Ok(());
            }
        }
    }
}

impl Connection {
    fn open(url: &CStr) -> Result<Self, ListenError> {
        // SAFETY: `url` is a C string; libpq copies it.
        let raw = unsafe { pq::PQconnectdb(url.as_ptr()) };
        let connection = Self(
            NonNull::new(raw).ok_or_else(|| ListenError::Connect("out of memory".to_owned()))?,
        );
        // SAFETY: the connection is live.
        if unsafe { pq::PQstatus(connection.0.as_ptr()) } != pq::ConnStatusType::CONNECTION_OK {
            let text = connection.error();
            return Err(ListenError::Connect(without_url(&text).unwrap_or(text)));
        }
        Ok(connection)
    }

    fn socket(&self) -> Result<Socket, ListenError> {
        // SAFETY: the connection is live.
        let descriptor = unsafe { pq::PQsocket(self.0.as_ptr()) };
        if descriptor < 0 {
            return Err(ListenError::Lost("the connection has no socket".to_owned()));
        }
        Ok(Socket(descriptor))
    }

    fn send(&mut self, sql: &CStr) -> Result<(), ListenError> {
        // The statements are short, so the blocking send never waits for the network's buffer.
        // SAFETY: the connection is live, `sql` is a C string that libpq copies.
        if unsafe { pq::PQsendQuery(self.0.as_ptr(), sql.as_ptr()) } == 1 {
            Ok(())
        } else {
            Err(ListenError::Lost(self.error()))
        }
    }

    fn is_busy(&mut self) -> bool {
        // SAFETY: the connection is live.
        unsafe { pq::PQisBusy(self.0.as_ptr()) == 1 }
    }

    fn consume(&mut self) -> Result<(), ListenError> {
        // SAFETY: the connection is live.
        if unsafe { pq::PQconsumeInput(self.0.as_ptr()) } == 1 {
            Ok(())
        } else {
            Err(ListenError::Lost(self.error()))
        }
    }

    fn has_bytes(&self) -> Result<bool, ListenError> {
        let socket = self.socket()?;
        // SAFETY: the descriptor stays open while the connection lives.
        let descriptor = unsafe { BorrowedFd::borrow_raw(socket.0) };
        let mut descriptors = [PollFd::new(&descriptor, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut descriptors, Some(&at_once)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(ListenError::Lost(error.to_string())),
        }
    }

    fn next_answer(&mut self) -> Option<Answer> {
        // SAFETY: the connection is live; the result is owned by the caller.
        NonNull::new(unsafe { pq::PQgetResult(self.0.as_ptr()) }).map(Answer)
    }

    fn drain_notifications(&mut self, notified: &mut bool) {
        loop {
            // SAFETY: the connection is live.
            let notification = unsafe { pq::PQnotifies(self.0.as_ptr()) };
            if notification.is_null() {
                return;
            }
            *notified = true;
            // SAFETY: libpq gave it to us to free.
            unsafe { pq::PQfreemem(notification.cast()) };
        }
    }

    fn error(&self) -> String {
        // SAFETY: the connection is live; the message is its own and copied at once.
        unsafe { text(pq::PQerrorMessage(self.0.as_ptr())) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the connection is live and not used after this.
        unsafe { pq::PQfinish(self.0.as_ptr()) }
    }
}

impl Answer {
    fn first_column(&self) -> Result<Vec<String>, ListenError> {
        // SAFETY: the result is live.
        match unsafe { pq::PQresultStatus(self.0.as_ptr()) } {
            pq::ExecStatusType::PGRES_COMMAND_OK => Ok(Vec::new()),
            pq::ExecStatusType::PGRES_TUPLES_OK => {
                // SAFETY: the result is live.
                let rows = unsafe { pq::PQntuples(self.0.as_ptr()) };
                // SAFETY: each row is in range, and the statements sent here have a column.
                let value = |row| unsafe { text(pq::PQgetvalue(self.0.as_ptr(), row, 0)) };
                Ok((0..rows).map(value).collect())
            }
            _ => {
                // SAFETY: the result is live; the message is its own and copied at once.
                Err(ListenError::Lost(unsafe {
                    text(pq::PQresultErrorMessage(self.0.as_ptr()))
                }))
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the result is live and not used after this.
        unsafe { pq::PQclear(self.0.as_ptr()) }
    }
}

/// Copies a C string; null is empty.
///
/// # Safety
/// `text` is null or a C string that lives until this returns.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a C string.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim_end()
        .to_owned()
}
