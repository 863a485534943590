//! A Postgres server.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::account::{Account, give, run_as};
use crate::programs::Programs;
use crate::supervisor::Supervisor;

/// Upper bound on a start. After a kill it syncs every file of the folder, for as long as the disk is busy.
const START_TIMEOUT: Duration = Duration::from_mins(10);

/// Runs the server until its own standard input ends, which it does when the test's process ends, however that ends. Then
/// stops it, waits, and removes the folder.
const SUPERVISOR: &str = r#"
state() { cut -d " " -f 3 "/proc/$1/stat" 2>/dev/null; }
# A process that ends gives up its memory before its sockets, and both before it is a zombie.
ended() { case $(state "$1") in "" | Z) ;; *) false ;; esac; }
while read -r order port; do
    case $order in
        crash) kill -QUIT "$server"; wait "$server"; echo stopped ;;
        kill)
            # Stopped first, so that it has no more children than it is seen to have.
            kill -STOP "$server"
            until [ "$(state "$server")" = T ] || ended "$server"; do sleep 0.01; done
            children=$(cat "/proc/$server/task/$server/children")
            kill -KILL "$server" $children
            wait "$server"
            for child in $children; do until ended "$child"; do sleep 0.01; done; done
            echo stopped ;;
        stop) kill -INT "$server"; wait "$server"; echo stopped ;;
        start) "$1" -D "$2" -p "$port" >>"$2/log" 2>&1 </dev/null & server=$!; echo started ;;
        ask)
            # Its file names the process, and says in the last line how far that is.
            lock=$(sed -n "1p;8p" "$2/postmaster.pid" 2>/dev/null | tr -d "\n ")
            if ended "$server"; then echo ended
            elif [ "$lock" = "${server}ready" ] || [ "$lock" = "${server}standby" ]; then echo ready
            else echo starting; fi ;;
    esac
done
# What is removed needs no last checkpoint.
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$2"
rmdir "${2%/*}"
"#;

/// Empties a database, unless more of it was changed than its schema `nahook`, or it is in use: then it fails.
const EMPTY: &str = "
SET client_min_messages = warning;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_database())
        OR EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql')
        OR EXISTS (SELECT FROM pg_namespace WHERE nspname NOT IN ('nahook', 'public', 'information_schema') AND nspname NOT LIKE 'pg\\_%')
        OR EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
        OR EXISTS (
            SELECT FROM pg_database d WHERE d.datname = current_database() AND (
                d.datconnlimit <> -1 OR d.datacl IS NOT NULL OR d.datdba <> 10
                OR EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid)
            )
        )
    THEN
        RAISE EXCEPTION 'it is not as it was made';
    END IF;
    IF EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ) THEN
        RAISE EXCEPTION 'it is in use still';
    END IF;
    DROP SCHEMA IF EXISTS nahook CASCADE;
END
$$";

thread_local! {
    static IN_USE: RefCell<Vec<InUse>> = const { RefCell::new(Vec::new()) };
}

/// A database of the test that runs on this thread.
struct InUse {
    name: String,
    used: Arc<Used>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.used.put(std::mem::take(&mut self.name));
    }
}

/// Databases of tests that have ended, the oldest first.
#[derive(Debug, Default)]
struct Used(Mutex<VecDeque<String>>);

impl Used {
    fn put(&self, name: String) {
        let used = self.0.lock();
        let mut used = used.unwrap_or_else(PoisonError::into_inner);
        used.push_back(name);
    }

    fn take(&self) -> Option<String> {
        let used = self.0.lock();
        let mut used = used.unwrap_or_else(PoisonError::into_inner);
        used.pop_front()
    }
}

/// A Postgres server with a folder, a port and a supervisor of its own. What it acknowledges is on disk.
///
/// It stops when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct PostgresServer {
    programs: Programs,
    port: u16,
    data: PathBuf,
    databases: AtomicU32,
    used: Arc<Used>,
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
        let mut command = Supervisor::script(SUPERVISOR);
        command.arg(programs.of_server("postgres")).arg(&data);
        let mut supervisor = Supervisor::spawn(run_as(account, &mut command));
        // Somebody else may take the port in between; then another is tried.
        let begun = Instant::now();
        for _ in 0..10 {
            let port = free_port();
            if starts(&mut supervisor, port, begun) {
                return Self {
                    programs,
                    port,
                    data,
                    databases: AtomicU32::new(0),
                    used: Arc::default(),
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

    /// Answers the URL of an empty database, for as long as the calling thread lasts.
    ///
    /// One of a test that has ended is emptied, where that can be: hundreds of new ones would fill a small disk.
    pub fn create_database(&self) -> String {
        let name = self.emptied().unwrap_or_else(|| {
            let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
            self.execute("postgres", &format!("CREATE DATABASE {name}"));
            name
        });
        let url = self.url(&name);
        let used = Arc::clone(&self.used);
        IN_USE.with_borrow_mut(|all| all.push(InUse { name, used }));
        url
    }

    /// A used database that is empty again, if there is one.
    fn emptied(&self) -> Option<String> {
        while let Some(name) = self.used.take() {
            match self.try_query(&self.url(&name), EMPTY) {
                Ok(_) => return Some(name),
                // Sessions of a pooler stay for a while.
                Err(problems) if problems.contains("it is in use still") => {
                    self.used.put(name);
                    return None;
                }
                // Never again.
                Err(_) => {}
            }
        }
        None
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
        let answer = self.try_query(url, query);
        answer.unwrap_or_else(|problems| panic!("{query}: {problems}"))
    }

    /// Runs a query that may fail.
    ///
    /// # Errors
    /// The text of what went wrong.
    pub fn try_query(&self, url: &str, query: &str) -> Result<String, String> {
        let output = Command::new(self.programs.of_client("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-c", query, url])
            .output()
            .expect("psql can be run");
        let text = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
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
        let begun = Instant::now();
        while !starts(&mut self.supervisor(), self.port, begun) {
            // While it was down, another program's connection may have got its port for a while.
            let is_late = begun.elapsed() >= START_TIMEOUT;
            assert!(!is_late, "the server does not start again: {}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
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

/// Starts the server, and waits until it accepts connections. Returns false if it has ended, as it does when its port is taken,
/// or is not ready within the time limit from `begun`.
fn starts(supervisor: &mut Supervisor, port: u16, begun: Instant) -> bool {
    supervisor.order(&format!("start {port}"));
    loop {
        match supervisor.order("ask").as_str() {
            "ready" => return true,
            "starting" if begun.elapsed() < START_TIMEOUT => {
                thread::sleep(Duration::from_millis(20));
            }
            _ => return false,
        }
    }
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
max_wal_size = 1GB
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
