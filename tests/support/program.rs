//! The program itself, as an operator runs it: to its end, or serving until it is killed.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::expect_used,
    reason = "for tests, which may panic; and as each test file uses another part of this module, \
              no lint is to be expected in all of them"
)]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::Duration,
};

/// A command that does not end within this time hangs.
const END_LIMIT: Duration = Duration::from_secs(60);
/// The log line after which an instance answers, and captures what is written.
const READY: &str = "the API listens";

/// The program, with nothing of the tester's environment and in a directory without `rowcall.toml`.
pub fn rowcall(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcall"));
    command
        .args(arguments)
        .env_clear()
        .env("NO_COLOR", "1")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; nothing if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end; fails the test if it has none.
pub fn run(command: &mut Command) -> Ended {
    let mut child = command.spawn().expect("start the command");
    let stdout = collect(child.stdout.take().expect("its output"));
    let stderr = collect(child.stderr.take().expect("its errors"));
    let (ended, end) = channel();
    std::thread::scope(|scope| {
        let pid = rustix::process::Pid::from_child(&child);
        let waiting = scope.spawn(move || {
            let status = child.wait();
            // The other side is there as long as this thread.
            let _ = ended.send(());
            status
        });
        if end.recv_timeout(END_LIMIT).is_err() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("{command:?} did not end within {END_LIMIT:?}");
        }
        let status = waiting.join().expect("wait for it").expect("its status");
        let text = |reading: JoinHandle<String>| reading.join().expect("read it");
        Ended {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    })
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("UTF-8");
        text
    })
}

impl Ended {
    /// Asserts that it failed with code 1, printed nothing but errors, and that these say each of
    /// `parts`.
    pub fn assert_refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        self.assert_says(parts);
    }

    /// Asserts that its errors contain each of `parts`, wherever their lines are broken.
    pub fn assert_says(&self, parts: &[&str]) {
        let said = unwrapped(&self.stderr);
        for part in parts {
            assert!(
                said.contains(&unwrapped(part)),
                "it does not say {part:?}:\n{}",
                self.stderr
            );
        }
    }
}

/// Without white space and without the frame that diagnostics are drawn in.
fn unwrapped(text: &str) -> String {
    let is_frame = |c: char| c.is_whitespace() || matches!(c, '│' | '╰' | '─' | '▶' | '├' | '·');
    text.chars().filter(|c| !is_frame(*c)).collect()
}

/// `rowcall serve`, ready. Killed when it is dropped.
pub struct Serving {
    child: Child,
    log: Receiver<String>,
    lines: Vec<String>,
}

impl Serving {
    /// Starts `command` and waits until it serves; fails the test, with its log, if it ends
    /// instead.
    pub fn start(command: &mut Command) -> Self {
        // Its log is JSON lines on standard error; it writes nothing else.
        let mut child = command
            .stdout(Stdio::null())
            .spawn()
            .expect("start the program");
        let stderr = BufReader::new(child.stderr.take().expect("its log"));
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut serving = Self {
            child,
            log,
            lines: Vec::new(),
        };
        serving.wait_for(READY);
        serving
    }

    /// Waits for a line of its log that contains `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.log.recv_timeout(END_LIMIT) {
                Ok(line) => {
                    self.lines.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no {text:?}: {error}\n{}", self.lines.join("\n")),
            }
        }
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        let line = self.lines.iter().find(|line| line.contains(READY));
        let line = line.expect("it listens");
        let at = line.find("127.0.0.1:").expect("its address");
        let is_of_it = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
        line[at..].chars().take_while(|c| is_of_it(*c)).collect()
    }

    /// What it has logged so far.
    pub fn log(&mut self) -> String {
        self.lines.extend(self.log.try_iter());
        self.lines.join("\n")
    }

    /// Sends it a signal: STOP and CONT make it hang for a while.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signal it");
    }

    /// Ends it as a crash would (SIGKILL) and returns its log.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("kill it");
        self.child.wait().expect("wait for its end");
        self.log()
    }

    /// Asks it to stop (SIGTERM); returns its exit code and its log.
    pub fn stop(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal it");
        let status = self.child.wait().expect("wait for its end");
        self.lines.extend(self.log.iter());
        (status.code(), self.lines.join("\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
