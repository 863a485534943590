//! A server that may have few files open. Alone in its process, whose limit it lowers; the clients are another process.

#![cfg(unix)]
#![cfg(test)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nahook_http::{ServeSettings, serve, with_fallbacks};
use nahook_supervision::Supervisor;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Set for the process of the clients: how many, and whom they ask.
const CLIENTS: &str = "NAHOOK_TEST_CLIENTS";
const FILES_MAX: u64 = 128;
const SOON: Duration = Duration::from_mins(1);

#[test]
fn connections_leave_files_to_others_and_missing_files_end_nothing() {
    if let Ok(clients) = std::env::var(CLIENTS) {
        return ask(&clients);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(check());
}

async fn check() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let supervisor = Supervisor::new();
    let asked = Arc::<Asked>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Before the limit is lowered, which processes inherit.
    let many = start(200, address);
    rlimit::Resource::NOFILE.set(FILES_MAX, FILES_MAX).unwrap();
    let (settings, never) = (ServeSettings::default(), std::future::pending());
    let router = counting(&asked);
    tokio::spawn(serve(listener, router, settings, supervisor.clone(), never));

    // 42 of 128 files are for connections, a quarter of them for one address, whose oldest ones make room for the others.
    let many = let_ask(many);
    until(|| {
        metric(
            &metrics,
            "nahook_http_connections_evicted_total{reason=\"address\"}",
        ) >= 190
    })
    .await;
    until(|| metric(&metrics, "nahook_http_connections") == 10).await;
    assert!(asked.many.load(Ordering::SeqCst) >= 10);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        drop(files(60));
        sleep(Duration::from_millis(5)).await;
    }
    let single = let_ask(start(1, address));
    until(|| asked.single.load(Ordering::SeqCst) == 1).await;
    end(many);
    end(single);
    until(|| metric(&metrics, "nahook_http_connections") == 0).await;
    assert_eq!(metric(&metrics, "nahook_http_connections_refused_total"), 0);

    // Something else takes every file.
    let late = start(1, address);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let begun = Instant::now();
    let late = let_ask(late);
    until(|| metric(&metrics, "nahook_http_accept_failures_total") >= 3).await;
    assert!(begun.elapsed() >= Duration::from_millis(2 * 50), "pauses");
    assert_eq!(asked.single.load(Ordering::SeqCst), 1);
    drop(taken);
    until(|| asked.single.load(Ordering::SeqCst) == 2).await;
    assert_eq!(supervisor.loops()[0].failures, 0);
    end(late);
}

/// Clients of a request: one of many, or a single one.
#[derive(Default)]
struct Asked {
    many: AtomicUsize,
    single: AtomicUsize,
}

fn counting(asked: &Arc<Asked>) -> Router {
    let (many, single) = (Arc::clone(asked), Arc::clone(asked));
    let many = get(move || async move {
        many.many.fetch_add(1, Ordering::SeqCst);
    });
    let single = get(move || async move {
        single.single.fetch_add(1, Ordering::SeqCst);
    });
    with_fallbacks(Router::new().route("/many", many).route("/single", single))
}

fn files(count: usize) -> Vec<File> {
    let open = |_| File::open("/dev/null").unwrap();
    (0..count).map(open).collect()
}

fn metric(metrics: &PrometheusHandle, name: &str) -> u64 {
    let text = metrics.render();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn until(condition: impl Fn() -> bool + Sync) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, met).await.unwrap();
}

/// Starts the process of so many clients, which wait until they are let.
fn start(count: usize, address: SocketAddr) -> Child {
    let mut clients = Command::new(std::env::current_exe().unwrap());
    clients.env(CLIENTS, format!("{count} {address}"));
    let clients = clients.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    clients.unwrap()
}

fn let_ask(mut clients: Child) -> Child {
    clients.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    clients
}

fn end(mut clients: Child) {
    clients.kill().unwrap();
    clients.wait().unwrap();
}

/// Opens so many connections, asks once on each, and keeps them until the process is killed or the other one is gone.
fn ask(clients: &str) {
    let mut turn = [0];
    std::io::stdin().read_exact(&mut turn).unwrap();
    let (count, address) = clients.split_once(' ').unwrap();
    let path = if count == "1" { "single" } else { "many" };
    let open = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: h\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let _open: Vec<_> = (0..count.parse::<usize>().unwrap()).map(open).collect();
    let _ = std::io::stdin().read(&mut turn);
}
