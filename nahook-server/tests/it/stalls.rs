//! Parts of the system that take a call and do not answer it: nobody waits for them who does not have to.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::api::Answer;
use crate::support::manifest::{EVENT_TYPE, endpoint, shop};
use crate::support::process::Nahook;
use crate::support::receiver::Receiver;
use crate::support::server::Server;
use crate::support::{SOON, until};

/// Longer than any test.
const STALL: &str = "delay_enter=3600s";

/// System calls that a process begins and that do not return: each holds its thread and no other.
struct Stall(Child);

impl Stall {
    /// Stalls the process's next calls of these names that are about one of the files.
    fn begin(process: &Nahook, calls: &str, files: &[PathBuf]) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &process.id().to_string()]);
        command.args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{STALL}")]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let spawned = command.stderr(Stdio::piped()).spawn();
        let mut tracer = spawned.expect("strace: run scripts/install-test-tools");
        let said = BufReader::new(tracer.stderr.take().unwrap()).lines();
        let mut said = said.map(Result::unwrap);
        let is_attached = said.any(|line| line.contains(" attached"));
        assert!(is_attached, "strace may not attach");
        // It has more to say than a pipe holds.
        std::thread::spawn(move || said.count());
        Self(tracer)
    }
}

/// Lets the calls go on.
impl Drop for Stall {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns true if a thread with this name is there.
fn has_thread(process: &Nahook, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let name_of = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm"));
    let mut names = threads.flatten().filter_map(|thread| name_of(thread).ok());
    names.any(|found| found.trim_end() == name)
}

/// Ends the server by SIGTERM, which has to be enough.
async fn ends(server: &mut Server, stall: Stall) {
    server.process.terminate();
    is_gone(server).await;
    drop(stall);
    assert!(server.process.exit(SOON).await.success());
}

/// Waits until the process has ended, but for a thread that is stalled.
async fn is_gone(server: &Server) {
    // The tracer keeps the thread that it has stalled from ending with the others.
    let stat = format!("/proc/{}/stat", server.process.id());
    let has_ended = || fs::read_to_string(&stat).unwrap().contains(") Z ");
    until(SOON, "it ends", || has_ended().then_some(())).await;
}

/// A server with an endpoint whose address is known, and one whose name has to be looked up.
async fn with_a_name(receiver: &Receiver) -> Server {
    let named = format!("http://localhost:{}/named", receiver.address.port());
    let endpoints = vec![
        endpoint("ep_1", &receiver.url("/1")),
        endpoint("ep_2", &named),
    ];
    Server::with(&shop(endpoints)).await
}

/// Stalls the server's look-ups of names.
fn stall_resolver(server: &Server) -> Stall {
    Stall::begin(&server.process, "openat", &[PathBuf::from("/etc/hosts")])
}

async fn looks_up(server: &Server) {
    let looks_up = || has_thread(&server.process, "nahook-resolver").then_some(());
    until(SOON, "the look-up has begun", looks_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_resolver_holds_up_its_own_deliveries_alone() {
    const EVENTS: usize = 20;
    let receiver = Receiver::start().await;
    let server = with_a_name(&receiver).await;
    let api = server.api();
    let stall = stall_resolver(&server);
    for number in 1..=EVENTS {
        let answer = api.trigger(EVENT_TYPE, "{}").await;
        assert_eq!(answer.delivery_ids().len(), 2);
        looks_up(&server).await;
        let arrived = || (receiver.arrivals_at("/1").len() >= number).then_some(());
        until(SOON, "the other endpoint is served", arrived).await;
    }
    for path in ["/readyz", "/healthz"] {
        assert_eq!(api.get(path).await.status, 200);
    }
    assert!(receiver.arrivals_at("/named").is_empty());

    drop(stall);
    let arrived = || (receiver.arrivals_at("/named").len() == EVENTS).then_some(());
    until(SOON, "what was held up arrives", arrived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_stops_while_a_resolver_stalls() {
    let receiver = Receiver::start().await;
    let mut server = with_a_name(&receiver).await;
    let stall = stall_resolver(&server);
    let answer = server.api().trigger(EVENT_TYPE, "{}").await;
    assert_eq!(answer.delivery_ids().len(), 2);
    looks_up(&server).await;
    ends(&mut server, stall).await;
}

/// Calls that write to the store's file, and all that go to it.
const DISK_CALLS: [&str; 2] = [
    "fsync,fdatasync,pwrite64",
    "fsync,fdatasync,pwrite64,pread64,openat,statfs,ftruncate,fstat",
];

/// Returns true if the answer promises nothing: the event may be queued, or is not.
fn promises_nothing(answer: &Answer) -> bool {
    match answer.status {
        202 => answer.delivery_ids().is_empty(),
        503 | 504 => true,
        _ => false,
    }
}

async fn stalled_disk(calls: &str) {
    let receiver = Receiver::start().await;
    let mut server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let api = server.api();
    let mut promised = api.trigger(EVENT_TYPE, "{}").await.delivery_ids();
    receiver.wait_for(1).await;
    let files = files(&server.dir().join("nahook-data"));
    let stall = Stall::begin(&server.process, calls, &files);
    let answer = api.trigger(EVENT_TYPE, "{}").await;
    assert!(promises_nothing(&answer), "{calls}: {answer:?}");
    let answer = api.get("/readyz").await;
    assert_eq!(answer.status, 503, "{calls}: {answer:?}");
    assert_eq!(api.get("/healthz").await.status, 200, "{calls}");
    if calls == DISK_CALLS[0] {
        // Nothing of these is written.
        let nobody = api.trigger("nobody.listens", "{}").await;
        assert!(nobody.delivery_ids().is_empty());
        let unknown = api.trigger("order.unheard-of", "{}").await;
        unknown.assert_error(404, "not_found");
        let stranger = server.api_with("nhk_us_nobody");
        let refused = stranger.trigger(EVENT_TYPE, "{}").await;
        refused.assert_error(401, "unauthorized");
    }

    drop(stall);
    loop {
        let answer = api.trigger(EVENT_TYPE, "{}").await;
        if answer.status == 202 && !answer.delivery_ids().is_empty() {
            promised.extend(answer.delivery_ids());
            break;
        }
        assert!(promises_nothing(&answer), "{calls}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let arrived = || {
        let arrivals = receiver.arrivals();
        let has = |id: &String| {
            let mut of = arrivals.iter().map(|it| it.header("nahook-delivery-id"));
            of.any(|arrived| arrived == id)
        };
        promised.iter().all(has).then_some(())
    };
    until(SOON, "what was promised arrives", arrived).await;
    let mut status = 0;
    while status != 200 {
        status = api.get("/readyz").await.status;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let stall = Stall::begin(&server.process, calls, &files);
    let answer = api.trigger(EVENT_TYPE, "{}").await;
    assert!(promises_nothing(&answer), "{calls}: {answer:?}");
    ends(&mut server, stall).await;
}

/// Returns the folder and the store's files in it.
fn files(data: &Path) -> Vec<PathBuf> {
    let names = ["", "nahook.db", "nahook.db-wal", "nahook.db-shm"];
    names.map(|name| data.join(name)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_disk_fails_what_needs_it_until_it_goes_on() {
    for calls in DISK_CALLS {
        stalled_disk(calls).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_signal_ends_a_stop_that_a_disk_holds_up() {
    let receiver = Receiver::start().await;
    let mut server = Server::with(&shop(vec![endpoint("ep_1", &receiver.url("/1"))])).await;
    let files = files(&server.dir().join("nahook-data"));
    let stall = Stall::begin(&server.process, DISK_CALLS[0], &files);
    let answer = server.api().trigger(EVENT_TYPE, "{}").await;
    assert!(promises_nothing(&answer), "{answer:?}");
    server.process.terminate();
    let stopping = || server.process.stderr.find("\"stopping\"");
    until(SOON, "it begins to stop", stopping).await;
    server.process.terminate();
    is_gone(&server).await;
    drop(stall);
    server.process.exit(SOON).await;
}
