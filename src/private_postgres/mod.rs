//! The private Postgres: a server of Rowcall's own, for the demo, for `--embedded DIR` and for
//! tests.
//!
//! Players: [`Binaries`] are the installed programs of one PostgreSQL version; a [`Cluster`] is one
//! running server with its directory; the *guardian* is a small shell that outlives Rowcall and
//! stops the server when Rowcall dies without having done so.
//!
//! What is guaranteed:
//! - The server listens on a Unix socket only, in a directory that only its own account may enter.
//! - One directory has one owner: a lock on a file in it says who.
//! - After [`Cluster::stop`] no process, socket, lock or (for a temporary cluster) file is left;
//!   after a SIGKILL of Rowcall the guardian brings about the same, within seconds.
//! - A directory that Rowcall did not make, and that is not empty, is never touched.
//!
//! Layout of a cluster directory: `data/` (the server's), `data.new/` (while initdb works),
//! `server.log` and `server.log.1` (this run's and the last one's), `rowcall.lock`, and the socket.
//!
//! Everything here blocks; asynchronous callers wrap it in `spawn_blocking`.

mod account;
mod binaries;
mod cluster;
mod directory;
mod error;
mod guardian;
mod lock;
mod poll;
mod postmaster_file;
mod server;
mod socket;

pub use binaries::{Binaries, Candidate, MAJOR_MIN, Refusal, Version};
pub use cluster::{Cluster, ClusterOptions};
pub use error::PrivatePostgresError;
pub use server::StopMode;
