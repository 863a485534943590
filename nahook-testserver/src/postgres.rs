//! A Postgres server.

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
use crate::supervisor::Supervisor;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the server until its own standard input ends, which it does when the test's process ends, however that ends. Then
/// stops it, waits, and removes the folder.
const SUPERVISOR: &str = r#"
"$1" -D "$2" -p "$3" >"$2/log" 2>&1 </dev/null &
server=$!
while read -r order; do
    case $order in
        crash) kill -QUIT "$server"; wait "$server"; echo stopped ;;
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
    binaries: PathBuf,
    port: u16,
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

    /// A server of its own, for tests that stop it.
    pub fn start() -> Self {
        Self::start_with("", &[])
    }

    /// A server of its own with further lines in its settings, and these files, by name and content, beside them.
    pub fn start_with(settings: &str, files: &[(&str, &str)]) -> Self {
        let binaries = binaries();
        let account = Account::unprivileged(&["postgres", "nobody"]);
        let folder = tempfile::Builder::new()
            .prefix("nahook-postgres-")
            .tempdir()
            .expect("a temporary folder can be made");
        give(account, folder.path());
        let data = folder.path().join("data");
        init(&binaries, account, &data, settings);
        for (name, content) in files {
            let path = data.join(name);
            fs::write(&path, content).expect("the folder can be written to");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            give(account, &path);
        }
        // Somebody else may take the port in between; then another is tried.
        for _ in 0..10 {
            let port = free_port();
            if let Some(supervisor) = start(&binaries, account, &data, port) {
                return Self {
                    binaries,
                    port,
                    databases: AtomicU32::new(0),
                    supervisor: Mutex::new(supervisor),
                    _folder: folder,
                };
            }
        }
        let log = fs::read_to_string(data.join("log")).unwrap_or_default();
        panic!("the Postgres server does not start: {log}");
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
        let output = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements])
            .arg(self.url(database))
            .output()
            .expect("psql can be run");
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {problems}");
    }

    /// Ends the server at once, with whatever it was doing, as a crash does.
    pub fn crash(&self) {
        self.supervisor().order("crash");
    }

    /// Ends the server in an orderly way: what is underway is rolled back.
    pub fn stop(&self) {
        self.supervisor().order("stop");
    }

    /// Starts it again after [`crash`](Self::crash) or [`stop`](Self::stop).
    pub fn start_again(&self) {
        self.supervisor().order("start");
        assert!(
            is_ready_in_time(&self.binaries, self.port, || true),
            "the server starts again"
        );
    }

    fn supervisor(&self) -> std::sync::MutexGuard<'_, Supervisor> {
        self.supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a server; `None` if it ends at once, because its port is taken.
fn start(binaries: &Path, account: Option<Account>, data: &Path, port: u16) -> Option<Supervisor> {
    let mut command = Supervisor::script(SUPERVISOR);
    command
        .arg(binaries.join("postgres"))
        .arg(data)
        .arg(port.to_string());
    let supervisor = Supervisor::spawn(run_as(account, &mut command));
    // The server writes the file while it runs, and removes it when it gives up.
    let (lock, log) = (data.join("postmaster.pid"), data.join("log"));
    let started = Instant::now();
    let lives = || {
        let has_begun = lock.exists() || started.elapsed() < Duration::from_secs(2);
        let log = fs::read_to_string(&log).unwrap_or_default();
        has_begun && !log.contains("could not create any TCP/IP sockets")
    };
    is_ready_in_time(binaries, port, lives).then_some(supervisor)
}

/// Where the server's programs are: of the newest version that is installed.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .filter(|(_, binaries)| binaries.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, newest)) = found.pop() {
        return newest;
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .find(|path| path.join("initdb").exists())
        .expect("Postgres is not installed: install Debian's package `postgresql`")
}

fn init(binaries: &Path, account: Option<Account>, data: &Path, further_settings: &str) {
    let mut command = Command::new(binaries.join("initdb"));
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
    let output = run_as(account, &mut command)
        .output()
        .expect("initdb can be run");
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb failed: {problems}");
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

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

fn is_ready_in_time(binaries: &Path, port: u16, lives: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT && lives() {
        let ready = Command::new(binaries.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        if ready.is_ok_and(|status| status.success()) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
