//! A connection on which a test writes and reads the bytes itself.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::SOON;
use crate::support::manifest::KEY;

/// A connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status_line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer, whole.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        timeout(SOON, self.read_answer())
            .await
            .expect("an answer in time")
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: impl AsRef<[u8]>) -> RawAnswer {
        self.send(request).await;
        self.answer().await
    }

    /// Returns true if the server closes the connection within that time.
    pub(crate) async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let mut byte = [0];
        match timeout(limit, self.stream.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("more than an answer"),
            Err(_) => false,
        }
    }

    async fn read_answer(&mut self) -> RawAnswer {
        let head_len = loop {
            if let Some(at) = self
                .unread
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.read_more().await;
        };
        let head: Vec<u8> = self.unread.drain(..head_len).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let answer = RawAnswer {
            status_line,
            headers,
            body: String::new(),
        };
        let len: usize = answer
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .unwrap();
        assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
        while self.unread.len() < len {
            self.read_more().await;
        }
        let body = String::from_utf8(self.unread.drain(..len).collect()).unwrap();
        RawAnswer { body, ..answer }
    }

    async fn read_more(&mut self) {
        let mut buffer = [0; 4096];
        let len = self.stream.read(&mut buffer).await.unwrap();
        assert!(
            len > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.unread)
        );
        self.unread.extend_from_slice(&buffer[..len]);
    }
}

impl RawAnswer {
    pub(crate) fn status(&self) -> u16 {
        assert!(self.status_line.starts_with("HTTP/1.1 "), "{self:?}");
        self.status_line[9..12].parse().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// Checks that it is this error, in the contract's shape.
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        let json: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(
            (self.status(), &json["error"]["code"]),
            (status, &Value::from(code)),
            "{self:?}"
        );
        assert!(
            json["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        assert!(self.header("x-request-id").is_some(), "{self:?}");
    }

    /// Checks that it is a 202 with so many delivery ids.
    pub(crate) fn assert_accepted(&self, width: usize) {
        assert_eq!(self.status(), 202, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let json: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(
            json["deliveryIds"].as_array().unwrap().len(),
            width,
            "{self:?}"
        );
    }
}

/// A request with the usual key, these headers and that body.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let key = format!("authorization: Bearer {KEY}");
    request_without_key(method, path, &[&[key.as_str()], headers].concat(), body)
}

/// A request with these headers and that body, and nothing else but its length.
pub(crate) fn request_without_key(
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> String {
    let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: nahook\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
