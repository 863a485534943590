//! A stream that keeps a copy of what arrives while an answer's head is awaited, for when hyper refuses that head.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::HEAD_LEN_MAX;

/// More than this is not kept allocated for the next answer.
const CAPACITY_KEPT: usize = 4 * 1024;

/// Switches the recording and reads it. Clones share one recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_on: bool,
    bytes: Vec<u8>,
}

impl Recording {
    /// Records from now on.
    pub(super) fn start(&self) {
        self.state().is_on = true;
    }

    /// Ends the recording and returns it.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut state = self.state();
        state.is_on = false;
        std::mem::take(&mut state.bytes)
    }

    /// Ends the recording and forgets it.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.is_on = false;
        if state.bytes.capacity() > CAPACITY_KEPT {
            state.bytes = Vec::new();
        }
        state.bytes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose arriving bytes can be recorded.
#[derive(Debug)]
pub(super) struct Recorded<S> {
    pub(super) stream: S,
    pub(super) recording: Recording,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        let mut state = self.recording.state();
        if state.is_on {
            let arrived = buf.filled().get(before..).unwrap_or_default();
            state.bytes.extend_from_slice(arrived);
            if state.bytes.len() > HEAD_LEN_MAX {
                // hyper passes over any number of interim answers, so that only this bounds them.
                state.bytes = Vec::new();
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
