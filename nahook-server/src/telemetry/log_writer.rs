//! Writing the log: nobody who logs waits for it, and nobody notices if it fails.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nahook_supervision::{Exit, Loop, Pulse, Supervisor};
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Writes log lines to an output on a thread of its own.
///
/// Logging never blocks and never fails. Lines are dropped while the output is stalled or broken; they are counted in
/// `nahook_log_lines_lost_total`, and a line says how many were lost once writing works again. Clones are the same writer.
#[derive(Clone, Debug)]
pub struct LogWriter(Lines);

impl LogWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub fn start(output: impl Write + Send + 'static, supervisor: &Supervisor) -> io::Result<Self> {
        let lines = Lines::default();
        let output = Mutex::new(Output {
            output,
            is_cut: false,
        });
        let queue = lines.clone();
        supervisor.spawn_thread(Loop::LogWriter, "nahook-log", move |pulse| {
            IS_WRITER.set(true);
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            write_out(&queue, &mut output, pulse)
        })?;
        Ok(Self(lines))
    }

    /// Waits until what was logged so far has been written, for at most `limit`.
    pub fn flush(&self, limit: Duration) {
        self.0.flush(limit);
    }
}

/// Ends when the process does.
fn write_out<W: Write>(lines: &Lines, output: &mut Output<W>, pulse: &Pulse<'_>) -> Exit {
    loop {
        if let Some(exit) = pulse.check() {
            return exit;
        }
        let Some(line) = lines.next() else { continue };
        if output.write_line(&line).is_err() {
            lines.lost();
        } else if let Some(lost) = lines.written() {
            tracing::warn!("{lost} log lines were lost");
        }
    }
}

struct Output<W> {
    output: W,
    /// A part of a line was written and the rest was not.
    is_cut: bool,
}

impl<W: Write> Output<W> {
    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_cut {
            self.write_all(b"\n")?;
            self.is_cut = false;
        }
        self.write_all(line)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.is_cut = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One line on its way to the queue.
#[derive(Debug)]
pub struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The writer's own lines are few, and the one that says how many were lost must not be lost.
        if IS_WRITER.get() {
            self.0.push_always(bytes);
        } else {
            self.0.push(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use nahook_supervision::Death;
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::*;

    /// Does with each write what it is told to, and hands out what was written.
    struct Script {
        results: Receiver<io::Result<usize>>,
        written: SyncSender<String>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let count = self.results.recv().map_err(gone)??.min(bytes.len());
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            self.written.send(text).unwrap();
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        results: SyncSender<io::Result<usize>>,
        written: Receiver<String>,
        writer: LogWriter,
        supervisor: Supervisor,
        _log: tracing::subscriber::DefaultGuard,
    }

    fn bench() -> Bench {
        let (results, result_of) = sync_channel(9_999);
        let (write, written) = sync_channel(9_999);
        let script = Script {
            results: result_of,
            written: write,
        };
        let supervisor = Supervisor::new();
        let writer = LogWriter::start(script, &supervisor).unwrap();
        let log = tracing_subscriber::fmt()
            .with_writer(writer.clone())
            .without_time()
            .with_ansi(false)
            .set_default();
        Bench {
            results,
            written,
            writer,
            supervisor,
            _log: log,
        }
    }

    fn line(writer: &LogWriter, text: &str) {
        writer.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_skipped_and_the_next_is_whole() {
        let bench = bench();
        let full = || Err(io::ErrorKind::StorageFull.into());
        for result in [Ok(2), full(), full(), Ok(99), Ok(99)] {
            bench.results.send(result).unwrap();
        }
        for text in ["first\n", "second\n", "third\n"] {
            line(&bench.writer, text);
        }
        let written: String = (0..3).map(|_| bench.written.recv().unwrap()).collect();
        assert_eq!(written, "fi\nthird\n");
        bench.writer.flush(Duration::from_mins(1));
    }

    #[test]
    fn stalled_output_blocks_nobody() {
        let bench = bench();
        for _ in 0..10_000 {
            tracing::info!("nobody waits");
        }
        for _ in 0..3 {
            bench.results.send(Ok(99)).unwrap();
        }
        for _ in 0..3 {
            assert!(bench.written.recv().unwrap().contains("nobody waits"));
        }
    }

    #[test]
    fn writer_that_dies_goes_on_with_what_waits() {
        for death in Death::ALL {
            let bench = bench();
            bench.results.send(Ok(99)).unwrap();
            bench.supervisor.kill(Loop::LogWriter, *death);
            line(&bench.writer, "kept\n");
            assert_eq!(bench.written.recv().unwrap(), "kept\n", "{death:?}");
            while bench.supervisor.down() != ["log_writer"] {
                std::thread::yield_now();
            }
        }
    }
}
