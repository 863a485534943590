//! A connection whose client has to keep up.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ServeSettings;
use super::refusal::bare_len;

/// Phase of a connection between its requests, which decides how long the server waits.
pub(super) struct Pace(Mutex<State>);

struct State {
    phase: Phase,
    /// The body of the latest request has not been read to its end.
    is_unread: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    /// A request is being read and answered; the routes have deadlines of their own.
    Busy,
    /// A request's head has been arriving since then.
    Head(Instant),
    /// Nothing has been asked since then.
    Idle(Instant),
}

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            phase: Phase::Idle(Instant::now()),
            is_unread: false,
        }))
    }

    pub(super) fn request_began(&self, has_body: bool) {
        *self.state() = State {
            phase: Phase::Busy,
            is_unread: has_body,
        };
    }

    pub(super) fn body_ended(&self) {
        self.state().is_unread = false;
    }

    pub(super) fn answer_ended(&self) {
        self.state().phase = Phase::Idle(Instant::now());
    }

    pub(super) fn is_unread(&self) -> bool {
        self.state().is_unread
    }

    /// Returns true if a head has begun to arrive and has not ended.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.phase(), Phase::Head(_))
    }

    fn bytes_arrived(&self) {
        let mut state = self.state();
        if let Phase::Idle(_) = state.phase {
            state.phase = Phase::Head(Instant::now());
        }
    }

    fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Nothing panics while holding it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that fails with [`TimedOut`](io::ErrorKind::TimedOut) when its client is idle for too long, dawdles over a
/// request's head, or does not take its answer.
///
/// Withholds the refusal that hyper writes by itself, which has no body, and leaves the connection open for a better one.
pub(super) struct Paced {
    stream: TcpStream,
    pace: Arc<Pace>,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    reading: Alarm,
    writing: Alarm,
    /// Since when the client has taken nothing.
    stuck_since: Option<Instant>,
    has_withheld: bool,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, pace: Arc<Pace>, settings: &ServeSettings) -> Self {
        Self {
            stream,
            pace,
            head_timeout: settings.head_timeout,
            idle_timeout: settings.idle_timeout,
            write_timeout: settings.write_timeout,
            reading: Alarm::default(),
            writing: Alarm::default(),
            stuck_since: None,
            has_withheld: false,
        }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Passes a write's result on, or fails when nothing could be written for too long.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck_since = None;
            return written;
        }
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        let late = self.writing.poll(context, since + self.write_timeout);
        late.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                self.pace.bytes_arrived();
            }
            return Poll::Ready(read);
        }
        let deadline = match self.pace.phase() {
            Phase::Busy => return Poll::Pending,
            Phase::Head(since) => since + self.head_timeout,
            Phase::Idle(since) => since + self.idle_timeout,
        };
        let late = self.reading.poll(context, deadline);
        late.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let withheld = bare_len(bytes);
        self.has_withheld |= withheld > 0;
        if withheld > 0 && withheld == bytes.len() {
            return Poll::Ready(Ok(withheld));
        }
        let bytes = &bytes[..bytes.len() - withheld];
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let last = parts.iter().rev().find(|part| !part.is_empty());
        if last.is_some_and(|part| bare_len(part) > 0) {
            // One part at a time, until the last is alone.
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(context, first.map_or(&[], |part| part));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_withheld {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A timer that is set again only when it has to be: moving a deadline back costs nothing until the old one passes.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed; else wakes the task then, or earlier.
    fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}
