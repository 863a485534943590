//! The servers themselves: that each way to hurt one does what its name says.
#![cfg(test)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use nahook_testserver::{NatsOptions, NatsServer};
use serde_json::Value;

/// A connection, and what the server says of itself first.
fn connect(server: &NatsServer) -> (TcpStream, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let line = line(&mut stream).unwrap();
    let info = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    (stream, info)
}

fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line).unwrap().trim_end().to_owned())
}

/// Asks the JetStream API, and answers what it says.
fn ask(server: &NatsServer, subject: &str, body: &str) -> Value {
    let (mut stream, _) = connect(server);
    write!(
        stream,
        "CONNECT {{\"verbose\":false}}\r\nSUB inbox 1\r\nPUB {subject} inbox {}\r\n{body}\r\n",
        body.len()
    )
    .unwrap();
    loop {
        if line(&mut stream).unwrap().starts_with("MSG ") {
            return serde_json::from_str(&line(&mut stream).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_killed_server_comes_back_on_its_port_with_its_store() {
    let server = NatsServer::start();
    let made = ask(
        &server,
        "$JS.API.STREAM.CREATE.kept",
        r#"{"name":"kept","subjects":["kept.>"],"storage":"file","retention":"limits"}"#,
    );
    assert!(made.get("error").is_none(), "{made}");
    let stored = ask(&server, "kept.1", "a message");
    assert_eq!(stored["seq"], 1);

    server.kill();
    let refused = TcpStream::connect(("127.0.0.1", server.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    server.start_again();
    let info = ask(&server, "$JS.API.STREAM.INFO.kept", "");
    assert_eq!(info["state"]["messages"], 1);
}

#[test]
fn a_frozen_server_answers_nothing_until_it_is_thawed() {
    let server = NatsServer::start();
    let (mut stream, _) = connect(&server);
    stream.write_all(b"CONNECT {}\r\n").unwrap();
    assert_eq!(line(&mut stream).unwrap(), "+OK");

    server.freeze();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let silence = line(&mut stream).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);

    server.thaw();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    assert_eq!(line(&mut stream).unwrap(), "PONG");
}

#[test]
fn settings_are_those_asked_for() {
    let options = NatsOptions::new().max_payload(12_345).token("secret");
    let (_, info) = connect(&options.start());
    assert_eq!(info["max_payload"], 12_345);
    assert_eq!(info["auth_required"], true);
    NatsOptions::new().sync_always().start();
}

#[test]
fn killed_leader_of_a_cluster_is_replaced() {
    let cluster = NatsOptions::new().start_cluster();
    // Whoever leads the cluster may change at any time, and the next takes its peers for offline until it has heard of them.
    wait_for(|| {
        let made = ask(
            &cluster.nodes()[0],
            "$JS.API.STREAM.CREATE.kept",
            r#"{"name":"kept","subjects":["kept.>"],"storage":"file","retention":"limits","num_replicas":3}"#,
        );
        made.get("error").is_none().then_some(())
    });
    let leader = wait_for(|| cluster.stream_leader("kept"));
    cluster.nodes()[leader].kill();
    let next = wait_for(|| cluster.stream_leader("kept").filter(|next| *next != leader));
    assert_ne!(next, leader);
    cluster.nodes()[leader].start_again();
    cluster.wait_until_ready();
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not happen")
}
