//! Reading a request's body without trusting its sender.

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, header};
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::body::Frame;
use nahook_core::id::WorkspaceId;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use crate::{BudgetKind, Budgets, Permit, Refused};

/// Largest space that is set aside on the word of a `Content-Length` alone.
const TRUSTED_LEN_MAX: usize = 64 * 1024;

/// Bytes of a body that are not charged: the number of connections bounds these, and most bodies are no longer.
const FREE_LEN: usize = 16 * 1024;

/// Bytes that are charged at once of a body whose length is not known.
const CHARGED_LEN: usize = 64 * 1024;

/// Upper bound on the wait for the rest of a refused body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that has not been read.
pub(crate) struct Unread {
    body: Body,
    /// The client waits for `100 Continue` before it sends: a body that is not polled is not sent.
    is_held_back: bool,
}

/// The bytes that a body takes of its workspace's budget, given back when this is dropped.
pub(crate) struct Charged<'a> {
    budgets: &'a Budgets,
    workspace: WorkspaceId,
    len: usize,
    permit: Option<Permit>,
}

impl<'a> Charged<'a> {
    /// Charges nothing yet.
    pub(crate) fn new(budgets: &'a Budgets, workspace: WorkspaceId) -> Self {
        Self {
            budgets,
            workspace,
            len: FREE_LEN,
            permit: None,
        }
    }

    /// Returns what is to be kept for as long as the body is.
    pub(crate) fn into_permit(self) -> Option<Permit> {
        self.permit
    }

    /// Charges a body of that length, and of the length that it is announced to have.
    fn reach(&mut self, len: usize, announced: usize) -> Result<(), ReadError> {
        if len <= self.len {
            return Ok(());
        }
        let more = match announced {
            // The length is not known.
            0 => (len - self.len).max(CHARGED_LEN),
            announced => announced.max(len) - self.len,
        };
        let kind = BudgetKind::BodyBytes;
        let charged = if let Some(permit) = &mut self.permit {
            permit.grow(more as u64)
        } else {
            let taken = self.budgets.try_take(self.workspace, kind, more as u64);
            taken.map(|permit| self.permit = Some(permit))
        };
        charged.map_err(ReadError::Refused)?;
        self.len += more;
        Ok(())
    }
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReadError {
    /// It ended early or its framing was broken.
    Broken,
    /// There is no room for it now.
    Refused(Refused),
    /// It was not complete by the deadline.
    TooLate,
    /// It is longer than allowed.
    TooLong,
}

impl Unread {
    pub(crate) fn new(body: Body, headers: &HeaderMap) -> Self {
        Self {
            body,
            is_held_back: headers.contains_key(header::EXPECT),
        }
    }

    /// Reads the body to its end, holding at most `len_max` bytes and what arrived last. What is answered lies in memory of
    /// its own.
    ///
    /// A body that announces more, or that there is no budget for, is refused before any of it is read.
    pub(crate) async fn read(
        &mut self,
        len_max: usize,
        deadline: Instant,
        charged: &mut Charged<'_>,
    ) -> Result<Bytes, ReadError> {
        let announced = self.body.size_hint().lower();
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > len_max {
            return Err(ReadError::TooLong);
        }
        charged.reach(announced, announced)?;
        timeout_at(deadline, self.collect(len_max, announced, charged))
            .await
            .unwrap_or(Err(ReadError::TooLate))
    }

