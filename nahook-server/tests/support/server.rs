//! A running `nahook serve`, on a data directory of its own or on a database that it shares.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::api::Api;
use super::manifest::{EVENT_TYPE, KEY};
use super::process::{Ended, Lines, Nahook};
use super::{SOON, until};

/// A server that may be stopped, killed and started again on the same data.
pub(crate) struct Server {
    pub(crate) process: Nahook,
    pub(crate) address: SocketAddr,
    pub(crate) arguments: Vec<String>,
    store: Vec<String>,
    dir: TempDir,
}

/// Arguments that let receivers on this machine be reached.
pub(crate) const ALLOW_LOOPBACK: [&str; 2] = ["--allow-endpoint-range", "127.0.0.0/8"];

impl Server {
    /// A server whose store holds what `manifest` declares, and that may reach this machine.
    pub(crate) async fn with(manifest: &Value) -> Self {
        Self::with_settings(manifest, &ALLOW_LOOPBACK).await
    }

    /// A server whose store holds what `manifest` declares, with these settings.
    pub(crate) async fn with_settings(manifest: &Value, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let applied = apply(dir.path(), manifest).await;
        assert!(applied.success, "{}", applied.stderr);
        let arguments = [&["--sample", "false"], settings].concat();
        Self::start(dir, &arguments).await
    }

    /// A server on `dir`, with these settings beside the address.
    pub(crate) async fn start(dir: TempDir, settings: &[&str]) -> Self {
        Self::start_on(dir, &[], settings).await
    }

    /// Servers that share the database at `url`, which is made to hold what `manifest` declares, and that may reach this
    /// machine.
    pub(crate) async fn sharing<const N: usize>(url: &str, manifest: &Value) -> [Self; N] {
        Self::sharing_with(url, manifest, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn sharing_with<const N: usize>(
        url: &str,
        manifest: &Value,
        settings: &[&str],
    ) -> [Self; N] {
        let dir = tempfile::tempdir().unwrap();
        let applied = apply_to(dir.path(), &["--store", url], manifest).await;
        assert!(applied.success, "{}", applied.stderr);
        let mut servers = Vec::new();
        for _ in 0..N {
            let settings = [&["--sample", "false"], &ALLOW_LOOPBACK[..], settings].concat();
            servers.push(Self::join(url, &settings).await);
        }
        servers.try_into().ok().unwrap()
    }

    /// A server that joins those on the database at `url`.
    pub(crate) async fn join(url: &str, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_on(dir, &["--store", url], settings).await
    }

    async fn start_on(dir: TempDir, store: &[&str], settings: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let store: Vec<String> = owned(store);
        let arguments: Vec<String> = owned(&[store_arguments(&store), settings.to_vec()].concat());
        let (process, address) = listening(dir.path(), &arguments).await;
        Self {
            process,
            address,
            arguments,
            store,
            dir,
        }
    }

    /// Returns the folder of its data and the test's files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Address for health, readiness and metrics.
    pub(crate) async fn operations(&self) -> SocketAddr {
        operations_address(&self.process.stderr).await
    }

    /// The metrics.
    pub(crate) async fn metrics(&self) -> String {
        let answer = Api::new(self.operations().await, "").get("/metrics").await;
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// Triggers an event of the usual type, which has to be accepted, and returns its deliveries.
    pub(crate) async fn trigger(&self, payload: &str) -> Vec<String> {
        let answer = self.api().trigger(EVENT_TYPE, payload).await;
        answer.delivery_ids()
    }

    /// Applies `manifest` while the server runs.
    pub(crate) async fn apply(&self, manifest: &Value) -> Ended {
        apply_to(self.dir.path(), &store_arguments(&self.store), manifest).await
    }

    /// Runs one of the tools on the server's store while the server runs.
    pub(crate) async fn tool(&self, name: &str, arguments: &[&str]) -> Ended {
        let arguments = [&[name], &store_arguments(&self.store)[..], arguments].concat();
        Nahook::run(self.dir.path(), &arguments).await
    }

    /// A client with the manifest's usual key.
    pub(crate) fn api(&self) -> Api {
        self.api_with(KEY)
    }

    /// A client with another key.
    pub(crate) fn api_with(&self, key: &str) -> Api {
        Api::new(self.address, key)
    }

    /// Starts it again on the same data, after it was killed or has ended. The port is a new one, since the old one may be
    /// somebody else's by now.
    pub(crate) async fn start_again(&mut self) {
        (self.process, self.address) = listening(self.dir.path(), &self.arguments).await;
    }

    /// Starts it again on the same data, with so many files that it may have open.
    pub(crate) async fn start_again_with_files(&mut self, files: u32) {
        let arguments = serving(&self.arguments);
        self.process = Nahook::start_with_files(self.dir.path(), &arguments, files);
        self.address = announced_address(&mut self.process).await;
    }

    /// Starts it again on the same data without waiting until it listens.
    pub(crate) fn launch_again(&mut self) {
        self.process = launch(self.dir.path(), &self.arguments);
    }
}

/// Applies `manifest` to the data in `dir`.
pub(crate) async fn apply(dir: &Path, manifest: &Value) -> Ended {
    apply_to(dir, &[], manifest).await
}

/// Applies `manifest` to the store that these arguments name.
pub(crate) async fn apply_to(dir: &Path, store: &[&str], manifest: &Value) -> Ended {
    let path = dir.join("manifest.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    Nahook::run(dir, &[&["apply", &path], store].concat()).await
}

fn store_arguments(store: &[String]) -> Vec<&str> {
    store.iter().map(String::as_str).collect()
}

fn launch(dir: &Path, settings: &[String]) -> Nahook {
    Nahook::start(dir, &serving(settings))
}

fn serving(settings: &[String]) -> Vec<&str> {
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
    if !settings
        .iter()
        .any(|setting| setting == "--operations-listen")
    {
        arguments.extend(["--operations-listen", "127.0.0.1:0"]);
    }
    arguments.extend(settings.iter().map(String::as_str));
    arguments
}

async fn listening(dir: &Path, settings: &[String]) -> (Nahook, SocketAddr) {
    let mut process = launch(dir, settings);
    let address = announced_address(&mut process).await;
    (process, address)
}

/// Returns the address for health, readiness and metrics that a server logs.
pub(crate) async fn operations_address(log: &Lines) -> SocketAddr {
    until(SOON, "the address for metrics", || {
        let line = log.find("health, readiness and metrics are served")?;
        let (_, after) = line.split_once("127.0.0.1:")?;
        let port: String = after.chars().take_while(char::is_ascii_digit).collect();
        format!("127.0.0.1:{port}").parse().ok()
    })
    .await
}

/// Returns the address that a program says it listens on.
pub(crate) async fn announced_address(process: &mut Nahook) -> SocketAddr {
    let line = process.line("listening on http://").await;
    line.rsplit("http://")
        .next()
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}
