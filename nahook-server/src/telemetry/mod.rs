//! Logs and metrics.

mod lines;
mod log_writer;
pub(crate) mod metric;
mod metrics;
mod panics;

use std::io::{self, IsTerminal as _};

use nahook_supervision::Supervisor;
use tracing_subscriber::EnvFilter;

pub use self::log_writer::{Line, LogWriter};
pub use self::metrics::install_metrics;
pub(crate) use self::metrics::keep_up;
use crate::output::Descriptor;
use crate::settings::LogFormat;

/// Sends logs to standard error: for people on a terminal, else one JSON object a line, unless `format` says otherwise.
/// Panics are logged, too.
///
/// `RUST_LOG` chooses what is logged; `info` if absent or empty. Where an embedder has installed logs already, they stay.
///
/// # Errors
/// The system has no room for the thread that writes.
pub fn install_logs(format: Option<LogFormat>, supervisor: &Supervisor) -> io::Result<LogWriter> {
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal {
        LogFormat::Human
    } else {
        LogFormat::Json
    });
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = Some(directives)
        .filter(|directives| !directives.trim().is_empty())
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        .unwrap_or_else(|| EnvFilter::new("info"));
    let writer = LogWriter::start(Descriptor::Stderr, supervisor)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would report them by `eprintln!`, which blocks and panics.
        .log_internal_errors(false)
        .with_writer(writer.clone());
    let installed = match format {
        LogFormat::Human => logs.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    if installed.is_ok() {
        panics::log();
    }
    Ok(writer)
}
