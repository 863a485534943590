//! A word with JetStream, without a client.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Asks a subject of the API; `None` where nobody answers in time.
pub(super) fn ask(port: u16, subject: &str, body: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let len = body.len();
    write!(
        stream,
        "CONNECT {{\"verbose\":false}}\r\nSUB inbox 1\r\nPUB {subject} inbox {len}\r\n{body}\r\n"
    )
    .ok()?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("MSG ") {
            return serde_json::from_str(&lines.next()?.ok()?).ok();
        }
    }
    None
}
