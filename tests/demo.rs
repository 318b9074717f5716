//! `rowcall demo`, the real program: it keeps its promise, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "in a test that is how to fail")]

#[path = "support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command},
};

use rustix::process::{Pid, Signal, kill_process};
use support::program::rowcall;

/// A running demo, with a temporary directory of its own, so that what it leaves behind can be told
/// from what others do.
struct Demo {
    child: Child,
    output: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

/// How a demo ended.
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
    mails: Vec<PathBuf>,
    /// Where the mails are; gone when this is dropped.
    _directory: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        // In /tmp, because the path of a socket must be short.
        let directory = tempfile::Builder::new()
            .prefix("demo-")
            .tempdir_in("/tmp")
            .unwrap();
        let mut command = rowcall(directory.path(), &["demo", "--listen", "127.0.0.1:0"]);
        command.args(arguments).env("TMPDIR", directory.path());
        if let Some(pg_bin) = std::env::var_os("PG_BIN") {
            command.env("PG_BIN", pg_bin);
        }
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            output,
            directory,
        }
    }

    /// Reads until a line holds `text`, and returns what was read.
    fn read_until(&mut self, text: &str) -> String {
        let mut read = String::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                let ended = self.child.wait();
                panic!("ended with {ended:?} before it wrote `{text}`:\n{read}");
            }
            read.push_str(&line);
            if line.contains(text) {
                return read;
            }
        }
    }

    fn interrupt(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Waits for the end and for everything that it started to be gone.
    fn end(mut self) -> Ended {
        // Whoever still holds the other end of these pipes is a process that was left behind.
        let (mut output, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut output).unwrap();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let code = self.child.wait().unwrap().code();
        let mail_dir = self.directory.path().join("rowcall-demo-mails");
        let mut left = files(self.directory.path());
        left.retain(|path| *path != mail_dir);
        assert!(left.is_empty(), "left behind: {left:?}\n{output}\n{errors}");
        let processes = processes_naming(self.directory.path());
        assert!(processes.is_empty(), "still running: {processes:?}");
        Ended {
            code,
            output,
            errors,
            mails: files(&mail_dir),
            _directory: self.directory,
        }
    }
}

/// What is in a directory, in the order of the names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The digests of a subscription that the demo told of: how many events each has.
fn digests(output: &str, subscription: &str) -> Vec<i64> {
    let mark = format!("digest {subscription}: ");
    let lines = output.lines().filter_map(|line| line.strip_prefix(&mark));
    lines
        .map(|line| {
            let before_unit = ["events", "orders"].into_iter().find_map(|unit| {
                let (before, _) = line.split_once(&format!(" {unit}"))?;
                before.rsplit(' ').next()?.parse().ok()
            });
            before_unit.unwrap_or_else(|| panic!("no count in {line}"))
        })
        .collect()
}

/// The command lines of running processes that name `path`.
fn processes_naming(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| of(entry.ok()?))
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(path))
        .collect()
}

/// The number on the account's line `name`.
fn number(account: &str, name: &str) -> i64 {
    let line = account
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no number `{name}` in\n{account}"))
}

