//! A server's monitoring port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Asks the server; `None` where it does not answer, or not with 200.
fn get(port: u16, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let patience = Some(Duration::from_secs(2));
    stream.set_read_timeout(patience).ok()?;
    stream.set_write_timeout(patience).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    serde_json::from_str(body).ok()
}

/// Returns true if the server runs and has recovered what it stores.
pub(super) fn is_healthy(port: u16) -> bool {
    get(port, "/healthz").is_some_and(|health| health["status"] == "ok")
}

/// The name of the cluster's leader, once the server knows `size` members; and the leader itself only once all others are
/// known to be there and to have caught up.
pub(super) fn meta_leader(port: u16, size: usize) -> Option<String> {
    let jetstream = get(port, "/jsz")?;
    let meta = &jetstream["meta_cluster"];
    if meta["cluster_size"] != size {
        return None;
    }
    let leader = meta["leader"]
        .as_str()
        .filter(|leader| !leader.is_empty())?;
    // Told by the leader alone.
    if let Some(others) = meta["replicas"].as_array() {
        let is_there = |other: &Value| other["current"] == true && other["offline"] != true;
        if others.len() + 1 != size || !others.iter().all(is_there) {
            return None;
        }
    }
    Some(leader.to_owned())
}

/// The name of the server that leads a stream, as this server knows it.
pub(super) fn stream_leader(port: u16, name: &str) -> Option<String> {
    let found = stream(port, name)?;
    Some(found["cluster"]["leader"].as_str()?.to_owned())
}

/// Returns the number of messages in a stream.
pub(super) fn messages(port: u16, name: &str) -> Option<u64> {
    stream(port, name)?["state"]["messages"].as_u64()
}

fn stream(port: u16, name: &str) -> Option<Value> {
    let jetstream = get(port, "/jsz?streams=true&accounts=true")?;
    let accounts = jetstream["account_details"].as_array()?;
    let mut streams = accounts
        .iter()
        .filter_map(|account| account["stream_detail"].as_array())
        .flatten();
    streams.find(|found| found["name"] == name).cloned()
}
