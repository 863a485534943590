//! More receivers than the server may have files open are not its tenants' trouble.

use crate::support::SOON;
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::receiver::Receiver;
use crate::support::server::Server;

const ORIGINS: usize = 300;
const FILES: u32 = 256;
const EVENTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn more_origins_than_files_fail_no_attempt_and_keep_no_client_out() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let mut receivers = Vec::new();
    for _ in 0..ORIGINS {
        receivers.push(Receiver::start().await);
    }
    let endpoints = receivers.iter().enumerate();
    let endpoints = endpoints
        .map(|(nth, receiver)| endpoint(&format!("ep_{nth}"), &receiver.url("/hook")))
        .collect();
    let mut server = Server::with(&shop(endpoints)).await;
    server.process.terminate();
    assert!(server.process.exit(SOON).await.success());
    server.start_again_with_files(FILES).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.process.id())).unwrap();
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let of = limit.unwrap().split_whitespace().nth(4).unwrap();
    assert_eq!(of, FILES.to_string(), "{limits}");

    // Each event comes by a connection of its own, while deliveries of those before are under way.
    for _ in 0..EVENTS {
        let answer = server.api().trigger(EVENT_TYPE, "{}").await;
        assert_eq!(answer.delivery_ids().len(), ORIGINS);
    }
    for receiver in &receivers {
        let arrivals = receiver.wait_for(EVENTS).await;
        for arrival in arrivals {
            assert_eq!(arrival.header("nahook-attempt"), "1");
        }
    }
    // Nothing was sent twice, and nothing that the server lacked counts as a failure.
    for receiver in &receivers {
        assert_eq!(receiver.len(), EVENTS);
    }
    let failed = "nahook_delivery_attempts_total{outcome=\"failed\"";
    let metrics = server.metrics().await;
    let is_failed = |line: &&str| line.starts_with(failed) && !line.ends_with(" 0");
    assert_eq!(metrics.lines().find(is_failed), None);
}