#[test]
fn it_ends_by_itself_with_an_account_that_adds_up_and_lost_0() {
    // GIVEN a demo of some seconds
    let demo = Demo::start(&["--for", "5s"]);

    // WHEN it has ended by itself
    let Ended {
        code,
        output,
        errors,
        mails: files,
        _directory,
    } = demo.end();

    // THEN nothing was lost, and the account adds up
    assert_eq!(code, Some(0), "{output}\n{errors}");
    assert_eq!(output.lines().last(), Some("lost 0"), "{output}");
    assert_eq!(errors, "", "{output}");
    let account = |name| number(&output, name);
    assert!(account("written") > 100, "{output}");
    assert_eq!(account("captured"), account("written"), "{output}");
    assert_eq!(account("published"), account("captured"), "{output}");
    for nothing in [
        "unread",
        "withdrawn",
        "held",
        "pending",
        "dead",
        "cancelled",
        "unexpected",
        "altered",
        "miscounted",
        "lost",
    ] {
        assert_eq!(account(nothing), 0, "{nothing}: {output}");
    }
    assert!(output.contains("\nbefore its turn 0\n"), "{output}");

    // AND the condition made events beside the standard ones, and the constraint kept some back
    let (released, suppressed) = (account("condition"), account("constraint"));
    assert!(released > suppressed && suppressed > 0, "{output}");
    assert_eq!(account("events"), account("captured") + released);
    assert!(output.contains(&format!("the writers released {released}\n")));
    assert!(output.contains(&format!("say that {suppressed} were small\n")));
    assert_eq!(account("suppressed"), suppressed, "{output}");

    // AND each pair was sent alone, was in a digest, or was kept back
    let (received, digested) = (account("received"), account("digested"));
    assert_eq!(received + digested + suppressed, account("matched"));
    assert_eq!(
        account("delivered") + account("condensed") + suppressed,
        account("matched")
    );
    assert!(output.contains(&format!("alone, {} of them delayed", account("events"))));

    // AND each digest was shown as it left, also the mails, which are there to be opened
    let of = |subscription: &str| digests(&output, subscription);
    let (reports, stock, mails) = (of("reports"), of("stock-levels"), of("morning-mail"));
    let sum: i64 = [&reports, &stock, &mails].into_iter().flatten().sum();
    assert_eq!(sum, digested, "{output}");
    assert!(!reports.is_empty() && !stock.is_empty(), "{output}");
    assert_eq!(mails.iter().sum::<i64>(), released, "{output}");
    let pages: Vec<&PathBuf> = by_extension(&files, "html");
    assert_eq!(by_extension(&files, "eml").len(), mails.len());
    assert_eq!(pages.len(), mails.len());
    for (page, count) in pages.into_iter().zip(mails) {
        assert!(output.contains(page.to_str().unwrap()), "{output}");
        let html = fs::read_to_string(page).unwrap();
        assert!(html.starts_with("<!DOCTYPE html>"), "{html}");
        let events = if count == 1 { "event" } else { "events" };
        let title = format!("{count} {events} for morning-mail");
        assert!(html.contains(&title), "{title}: {html}");
        assert!(html.contains("shop.order.released"), "{html}");
    }
}

fn by_extension<'a>(files: &'a [PathBuf], extension: &str) -> Vec<&'a PathBuf> {
    let is_one = |path: &&PathBuf| path.extension().is_some_and(|known| known == extension);
    files.iter().filter(is_one).collect()
}

#[test]
fn a_signal_ends_it_with_the_account_and_nothing_is_left_behind() {
    // GIVEN a demo without an end, at work
    let mut demo = Demo::start(&[]);
    demo.read_until(": changes ");

    // WHEN it is interrupted
    demo.interrupt();
    let Ended {
        code,
        output,
        errors,
        ..
    } = demo.end();

    // THEN it has drawn up its account
    assert_eq!(code, Some(0), "{output}\n{errors}");
    assert_eq!(output.lines().last(), Some("lost 0"), "{output}");
}

#[test]
fn the_printed_commands_work() {
    // GIVEN a demo at work, and the commands it prints
    let mut demo = Demo::start(&[]);
    let printed = demo.read_until(": changes ");
    let commands: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("   curl ") || line.contains("psql"))
        .collect();
    let run = |index: usize| {
        let command = commands[index].trim();
        let done = Command::new("sh").args(["-c", command]).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{command}: {text}");
        text
    };
    assert_eq!(commands.len(), 7, "{printed}");

    // WHEN they are run as they were printed
    let registered = run(0);
    assert!(registered.contains("whsec_"), "{registered}");
    assert_eq!(run(1).trim(), "UPDATE 1");

    // THEN the change arrives at the echo, and the API shows it
    let echo = demo.read_until("echo: ");
    let echo = echo.lines().last().unwrap();
    assert!(echo.contains("shop.customer.updated 1"), "{echo}");
    assert!(echo.contains("me@example.com"), "{echo}");
    assert!(run(2).contains("\"ready\""));
    assert!(run(3).contains("me@example.com"));
    assert!(run(4).contains("new.status == 'released'"));
    assert!(run(5).contains("row.total >= 100"));
    assert!(run(6).contains("\"window\""));
    demo.interrupt();
    let ended = demo.end();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.output, ended.errors);
    assert!(
        ended.output.contains("1 changed by hand"),
        "{}",
        ended.output
    );
}
