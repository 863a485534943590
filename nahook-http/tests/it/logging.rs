//! Collects log lines.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// Log lines, as JSON.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the one line with this message.
    pub(crate) fn only(&self, message: &str) -> Value {
        self.only_at(message).1
    }

    /// That line's level and fields.
    pub(crate) fn only_at(&self, message: &str) -> (Value, Value) {
        let text = self.text();
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["fields"]["message"] == message);
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {message:?} in {text}"));
        assert!(lines.next().is_none(), "one line a request: {text}");
        (line["level"].clone(), line["fields"].clone())
    }
}

/// Collects what this thread logs, until dropped.
pub(crate) struct Logging {
    lines: Lines,
    _guard: DefaultGuard,
    /// With a single subscriber alive, a thread that has none decides for all threads whether a line that it is the
    /// first to reach is ever logged. With two it does not.
    _second: Dispatch,
}

impl Logging {
    pub(crate) fn start() -> Self {
        let lines = Lines::default();
        let subscriber = || {
            let writer = lines.clone();
            tracing_subscriber::fmt()
                .json()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(move || writer.clone())
                .finish()
        };
        let second = Dispatch::new(subscriber());
        let guard = tracing::subscriber::set_default(subscriber());
        Self {
            lines,
            _guard: guard,
            _second: second,
        }
    }

    pub(crate) fn stop(self) -> Lines {
        self.lines
    }
}
