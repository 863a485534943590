//! The little of HTTP/1.1 that the sink, the generator and the bare server need.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;

use crate::Failure;

/// Longest head of a message that is waited for.
const HEAD_LEN_MAX: usize = 64 * 1024;

/// A message that has arrived whole.
pub(crate) struct Message {
    /// The status, or 0 of a request.
    pub(crate) status: u16,
    /// The path of a request.
    pub(crate) is_stats: bool,
}

/// Reads messages off a connection, one after the other.
pub(crate) struct Reader<R> {
    stream: R,
    buffer: Vec<u8>,
    filled: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: vec![0; 16 * 1024],
            filled: 0,
        }
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn next(&mut self, is_response: bool) -> Result<Option<Message>, Failure> {
        let (head_len, body_len, message) = loop {
            if let Some(found) = self.head(is_response)? {
                break found;
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        };
        let len = head_len + body_len;
        while self.filled < len {
            // What is read of a body is dropped, so that a large one takes no room.
            if self.filled > head_len {
                let excess = self.filled - head_len;
                let left = len - head_len - excess;
                self.skip(left).await?;
                self.filled = 0;
                return Ok(Some(message));
            }
            if self.fill().await? == 0 {
                return Err("the connection ended in the middle of a message".into());
            }
        }
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
        Ok(Some(message))
    }

    fn head(&self, is_response: bool) -> Result<Option<(usize, usize, Message)>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let bytes = &self.buffer[..self.filled];
        let (parsed, message, headers) = if is_response {
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(bytes)?;
            let message = Message {
                status: response.code.unwrap_or(0),
                is_stats: false,
            };
            (parsed, message, response.headers)
        } else {
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(bytes)?;
            let message = Message {
                status: 0,
                is_stats: request.path == Some("/stats"),
            };
            (parsed, message, request.headers)
        };
        let httparse::Status::Complete(head_len) = parsed else {
            if self.filled >= HEAD_LEN_MAX {
                return Err("a head without an end".into());
            }
            return Ok(None);
        };
        let len = headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())
            .unwrap_or(0);
        Ok(Some((head_len, len, message)))
    }

    async fn fill(&mut self) -> Result<usize, Failure> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        Ok(read)
    }

    async fn skip(&mut self, mut len: usize) -> Result<(), Failure> {
        while len > 0 {
            let room = len.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..room]).await?;
            if read == 0 {
                return Err("the connection ended in the middle of a message".into());
            }
            len -= read;
        }
        Ok(())
    }
}

/// Options of the bare server.
#[derive(Args)]
pub(crate) struct BareArgs {
    /// Length of an answer in bytes.
    #[arg(long)]
    answer_len: usize,
}

/// Part of a trigger that the bare server reads.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Serves a route that reads a trigger's body, finds its payload and answers as many bytes as a receipt has: the limit of
/// everything that is served over HTTP.
pub(crate) fn serve(args: &BareArgs) -> Result<(), Failure> {
    let answer: Arc<[u8]> = vec![b' '; args.answer_len].into();
    let handler = move |body: Bytes| {
        let answer = Bytes::from_owner(Arc::clone(&answer));
        async move {
            match serde_json::from_slice::<Body<'_>>(&body) {
                Ok(body) if body.payload.get().starts_with('{') => answered(answer),
                _ => StatusCode::BAD_REQUEST.into_response(),
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("listening on {}", listener.local_addr()?);
        let router = Router::new().route("/api/ingest/event/{event_type}", post(handler));
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn answered(answer: Bytes) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::ACCEPTED, json, answer).into_response()
}
