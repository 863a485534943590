//! A Postgres server.

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::account::{Account, give, run_as};
use crate::programs::Programs;
use crate::supervisor::Supervisor;

/// Time limit for the start of a server.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// Line of the log of a server that ends because its port is taken.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";

/// Runs the server until its own standard input ends, which it does when the test's process ends, however that ends. Then
/// stops it, waits, and removes the folder.
const SUPERVISOR: &str = r#"
"$1" -D "$2" -p "$3" >"$2/log" 2>&1 </dev/null &
server=$!
while read -r order; do
    case $order in
        crash) kill -QUIT "$server"; wait "$server"; echo stopped ;;
        kill)
            # Stopped first, so that it has no more children than it is seen to have.
            kill -STOP "$server"
            children=$(cat "/proc/$server/task/$server/children")
            kill -KILL "$server" $children
            wait "$server"
            for child in $children; do while [ -e "/proc/$child/exe" ]; do sleep 0.01; done; done
            echo stopped ;;
        stop) kill -INT "$server"; wait "$server"; echo stopped ;;
        start) "$1" -D "$2" -p "$3" >>"$2/log" 2>&1 </dev/null & server=$! ; echo started ;;
    esac
done
# What is removed needs no last checkpoint.
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$2"
rmdir "${2%/*}"
"#;

/// A Postgres server with a folder, a port and a supervisor of its own. What it acknowledges is on disk.
///
/// It stops when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct PostgresServer {
    programs: Programs,
    port: u16,
    data: PathBuf,
    databases: AtomicU32,
    supervisor: Mutex<Supervisor>,
    // Removed by the supervisor, to whom everything in it belongs, or by us if that is too early for it.
    _folder: TempDir,
}

