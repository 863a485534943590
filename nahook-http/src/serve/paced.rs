//! A connection whose client has to keep up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::ServeSettings;
use super::refusal::bare_len;
use super::stream::Stream;
use crate::room::{Pace, Phase};

/// A stream that fails with [`TimedOut`](io::ErrorKind::TimedOut) when its client is idle for too long, dawdles over a
/// request's head, or takes less of its answer than it has to.
///
/// Withholds the refusal that hyper writes by itself, which has no body, and leaves the connection open for a better one.
pub(super) struct Paced {
    stream: Stream,
    pace: Arc<Pace>,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    write_len_min: usize,
    reading: Alarm,
    writing: Alarm,
    /// Instant since which the client has taken nothing.
    stuck_since: Option<Instant>,
    /// Time spent waiting for the client, and bytes that it has taken, since it last had taken enough.
    stuck_for: Duration,
    taken: usize,
    has_withheld: bool,
}

impl Paced {
    pub(super) fn new(stream: Stream, pace: Arc<Pace>, settings: &ServeSettings) -> Self {
        Self {
            stream,
            pace,
            head_timeout: settings.head_timeout,
            idle_timeout: settings.idle_timeout,
            write_timeout: settings.write_timeout,
            write_len_min: settings.write_len_min,
            reading: Alarm::default(),
            writing: Alarm::default(),
            stuck_since: None,
            stuck_for: Duration::ZERO,
            taken: 0,
            has_withheld: false,
        }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Passes a write's result on, or fails when the server has waited for too long for the client to take enough.
    ///
    /// Only time in which the client takes nothing counts: an answer may take as long to be made as it likes.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            self.stuck_for += self
                .stuck_since
                .take()
                .map_or(Duration::ZERO, |since| since.elapsed());
            self.taken += *result.as_ref().unwrap_or(&0);
            if self.taken >= self.write_len_min {
                (self.stuck_for, self.taken) = (Duration::ZERO, 0);
            }
            return Poll::Ready(result);
        }
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        let left = self.write_timeout.saturating_sub(self.stuck_for);
        let late = self.writing.poll(context, since + left);
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
                self.pace.add_bytes();
            }
            return Poll::Ready(read);
        }
        let deadline = match self.pace.phase() {
            Phase::Busy(_) => return Poll::Pending,
            Phase::Fresh(since) | Phase::Head(since) => since + self.head_timeout,
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
        // A secured stream writes what it has buffered.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        let written = flushed.map_ok(|()| 0);
        self.written(context, written).map_ok(|_| ())
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