    /// Reads and drops what is left, at most `len_max` bytes and not for long. Answers whether that was all.
    pub(crate) async fn discard(mut self, len_max: usize, deadline: Instant) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        let announced = self.body.size_hint().lower();
        if self.is_held_back || usize::try_from(announced).map_or(true, |len| len > len_max) {
            return false;
        }
        let mut left = len_max;
        let discarding = async {
            while let Some(frame) = self.frame().await {
                let Ok(frame) = frame else { return false };
                let len = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(len) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        let deadline = deadline.min(Instant::now() + DISCARD_TIMEOUT);
        timeout_at(deadline, discarding).await.unwrap_or(false)
    }

    async fn collect(
        &mut self,
        len_max: usize,
        announced: usize,
        charged: &mut Charged<'_>,
    ) -> Result<Bytes, ReadError> {
        let mut first = Bytes::new();
        let mut whole: Option<BytesMut> = None;
        while let Some(frame) = self.frame().await {
            let frame = frame.map_err(|_| ReadError::Broken)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let held = whole.as_ref().map_or(first.len(), BytesMut::len);
            if data.len() > len_max - held {
                return Err(ReadError::TooLong);
            }
            charged.reach(held + data.len(), announced)?;
            if held == 0 {
                // The usual body arrives at once.
                first = data;
                continue;
            }
            whole
                .get_or_insert_with(|| {
                    let room = announced.min(TRUSTED_LEN_MAX).max(first.len());
                    let mut whole = BytesMut::with_capacity(room + data.remaining());
                    whole.extend_from_slice(&first);
                    whole
                })
                .extend_from_slice(&data);
        }
        // What arrived at once lies in the connection's buffer, thousands of bytes of it. A payload that is kept must not keep
        // all of that, nor make the connection get itself another buffer for each request.
        Ok(whole.map_or_else(|| Bytes::copy_from_slice(&first), BytesMut::freeze))
    }

    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, axum::Error>> {
        std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(
        unread: &mut Unread,
        len_max: usize,
        deadline: Instant,
    ) -> Result<Bytes, ReadError> {
        let budgets = Budgets::default();
        let mut charged = Charged::new(&budgets, WorkspaceId::from_bits(1));
        unread.read(len_max, deadline, &mut charged).await
    }

    #[tokio::test]
    async fn what_is_kept_of_a_request_does_not_keep_the_connections_buffer() {
        let buffer = Bytes::from(vec![b' '; 8_192]);
        let mut unread = Unread::new(Body::from(buffer.slice(100..300)), &HeaderMap::new());
        let deadline = Instant::now() + Duration::from_secs(5);
        let read = read(&mut unread, 1_000, deadline).await.unwrap();
        assert_eq!(read.len(), 200);
        assert!(read.is_unique());
        assert!(buffer.is_unique());
    }

    /// A body that announces more than it has, and may never end.
    struct Announcing {
        announced: u64,
        frames: Vec<&'static str>,
        ends: bool,
    }

    impl axum::body::HttpBody for Announcing {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let data = self.frames.pop();
            if data.is_none() && !self.ends {
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(data.map(|data| Ok(Frame::data(data.into()))))
        }

        fn size_hint(&self) -> hyper::body::SizeHint {
            hyper::body::SizeHint::with_exact(self.announced)
        }
    }

    fn unread(announced: u64, frames: &[&'static str]) -> Unread {
        let frames = frames.to_vec();
        let ends = true;
        let body = Body::new(Announcing {
            announced,
            frames,
            ends,
        });
        Unread::new(body, &HeaderMap::new())
    }

    #[tokio::test(start_paused = true)]
    async fn rest_of_a_refused_body_is_waited_for_for_a_second() {
        let body = Body::new(Announcing {
            announced: 0,
            frames: vec!["a"],
            ends: false,
        });
        let unread = Unread::new(body, &HeaderMap::new());
        let began = Instant::now();
        assert!(!unread.discard(100, began + Duration::from_secs(5)).await);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn body_may_have_the_length_that_is_allowed_and_no_byte_more() {
        let deadline = Instant::now() + Duration::from_secs(5);
        for (frames, is_allowed) in [
            (&["1234"][..], true),
            (&["34", "12"], true),
            (&["12345"], false),
            (&["5", "1234"], false),
        ] {
            let read = read(&mut unread(0, frames), 4, deadline).await;
            assert_eq!(read.is_ok(), is_allowed, "{frames:?}");
            let left = unread(0, frames);
            assert_eq!(left.discard(4, deadline).await, is_allowed, "{frames:?}");
        }
    }

    #[tokio::test]
    async fn announced_length_alone_takes_little_memory() {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut lying = unread(50_000_000, &["b", "a"]);
        let read = read(&mut lying, 100_000_000, deadline).await.unwrap();
        let room = read.try_into_mut().unwrap().capacity();
        assert!(room <= 100_000, "{room} bytes");
    }
}