impl PostgresServer {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of version 13, the oldest that is supported, that all tests of this process share.
    pub fn shared_oldest() -> &'static Self {
        static OLDEST: OnceLock<PostgresServer> = OnceLock::new();
        OLDEST.get_or_init(|| {
            Self::start_on(Programs::oldest(), |programs, account, data| {
                init(programs, account, data, "");
            })
        })
    }

    /// A server of its own, for tests that stop it.
    pub fn start() -> Self {
        Self::start_with("", &[])
    }

    /// A server of its own with further lines in its settings, and these files, by name and content, beside them.
    pub fn start_with(settings: &str, files: &[(&str, &str)]) -> Self {
        Self::start_on(Programs::find(), |programs, account, data| {
            init(programs, account, data, settings);
            for (name, content) in files {
                let path = data.join(name);
                fs::write(&path, content).expect("the folder can be written to");
                fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
                give(account, &path);
            }
        })
    }

    /// A hot standby: it follows this server, answers queries and writes nothing, until it is promoted by
    /// `SELECT pg_promote()`.
    #[must_use]
    pub fn start_standby(&self) -> Self {
        let primary = self.url("postgres");
        Self::start_on(self.programs.clone(), |programs, account, data| {
            let mut command = Command::new(programs.of_client("pg_basebackup"));
            command
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
                .arg("--dbname")
                .arg(&primary)
                .arg("--pgdata")
                .arg(data)
                .current_dir("/");
            run(account, &mut command);
        })
    }

    /// A server on a new folder that `fill` has filled.
    fn start_on(programs: Programs, fill: impl FnOnce(&Programs, Option<Account>, &Path)) -> Self {
        let account = Account::unprivileged(&["postgres", "nobody"]);
        let folder = tempfile::Builder::new()
            .prefix("nahook-postgres-")
            .tempdir()
            .expect("a temporary folder can be made");
        give(account, folder.path());
        let data = folder.path().join("data");
        fill(&programs, account, &data);
        // Somebody else may take the port in between; then another is tried.
        for _ in 0..10 {
            let port = free_port();
            if let Some(supervisor) = start(&programs, account, &data, port) {
                return Self {
                    programs,
                    port,
                    data,
                    databases: AtomicU32::new(0),
                    supervisor: Mutex::new(supervisor),
                    _folder: folder,
                };
            }
        }
        let log = fs::read_to_string(data.join("log")).unwrap_or_default();
        panic!("the Postgres server does not start: {log}");
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes a new, empty database and answers its URL.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of the database with this name.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// Runs statements in a database, each in a transaction of its own.
    pub fn execute(&self, database: &str, statements: &str) {
        self.query(&self.url(database), statements);
    }

    /// Runs a query in the database at `url`, and answers its rows as lines and their columns with `|` between them.
    pub fn query(&self, url: &str, query: &str) -> String {
        let output = Command::new(self.programs.of_client("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-c", query, url])
            .output()
            .expect("psql can be run");
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{query}: {problems}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Ends the server at once, with whatever it was doing, as a crash does.
    pub fn crash(&self) {
        self.supervisor().order("crash");
    }

    /// Ends all of the server's processes by SIGKILL, as running out of memory or a power cut does: none
    /// of them gets to say or to write anything more.
    pub fn kill(&self) {
        self.supervisor().order("kill");
    }

    /// Ends the server in an orderly way: what is underway is rolled back.
    pub fn stop(&self) {
        self.supervisor().order("stop");
    }

    /// Starts it again, on the same port and folder, after [`crash`](Self::crash), [`kill`](Self::kill) or
    /// [`stop`](Self::stop).
    pub fn start_again(&self) {
        // While it was down, another program's connection may have got its port for a while.
        let refusals = || self.log().matches(PORT_TAKEN).count();
        let seen = Cell::new(refusals());
        self.supervisor().order("start");
        let retry = || {
            if refusals() > seen.get() {
                seen.set(refusals());
                self.supervisor().order("start");
            }
            true
        };
        assert!(
            is_ready_in_time(&self.programs, self.port, retry),
            "the server starts again: {}",
            self.log()
        );
    }

    /// Everything that the server has logged so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.data.join("log")).expect("the log can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    fn supervisor(&self) -> std::sync::MutexGuard<'_, Supervisor> {
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a server; `None` if it ends at once, because its port is taken.
fn start(
    programs: &Programs,
    account: Option<Account>,
    data: &Path,
    port: u16,
) -> Option<Supervisor> {
    let mut command = Supervisor::script(SUPERVISOR);
    command
        .arg(programs.of_server("postgres"))
        .arg(data)
        .arg(port.to_string());
    let supervisor = Supervisor::spawn(run_as(account, &mut command));
    // The server writes the file while it runs, and removes it when it gives up.
    let (lock, log) = (data.join("postmaster.pid"), data.join("log"));
    let started = Instant::now();
    let lives = || {
        let has_begun = lock.exists() || started.elapsed() < Duration::from_secs(2);
        let log = fs::read_to_string(&log).unwrap_or_default();
        has_begun && !log.contains(PORT_TAKEN)
    };
    is_ready_in_time(programs, port, lives).then_some(supervisor)
}

fn init(programs: &Programs, account: Option<Account>, data: &Path, further_settings: &str) {
    let mut command = Command::new(programs.of_server("initdb"));
    command
        .args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg("-D")
        .arg(data)
        .current_dir("/");
    run(account, &mut command);
    let settings = format!(
        "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
max_connections = 300
shared_buffers = 256MB
max_wal_size = 4GB
{further_settings}
"
    );
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(data.join("postgresql.conf"))
        .expect("initdb has made the settings");
    std::io::Write::write_all(&mut file, settings.as_bytes()).expect("they can be added to");
}

/// Runs a program to its end, which has to be a good one.
fn run(account: Option<Account>, command: &mut Command) {
    let output = run_as(account, command)
        .output()
        .expect("the program can be run");
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {problems}");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

fn is_ready_in_time(programs: &Programs, port: u16, lives: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT && lives() {
        let ready = Command::new(programs.of_client("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        if ready.is_ok_and(|status| status.success()) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
