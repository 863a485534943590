//! Compares `nahook-embed` with `webhooksmith` 0.2.1: fan-outs queued a second and webhooks delivered a second, on SQLite and on
//! Postgres, each by its defaults and at the default durability. The two take turns, each in a process and on a store of its own.
//!
//! ```sh
//! cargo run --release --locked --manifest-path benches/webhooksmith/ours/Cargo.toml
//! ```
//! It builds the other side first. An argument is the seconds of each measurement, 3 without one.

mod library;
#[path = "../../measure.rs"]
mod measure;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use nahook_testserver::PostgresServer;
use tempfile::TempDir;
use tokio::net::TcpListener;

use self::library::Ours;
use self::measure::{Failure, run};

const WIDTHS: [usize; 4] = [1, 10, 100, 1_000];

/// Turns of each point; the median of each library counts.
const TURNS: usize = 3;

/// Deliveries are counted for so long after the first.
const DELIVERING: Duration = Duration::from_secs(5);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.len() > 1 {
        return run::<Ours>(&arguments).await;
    }
    let seconds = arguments.first().map_or("3", String::as_str);
    let programs = [std::env::current_exe()?, build_theirs()?];
    println!(
        "fdatasync after an append: {:.0} a second",
        fdatasync_rate()?
    );
    let postgres = PostgresServer::start();
    let receiver = Receiver::start().await?;
    for store in ["SQLite", "Postgres"] {
        let point = Point {
            store,
            postgres: &postgres,
            receiver: &receiver,
        };
        println!("\n| {store} | nahook | webhooksmith | ratio |\n| --- | --- | --- | --- |");
        for (callers, of) in [("64", "64 callers"), ("1", "one caller")] {
            for width in WIDTHS {
                let mut rates = [const { Vec::new() }; 2];
                for _ in 0..TURNS {
                    for (rates, program) in rates.iter_mut().zip(&programs) {
                        rates.push(point.queued(program, width, callers, seconds)?);
                    }
                }
                print(&format!("fan-outs/s, {width} endpoints, {of}"), rates);
            }
        }
        let mut rates = [const { Vec::new() }; 2];
        for _ in 0..TURNS {
            // As much as each delivers in some seconds; what is left over is not counted.
            for ((rates, program), events) in rates.iter_mut().zip(&programs).zip([4_000, 1_000]) {
                rates.push(point.delivered(program, events).await?);
            }
        }
        print("webhooks delivered/s, 10 endpoints", rates);
    }
    Ok(())
}

/// Builds the other side beside this program, and answers for its place.
fn build_theirs() -> Result<PathBuf, Failure> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../theirs/Cargo.toml");
    let folder = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .ok_or("no folder")?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(folder.parent().ok_or("no target folder")?)
        .status()?;
    if !status.success() {
        return Err("the other side does not build".into());
    }
    Ok(folder.join("nahook-beside-theirs"))
}

/// Prints a row: the medians, with the lowest and the highest.
fn print(what: &str, rates: [Vec<f64>; 2]) {
    let [ours, theirs] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        let [lowest, median, highest] = [rates[0], rates[rates.len() / 2], rates[rates.len() - 1]];
        (median, format!("{median:.0} ({lowest:.0}–{highest:.0})"))
    });
    let ratio = ours.0 / theirs.0;
    println!("| {what} | {} | {} | {ratio:.1} |", ours.1, theirs.1);
}

/// Place of one measurement.
struct Point<'a> {
    store: &'a str,
    postgres: &'a PostgresServer,
    receiver: &'a Receiver,
}

impl Point<'_> {
    /// A fresh store, and the folder that it may be in.
    fn fresh(&self) -> Result<(String, TempDir), Failure> {
        let folder = TempDir::new()?;
        let url = match self.store {
            "SQLite" => format!("sqlite://{}", folder.path().join("hooks.db").display()),
            _ => self.postgres.create_database(),
        };
        Ok((url, folder))
    }

    fn queued(
        &self,
        program: &PathBuf,
        width: usize,
        callers: &str,
        seconds: &str,
    ) -> Result<f64, Failure> {
        let (url, _folder) = self.fresh()?;
        let width = width.to_string();
        let output = Command::new(program)
            .args(["queue", &url, &self.receiver.url, &width, callers, seconds])
            .stderr(Stdio::inherit())
            .output()?;
        let said = String::from_utf8(output.stdout)?;
        Ok(said.trim().parse()?)
    }

    async fn delivered(&self, program: &PathBuf, events: u64) -> Result<f64, Failure> {
        let (url, _folder) = self.fresh()?;
        let child = Command::new(program)
            .args([
                "deliver",
                &url,
                &self.receiver.url,
                "10",
                &events.to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut child = Killed(child);
        let said = child.0.stdout.take().ok_or("no output")?;
        let before = self.receiver.count();
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        while self.receiver.count() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (first, began) = (self.receiver.count(), Instant::now());
        let all = before + events * 10;
        while self.receiver.count() < all && began.elapsed() < DELIVERING {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((self.receiver.count() - first) as f64 / began.elapsed().as_secs_f64())
    }
}

/// A process that ends with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes every webhook at once and counts.
struct Receiver {
    url: String,
    arrived: Arc<AtomicU64>,
}

impl Receiver {
    async fn start() -> Result<Self, Failure> {
        let arrived = Arc::new(AtomicU64::new(0));
        let count = |State(arrived): State<Arc<AtomicU64>>| async move {
            arrived.fetch_add(1, Ordering::Relaxed);
            StatusCode::NO_CONTENT
        };
        let router = Router::new().fallback(count).with_state(arrived.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(Self { url, arrived })
    }

    fn count(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }
}

/// Measures how often a second a file can be appended to and synced.
fn fdatasync_rate() -> Result<f64, Failure> {
    let folder = TempDir::new()?;
    let mut file = File::create(folder.path().join("probe"))?;
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
