//! Child processes: this program again, in another role; what they cost, and their end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Failure;

/// A child process. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// What a process has taken of the machine.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Cost {
    /// Of the processors, in user and kernel, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Of memory at most, in bytes.
    pub(crate) memory_peak: u64,
}

impl Process {
    /// Starts this program in the role that the arguments name.
    pub(crate) fn start(args: &[String], directory: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().ok_or("the child has no output")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
        })
    }

    /// Starts it and waits for the line in which it says where it listens: the last word, after an optional scheme.
    pub(crate) fn listening(args: &[String], directory: &Path) -> Result<(Self, String), Failure> {
        let mut process = Self::start(args, directory)?;
        let mut line = String::new();
        process.output.read_line(&mut line)?;
        let word = line.split_whitespace().last().unwrap_or_default();
        let address = word.trim_start_matches("http://");
        if address.parse::<std::net::SocketAddr>().is_err() {
            return Err(format!("{} did not start: {line:?}", args.join(" ")).into());
        }
        Ok((process, address.to_owned()))
    }

    /// Waits for its end and answers what it printed.
    pub(crate) fn finish(mut self) -> Result<String, Failure> {
        let mut printed = String::new();
        self.output.read_to_string(&mut printed)?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(printed)
        } else {
            Err(format!("a child ended with {status}").into())
        }
    }

    /// What it has cost so far.
    pub(crate) fn cost(&self) -> Cost {
        cost_of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way there is nothing more to be done about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process and its children have cost so far; nothing where the kernel does not say.
pub(crate) fn cost_of(process: u32) -> Cost {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}"));
    let Ok(stat) = read("stat") else {
        return Cost::default();
    };
    // The name may hold anything, so the fields are counted behind its closing parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| -> u64 {
        let field = fields.split_whitespace().nth(n);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    let ticks = field(11) + field(12);
    let peak = read("status").ok().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 ticks")]
    Cost {
        cpu_seconds: ticks as f64 / 100.0,
        memory_peak: peak.unwrap_or(0) * 1024,
    }
}

/// How many bytes the files below the folder take on disk.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_below(&entry.path()),
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// A pause for things to settle.
pub(crate) fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
