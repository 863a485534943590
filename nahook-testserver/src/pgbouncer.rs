//! A PgBouncer in front of a Postgres server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::PostgresServer;
use crate::account::{Account, give, run_as};
use crate::supervisor::Supervisor;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Time limit for its start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the pooler until its own standard input ends, as the test's process does.
const SUPERVISOR: &str = r#"
"$1" -q "$2/pgbouncer.ini" >"$2/log" 2>&1 </dev/null &
pooler=$!
while read -r order; do :; done
kill -INT "$pooler" 2>/dev/null
wait "$pooler"
rm -rf "$2"
rmdir "${2%/*}"
"#;

/// PgBouncer in transaction mode: a session is a client's for one transaction, and then anybody's.
///
/// It stops when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _supervisor: Supervisor,
    // Removed by the supervisor, to whom everything in it belongs, or by us if that is too early for it.
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one in front of the server, with so many sessions for each database and user, and these further settings.
    pub fn start(server: &PostgresServer, sessions: usize, further: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is not there: run scripts/install-test-tools"
        );
        let account = Account::unprivileged(&["postgres", "nobody"]);
        let folder = tempfile::Builder::new()
            .prefix("nahook-pgbouncer-")
            .tempdir()
            .expect("a temporary folder can be made");
        give(account, folder.path());
        let files = folder.path().join("files");
        // Somebody else may take the port in between; then another is tried.
        for _ in 0..10 {
            let port = free_port();
            fs::create_dir_all(&files).expect("the folder can be written to");
            let settings = settings(&files, port, server.port(), sessions, further);
            for (name, content) in [("pgbouncer.ini", settings.as_str()), ("users", USERS)] {
                let path = files.join(name);
                fs::write(&path, content).expect("the folder can be written to");
                give(account, &path);
            }
            give(account, &files);
            let mut command = Supervisor::script(SUPERVISOR);
            command.arg(PROGRAM).arg(&files);
            let supervisor = Supervisor::spawn(run_as(account, &mut command));
            if is_ready_in_time(port, &files.join("log")) {
                return Self {
                    port,
                    _supervisor: supervisor,
                    _folder: folder,
                };
            }
        }
        let log = fs::read_to_string(files.join("log")).unwrap_or_default();
        panic!("PgBouncer does not start: {log}");
    }

    /// The URL, through the pooler, of a database that has this one at the server.
    pub fn url(&self, direct: &str) -> String {
        let (start, rest) = direct.split_once("127.0.0.1:").expect("a URL of ours");
        let (_, path) = rest.split_once('/').expect("a URL of ours");
        format!("{start}127.0.0.1:{}/{path}", self.port)
    }
}

const USERS: &str = "\"postgres\" \"\"\n";

/// Idle sessions are closed soon: tests have a database each, and the server a bound.
fn settings(files: &Path, port: u16, server: u16, sessions: usize, further: &str) -> String {
    let users = files.join("users");
    format!(
        "[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {}
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 1000
server_idle_timeout = 1
{further}
",
        users.display()
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

fn is_ready_in_time(port: u16, log: &Path) -> bool {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        let log = fs::read_to_string(log).unwrap_or_default();
        if log.contains("FATAL") || log.contains("cannot") {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
