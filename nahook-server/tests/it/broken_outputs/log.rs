//! Standard error that cannot be written: nobody who asks the server notices.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nahook_testserver::PostgresServer;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use super::fault::Fault;
use crate::support::api::Api;
use crate::support::manifest::{EVENT_TYPE, KEY, endpoint, shop};
use crate::support::process::{Lines, Nahook};
use crate::support::receiver::{Receiver, Reply};
use crate::support::server::{ALLOW_LOOPBACK, announced_address, apply_to};
use crate::support::{SOON, until};

/// The default, and what the README gives for a line for each success.
const FILTERS: [&str; 2] = ["", "info,nahook_http=debug,nahook_delivery=debug"];

async fn start(
    dir: &std::path::Path,
    store: &[&str],
    filter: &str,
    stderr: Stdio,
) -> (Nahook, SocketAddr, SocketAddr) {
    // Its log may not be read, so that it cannot say which port it has.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let operations = free.local_addr().unwrap();
    drop(free);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--sample", "false"];
    let operating = ["--operations-listen", &operations.to_string()];
    let arguments = [&serve[..], &operating, &ALLOW_LOOPBACK, store].concat();
    let env = [("RUST_LOG", filter)];
    let mut process = Nahook::start_onto(dir, &arguments, &env, Stdio::piped(), stderr);
    let address = announced_address(&mut process).await;
    (process, address, operations)
}

/// Shows that everything is answered, delivered, retried and stopped as if the log were read.
async fn works_without_a_log(store: &[&str], fault: Fault, filter: &str) {
    let receiver = Receiver::start().await;
    receiver.reply("/1", [Reply::Status(500)]);
    let dir = tempfile::tempdir().unwrap();
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    let applied = apply_to(dir.path(), store, &manifest).await;
    assert!(applied.success, "{}", applied.stderr);
    let (stderr, _reader) = fault.output();
    let (mut process, address, operations) = start(dir.path(), store, filter, stderr).await;
    let api = Api::new(address, KEY);

    let told = api.trigger(EVENT_TYPE, "{\"n\":1}").await.delivery_ids();
    assert_eq!(told.len(), 1);
    let trigger = format!("/api/ingest/event/{EVENT_TYPE}");
    for _ in 0..100 {
        let malformed = api.post(&trigger, "nonsense").await;
        malformed.assert_error(400, "validation_error");
        let stranger = Api::new(address, "nhk_us_stranger_00000000000000000000");
        let refused = stranger.trigger(EVENT_TYPE, "{}").await;
        refused.assert_error(401, "unauthorized");
    }
    assert_eq!(api.get("/readyz").await.status, 200);
    let arrivals = receiver.exactly(2).await;
    assert_eq!(arrivals[1].header("nahook-attempt"), "2");

    let metrics = Api::new(operations, "").get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(!metrics.contains("nahook_loop_failures_total"), "{metrics}");
    let lost = metrics.contains("nahook_log_lines_lost_total ");
    let is_noticed = !matches!(fault, Fault::Stalled | Fault::Closed);
    assert_eq!(lost, is_noticed, "{metrics}");
    process.terminate();
    assert!(process.exit(SOON).await.success(), "{fault:?}, {filter:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_cannot_be_written_changes_nothing_on_a_file() {
    let cases = Fault::ALL
        .into_iter()
        .flat_map(|fault| FILTERS.map(|filter| works_without_a_log(&[], fault, filter)));
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_cannot_be_written_changes_nothing_on_a_database() {
    let url = || PostgresServer::shared().create_database();
    for filter in FILTERS {
        let urls = Fault::ALL.map(|fault| (fault, url()));
        let cases = urls.iter().map(|(fault, url)| async move {
            works_without_a_log(&["--store", url], *fault, filter).await;
        });
        futures_util::future::join_all(cases).await;
    }
}

/// Limits the size of files that the process may write, as `ulimit -f` does.
fn limit_file_sizes(process: &Nahook, bytes: Option<u64>) {
    let id = i32::try_from(process.id()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Pid::from_raw(id), Resource::Fsize, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_of_file_sizes_is_a_full_disk_and_no_end() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let manifest = shop(vec![endpoint("ep_1", &receiver.url("/1"))]);
    let applied = apply_to(dir.path(), &[], &manifest).await;
    assert!(applied.success, "{}", applied.stderr);
    let log = File::create(dir.path().join("log")).unwrap();
    let (mut process, address, _) = start(dir.path(), &[], FILTERS[1], log.into()).await;
    let api = Api::new(address, KEY);
    assert_eq!(api.trigger(EVENT_TYPE, "{}").await.delivery_ids().len(), 1);
    receiver.wait_for(1).await;

    limit_file_sizes(&process, Some(1));
    let answer = api.trigger(EVENT_TYPE, "{}").await;
    assert!(
        answer.status == 503 || answer.delivery_ids().is_empty(),
        "{answer:?}"
    );
    assert_eq!(api.get("/readyz").await.status, 503);
    assert!(process.is_running());

    limit_file_sizes(&process, None);
    let accepted = async || {
        let answer = api.trigger(EVENT_TYPE, "{}").await;
        answer.status == 202 && !answer.delivery_ids().is_empty()
    };
    while !accepted().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    receiver.wait_for(2).await;
    process.terminate();
    assert!(process.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_that_returns_gets_whole_lines_and_the_number_of_those_lost() {
    const REQUESTS: usize = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let applied = apply_to(dir.path(), &[], &shop(vec![])).await;
    assert!(applied.success, "{}", applied.stderr);
    let (stderr, reader) = Fault::Stalled.output();
    // At debug level each refusal has its line.
    let (mut process, address, _) = start(dir.path(), &[], FILTERS[1], stderr).await;
    let api = Api::new(address, KEY);
    let trigger = format!("/api/ingest/event/{EVENT_TYPE}");
    for _ in 0..REQUESTS {
        api.post(&trigger, "nonsense")
            .await
            .assert_error(400, "validation_error");
    }

    let lines = Lines::default();
    lines.follow(reader.unwrap());
    let said = until(SOON, "the loss is told", || {
        lines.find("log lines were lost")
    })
    .await;
    process.terminate();
    assert!(process.exit(SOON).await.success());
    let said: Value = serde_json::from_str(&said).unwrap();
    let message = said["message"].as_str().unwrap();
    let lost: usize = message.split(' ').next().unwrap().parse().unwrap();
    let written = lines.count(&["\"status\":400"]);
    assert_eq!(written + lost, REQUESTS, "{message}");
    for line in lines.all().iter().filter(|line| !line.is_empty()) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_eq!(lines.count(&["log lines were lost"]), 1);
}
