//! The command line given what it can't use: it ends with code 1 and says what, where, and what to
//! do.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

mod database;
mod explain;
mod keys;
mod metadata;
mod secrets;
mod settings;
mod source;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use support::{
    app::SECRET_KEY,
    postgres::TestDatabase,
    program::{Ended, rowcall, run},
};
use tempfile::TempDir;

/// A directory to run in, and a database that Rowcall's schema is in.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) database: TestDatabase,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: directory(),
            database: TestDatabase::create(),
        }
    }

    /// The program with this database and a secret key.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rowcall(self.directory.path(), arguments);
        command
            .env("DATABASE_URL", &self.database.url)
            .env("ROWCALL_SECRET_KEY", SECRET_KEY);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// The same as another user of the database.
    pub(crate) fn run_as(&self, user: &str, arguments: &[&str]) -> Ended {
        let url = self
            .database
            .url
            .replace("user=rowcall", &format!("user={user}"));
        run(self.command(arguments).env("DATABASE_URL", url))
    }

    /// A new user who may connect, and nothing else.
    pub(crate) fn user(&self, name: &str) -> String {
        // Users are the cluster's, which other tests share.
        let user = format!("{}_{name}", self.database.name);
        self.execute(&format!("create role {user} login"));
        user
    }

    pub(crate) fn execute(&self, sql: &str) {
        support::postgres::execute(&self.database.url, sql);
    }

    /// Makes a file of the metadata folder `metadata`.
    pub(crate) fn declare(&self, text: &str) {
        let folder = self.directory.path().join("metadata");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("shop.toml"), text).unwrap();
    }
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}
