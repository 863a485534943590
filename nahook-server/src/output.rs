//! Output of the program.
//!
//! Writes go straight to the descriptors: an error is the caller's to handle, and nothing is buffered that the end of the
//! process would have to flush.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::ServerError;

/// Pause before another write to a descriptor that another program has made non-blocking and that takes nothing.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// Upper bound on the time for the last words of the program.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);
/// Upper bound on the texts that wait for the reader of a server's output.
const WAITING_MAX: usize = 1_024;

/// Prints to standard output, and waits for whoever reads it.
///
/// # Errors
/// Not all of it could be written.
pub(crate) fn print(text: &str) -> Result<(), ServerError> {
    Descriptor::Stdout
        .write_all(text.as_bytes())
        .map_err(ServerError::Output)
}

/// Prints secrets to standard output.
///
/// # Errors
/// They could not be printed, or standard output is `/dev/null`, as it is for a program that was started without one:
/// nobody has seen them.
pub(crate) fn show_secrets(text: &str) -> Result<(), ServerError> {
    let shown = if is_null_device(io::stdout().as_fd()).unwrap_or(false) {
        Err(io::Error::other("it is /dev/null"))
    } else {
        Descriptor::Stdout.write_all(text.as_bytes())
    };
    shown.map_err(ServerError::NotShown)
}

fn is_null_device(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    let output = File::from(descriptor.try_clone_to_owned()?).metadata()?;
    let null = fs::metadata("/dev/null")?;
    Ok(output.file_type().is_char_device() && output.rdev() == null.rdev())
}

/// Prints to standard error; gives up if that fails or takes long.
pub(crate) fn print_error(text: &str) {
    let (done, waiting) = mpsc::channel();
    let text = text.to_owned();
    let thread = thread::Builder::new().spawn(move || {
        // There is nobody left to tell.
        let _ = Descriptor::Stderr.write_all(text.as_bytes());
        let _ = done.send(());
    });
    if thread.is_ok() {
        let _ = waiting.recv_timeout(LAST_WORDS_TIMEOUT);
    }
}

/// Prints to standard output from a thread of its own, for those who must not wait for whoever reads. Clones share the
/// thread.
#[derive(Clone, Debug)]
pub(crate) struct Printer(mpsc::SyncSender<String>);

/// The end of a [`Printer`]: everything was printed and all clones are dropped, or printing failed.
pub(crate) struct Printed(oneshot::Receiver<io::Result<()>>);

impl Printer {
    pub(crate) fn start() -> Result<(Self, Printed), ServerError> {
        let (texts, waiting) = mpsc::sync_channel::<String>(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let all = move || {
            let mut texts = waiting.iter();
            texts.try_for_each(|text| Descriptor::Stdout.write_all(text.as_bytes()))
        };
        thread::Builder::new()
            .name("nahook-print".to_owned())
            .spawn(move || end.send(all()))?;
        Ok((Self(texts), Printed(ended)))
    }

    /// Prints `text` some time soon. Returns false if too much waits already, or printing has failed.
    pub(crate) fn print(&self, text: impl Into<String>) -> bool {
        self.0.try_send(text.into()).is_ok()
    }
}

impl Printed {
    /// Waits for the end.
    ///
    /// # Errors
    /// Not everything could be printed.
    pub(crate) async fn wait(self) -> Result<(), ServerError> {
        let ended = self.0.await;
        let gone = |_| Err(io::ErrorKind::BrokenPipe.into());
        ended.unwrap_or_else(gone).map_err(ServerError::Output)
    }
}

/// Waits for the end of printing, but only as long as a program that ends may take.
pub(crate) async fn briefly(
    ended: impl Future<Output = Result<(), ServerError>>,
) -> Result<(), ServerError> {
    let waited = tokio::time::timeout(LAST_WORDS_TIMEOUT, ended).await;
    waited.unwrap_or(Ok(()))
}

/// One of the process's outputs, unbuffered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Descriptor {
    Stdout,
    Stderr,
}

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = |descriptor: BorrowedFd<'_>| {
            loop {
                match rustix::io::write(descriptor, bytes) {
                    Err(rustix::io::Errno::AGAIN) => thread::sleep(BUSY_PAUSE),
                    written => return written.map_err(io::Error::from),
                }
            }
        };
        match self {
            Self::Stdout => write(io::stdout().as_fd()),
            Self::Stderr => write(io::stderr().as_fd()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
