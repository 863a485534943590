//! The real `nahook` program as a child process that never outlives its test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, until};

/// Lines of an output that are kept: enough to see what happened last.
const LINES_MAX: usize = 20_000;

/// The lines that a process has written to one of its outputs; clones are the same lines.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Everything so far, as one text.
    pub(crate) fn text(&self) -> String {
        self.lock().join("\n")
    }

    /// The first line that holds `part`.
    pub(crate) fn find(&self, part: &str) -> Option<String> {
        self.lock().iter().find(|line| line.contains(part)).cloned()
    }

    /// Returns the number of lines that hold all of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let holds = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.lock().iter().filter(holds).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn follow(&self, output: impl Read + Send + 'static) {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                let mut lines = lines.lock();
                if lines.len() == LINES_MAX {
                    lines.drain(..LINES_MAX / 2);
                }
                lines.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}

/// A started program.
pub(crate) struct Nahook {
    child: Child,
    arguments: String,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// Result of a program that has ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Nahook {
    /// Starts the program in `dir`, with nothing of our environment that it would listen to.
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::start_with(dir, arguments, &[])
    }

    /// Starts the program with these environment variables.
    pub(crate) fn start_with(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
        Self::start_onto(dir, arguments, env, stdout, stderr)
    }

    /// Starts the program with these environment variables and outputs; of those, what is a pipe of ours is read.
    pub(crate) fn start_onto(
        dir: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_nahook"));
        Self::spawn(command, dir, arguments, env, stdout, stderr)
    }

    /// Starts the program so that it may have so many files open and no more.
    pub(crate) fn start_with_files(dir: &Path, arguments: &[&str], files: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_nahook")]);
        let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
        Self::spawn(command, dir, arguments, &[], stdout, stderr)
    }

    fn spawn(
        mut command: Command,
        dir: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Self {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NAHOOK_") {
                command.env_remove(name);
            }
        }
        command
            // Each success too: tests wait for what is logged of it.
            .env("RUST_LOG", "info,nahook_http=debug,nahook_delivery=debug")
            .args(arguments)
            .envs(env.iter().copied());
        command.current_dir(dir).stdin(Stdio::null());
        let mut child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
        let (stdout, stderr) = (Lines::default(), Lines::default());
        if let Some(output) = child.stdout.take() {
            stdout.follow(output);
        }
        if let Some(output) = child.stderr.take() {
            stderr.follow(output);
        }
        Self {
            child,
            arguments: arguments.join(" "),
            stdout,
            stderr,
        }
    }

    /// Runs the program to its end.
    pub(crate) async fn run(dir: &Path, arguments: &[&str]) -> Ended {
        Self::start(dir, arguments).ended(SOON).await
    }

    /// Runs the program to its end, with these environment variables.
    pub(crate) async fn run_with(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
        Self::start_with(dir, arguments, env).ended(SOON).await
    }

    /// Waits for the end and what was written until then.
    pub(crate) async fn ended(mut self, limit: Duration) -> Ended {
        let status = self.exit(limit).await;
        // The readers see the end of the output a moment after the process is gone.
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let mut before = (usize::MAX, usize::MAX);
        let text = until(SOON, "the output ends", || {
            let now = (stdout.all().len(), stderr.all().len());
            let is_still = now == before && Arc::strong_count(&stdout.0) == 2;
            before = now;
            (is_still && Arc::strong_count(&stderr.0) == 2).then(|| (stdout.text(), stderr.text()))
        });
        let (stdout, stderr) = text.await;
        Ended {
            success: status.success(),
            stdout,
            stderr,
        }
    }

    /// Waits for the end.
    pub(crate) async fn exit(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("nahook {} ends", self.arguments);
        until(limit, &what, || self.child.try_wait().unwrap()).await
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns true if it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The first line on standard output that holds `part`; panics with what was written if the program ends instead.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        let give_up = Instant::now() + SOON;
        loop {
            if let Some(line) = self.stdout.find(part) {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < give_up,
                "nahook {} did not print {part:?} ({ended:?}):\n{}\n{}",
                self.arguments,
                self.stdout.text(),
                self.stderr.text(),
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Kills the process by SIGKILL; it is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The most memory that it has held so far, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        self.status_field("VmHWM:")
    }

    /// The memory that it holds, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.status_field("VmRSS:")
    }

    fn status_field(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Nahook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.stderr.all();
            let last = &lines[lines.len().saturating_sub(60)..];
            let (arguments, last) = (&self.arguments, last.join("\n"));
            let text = format!("--- the end of what nahook {arguments} logged:\n{last}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
