//! Panics in the log.

use std::panic::{self, PanicHookInfo};
use std::thread;

/// Logs every panic from now on, instead of writing it to standard error, which may block.
pub(super) fn log() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let location = panic.location().map(ToString::to_string);
        let (location, message) = (location.as_deref(), literal_message(panic));
        tracing::error!(
            thread,
            location,
            message = "a thread panicked",
            panic = message
        );
    }));
}

/// The message, if it is a literal: one that was put together may hold a payload or a secret.
fn literal_message<'a>(panic: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    panic.payload().downcast_ref::<&'static str>().copied()
}
