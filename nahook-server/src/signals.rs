//! The signals that stop the program, and one that must not.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Catches SIGTERM, SIGINT, SIGHUP and SIGXFSZ from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// A file has reached the limit of sizes: its write fails like one on a full disk, and the program goes on.
    _file_size: Signal,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for the next signal to stop: SIGTERM, SIGINT, and SIGHUP if it says that our terminal is gone. Elsewhere SIGHUP
    /// asks a program to reload its settings, and nothing happens but a line in the log.
    pub(crate) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    if io::stdin().is_terminal() {
                        return;
                    }
                    tracing::info!("SIGHUP is ignored: settings are read at the start only");
                }
            }
        }
    }
}
