//! One NATS server.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::options::NatsOptions;
use super::{api, monitor};
use crate::supervisor::Supervisor;
use crate::tools::tool;

/// Timeout of starting a server.
pub(super) const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The name of a server that runs alone.
const SINGLE: &str = "single";

/// Ports that the system gives to no outgoing connection. A server that is killed leaves its port to whoever asks: from the
/// system's own range that could be a client, even one that connects to itself.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// Runs the server until its own standard input ends; then kills it and removes the folder.
const SUPERVISOR: &str = r#"
start() { "$1" -c "$2/nats.conf" >>"$2/log" 2>&1 </dev/null & server=$!; }
start "$1" "$2"
while read -r order; do
    case $order in
        kill) kill -KILL "$server"; wait "$server" ;;
        stop) kill -TERM "$server"; wait "$server" ;;
        freeze)
            kill -STOP "$server"
            # Each of its threads stops when it comes to it: an answer may still be under way until then.
            while cat /proc/"$server"/task/*/stat 2>/dev/null | grep -vq ') T '; do sleep 0.01; done ;;
        reload) kill -HUP "$server" ;;
        thaw) kill -CONT "$server" ;;
        start) start "$1" "$2" ;;
    esac
    if kill -0 "$server" 2>/dev/null; then echo runs; else echo ended; fi
done
kill -KILL "$server" 2>/dev/null
wait "$server"
rm -rf "$2"
"#;

/// A NATS server with JetStream: a folder, a port and a supervisor of its own.
///
/// It ends when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    monitor: u16,
    folder: PathBuf,
    supervisor: Mutex<Supervisor>,
    // Removed by the supervisor, or by us if that is too early for it.
    _folder: TempDir,
}

impl NatsOptions {
    /// Starts one server.
    pub fn start(&self) -> NatsServer {
        NatsServer::start_with(self)
    }
}

impl NatsServer {
    /// Starts a server with the defaults; [`NatsOptions`] has the rest.
    pub fn start() -> Self {
        Self::start_with(&NatsOptions::new())
    }

    pub(super) fn start_with(options: &NatsOptions) -> Self {
        // Somebody else may take a port in between; then others are tried.
        for _ in 0..10 {
            let [port, monitor] = free_ports();
            let server = Self::spawn(options, SINGLE, port, monitor, "");
            if server.is_ready_in_time(|| monitor::is_healthy(monitor)) {
                return server;
            }
            assert!(server.is_beaten_to_a_port(), "{}", server.failure());
        }
        panic!("there are no free ports");
    }

    /// Starts a server and does not wait for it.
    pub(super) fn spawn(
        options: &NatsOptions,
        name: &str,
        port: u16,
        monitor: u16,
        routes: &str,
    ) -> Self {
        let temporary = tempfile::Builder::new()
            .prefix("nahook-nats-")
            .tempdir()
            .expect("a temporary folder can be made");
        let folder = temporary.path().to_owned();
        options.write(&folder, name, port, monitor, routes);
        let mut script = Supervisor::script(SUPERVISOR);
        script.arg(tool("nats-server")).arg(&folder);
        let supervisor = Mutex::new(Supervisor::spawn(&mut script));
        Self {
            port,
            monitor,
            folder,
            supervisor,
            _folder: temporary,
        }
    }

    /// URL for clients, without credentials.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The same with what goes before the host, such as `user:password`.
    pub fn url_with(&self, credentials: &str) -> String {
        format!("nats://{credentials}@127.0.0.1:{}", self.port)
    }

    /// The port of [`url`](Self::url).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the server's streams.
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Number of messages of a stream, or `None` if the server knows no such stream.
    pub fn messages(&self, stream: &str) -> Option<u64> {
        monitor::messages(self.monitor, stream)
    }

    /// Number of messages that a consumer has not received or not acknowledged; `None` if there is no such consumer.
    /// For servers that ask for no credentials.
    pub fn unconsumed(&self, stream: &str, consumer: &str) -> Option<u64> {
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
        let info = api::ask(self.port, &subject, "")?;
        Some(info["num_pending"].as_u64()? + info["num_ack_pending"].as_u64()?)
    }

    /// Deletes a stream, with everything in it; for servers that ask for no credentials.
    pub fn delete_stream(&self, stream: &str) {
        let deleted = api::ask(self.port, &format!("$JS.API.STREAM.DELETE.{stream}"), "");
        let deleted = deleted.expect("the server answers");
        assert_eq!(deleted["success"], true, "{deleted}");
    }

    /// Log of the server so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the server at once with SIGKILL, as a crash of the process does.
    pub fn kill(&self) {
        assert_eq!(self.order("kill"), "ended");
    }

    /// Ends the server in an orderly way.
    pub fn stop(&self) {
        assert_eq!(self.order("stop"), "ended");
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port and the same store, and waits
    /// until it has recovered what it stores.
    pub fn start_again(&self) {
        self.start_again_in_the_background();
        let monitor = self.monitor;
        assert!(
            self.is_ready_in_time(|| monitor::is_healthy(monitor)),
            "{}",
            self.failure()
        );
    }

    /// The same without waiting.
    pub fn start_again_in_the_background(&self) {
        self.order("start");
    }

    /// Stops the process where it is: its connections stay, and it answers nothing.
    pub fn freeze(&self) {
        assert_eq!(self.order("freeze"), "runs");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        assert_eq!(self.order("thaw"), "runs");
    }

    /// Has a server that runs alone read these settings, as an operator does, and waits until it has.
    pub fn reload(&self, options: &NatsOptions) {
        let reloads = || self.log().matches("Reloaded server configuration").count();
        let before = reloads();
        options.write(&self.folder, SINGLE, self.port, self.monitor, "");
        self.order("reload");
        let has_reloaded = self.is_ready_in_time(|| reloads() > before);
        assert!(has_reloaded, "it does not reload: {}", self.log());
    }

    /// Creates and removes a stream with this many replicas. Returns true if that worked. The servers' view of their peers is not
    /// enough: whoever leads may yet take one for offline. For servers that ask for no credentials.
    pub(super) fn places_stream(&self, replicas: usize) -> bool {
        const NAME: &str = "NAHOOK_TESTSERVER_READY";
        let config = json!({
            "name": NAME,
            "subjects": ["nahook-testserver.ready"],
            "retention": "limits",
            "storage": "memory",
            "num_replicas": replicas,
        });
        let ask = |verb: &str, body: &str| {
            let answer = api::ask(self.port, &format!("$JS.API.STREAM.{verb}.{NAME}"), body);
            answer.is_some_and(|answer| answer.get("error").is_none())
        };
        ask("CREATE", &config.to_string()) && ask("DELETE", "")
    }

    pub(super) fn monitor(&self) -> u16 {
        self.monitor
    }

    fn order(&self, order: &str) -> String {
        let mut supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        supervisor.order(order)
    }

    /// Waits until it is ready, as long as it runs.
    pub(super) fn is_ready_in_time(&self, is_ready: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if is_ready() {
                return true;
            }
            if self.order("look") != "runs" {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub(super) fn is_beaten_to_a_port(&self) -> bool {
        self.log().contains("address already in use")
    }

    pub(super) fn failure(&self) -> String {
        format!("the NATS server does not start: {}", self.log())
    }
}

/// Ports that are free now, each another.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    let mut taken: Vec<TcpListener> = Vec::new();
    let width = u64::from(PORTS.end - PORTS.start);
    // Drawn afresh by every process and every call.
    let random = RandomState::new();
    for attempt in 0_u64..10_000 {
        if taken.len() == N {
            break;
        }
        let offset = u16::try_from(random.hash_one(attempt) % width).unwrap_or(0);
        taken.extend(TcpListener::bind(("127.0.0.1", PORTS.start + offset)));
    }
    let ports: Vec<u16> = taken
        .iter()
        .map(|listener| listener.local_addr().expect("it has an address").port())
        .collect();
    ports.try_into().expect("there are free ports")
}
