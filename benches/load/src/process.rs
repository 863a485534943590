//! Child processes: this program again, in another role; what they cost, and their end.

use std::collections::HashMap;
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

/// Processor time and memory of a process.
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

    /// Returns its cost so far.
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

/// Returns the cost of the process so far; zero if the kernel does not say.
pub(crate) fn cost_of(process: u32) -> Cost {
    let Some(stat) = Stat::read(process) else {
        return Cost::default();
    };
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok();
    let peak = status.and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Cost {
        cpu_seconds: stat.cpu_seconds,
        memory_peak: peak.unwrap_or(0) * 1024,
    }
}

/// Returns the processor time of all programs of that name that this one has started, or that those have.
pub(crate) fn cpu_seconds_of_all(name: &str) -> f64 {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0.0;
    };
    let processes: HashMap<u32, Stat> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, Stat::read(process)?)))
        .collect();
    let is_ours = |mut process: u32| {
        while let Some(stat) = processes.get(&process) {
            if stat.parent == std::process::id() {
                return true;
            }
            process = stat.parent;
        }
        false
    };
    processes
        .iter()
        .filter(|(process, stat)| stat.name == name && is_ours(**process))
        .map(|(_, stat)| stat.cpu_seconds)
        .sum()
}

/// The kernel's figures of a process.
struct Stat {
    name: String,
    parent: u32,
    /// With those of its children that have ended.
    cpu_seconds: f64,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name may hold anything, so the fields are counted behind its closing parenthesis.
        let (name, fields) = stat.rsplit_once(')')?;
        let (_, name) = name.split_once('(')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u64 = fields
            .get(11..15)?
            .iter()
            .map(|field| field.parse().unwrap_or(0))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 ticks")]
        Some(Self {
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            cpu_seconds: ticks as f64 / 100.0,
        })
    }
}

/// Returns the bytes that the files below the folder take on disk.
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
