//! Settings of NATS servers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Settings of a server, or of each server of a cluster. By default: JetStream on a file store, no credentials, no TLS, and the
/// default sync interval, which does not wait for the disk.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    jetstream: String,
    settings: String,
    store: Option<PathBuf>,
    files: Vec<(String, String)>,
}

impl NatsOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Syncs every write before it is acknowledged.
    #[must_use]
    pub fn sync_always(self) -> Self {
        self.jetstream("sync_interval: always")
    }

    /// The folder of the streams, such as one on a small disk. By default it is beside the settings.
    #[must_use]
    pub fn store(mut self, folder: &Path) -> Self {
        self.store = Some(folder.to_owned());
        self
    }

    /// A further line inside the `jetstream` block, such as `max_file_store: 10M`.
    #[must_use]
    pub fn jetstream(mut self, line: &str) -> Self {
        let _ = writeln!(self.jetstream, "  {line}");
        self
    }

    /// The largest message in bytes, headers included.
    #[must_use]
    pub fn max_payload(self, bytes: u32) -> Self {
        self.settings(&format!("max_payload: {bytes}"))
    }

    /// Asks clients for this name and this password.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Self {
        self.settings(&format!(
            r#"authorization {{ user: "{name}", password: "{password}" }}"#
        ))
    }

    /// Asks clients for this token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.settings(&format!(r#"authorization {{ token: "{token}" }}"#))
    }

    /// Asks clients to sign with the seed of this public key (`U…`).
    #[must_use]
    pub fn nkey(self, public_key: &str) -> Self {
        self.settings(&format!(
            r#"authorization {{ users: [ {{ nkey: "{public_key}" }} ] }}"#
        ))
    }

    /// Serves TLS, and nothing else, with this certificate chain and key in PEM.
    #[must_use]
    pub fn tls(self, certificate: &str, key: &str) -> Self {
        self.file("server.pem", certificate)
            .file("server.key", key)
            .settings(
                r#"tls { cert_file: "{folder}/server.pem", key_file: "{folder}/server.key" }"#,
            )
    }

    /// The same, and asks clients for a certificate that this authority, in PEM, has signed.
    #[must_use]
    pub fn mutual_tls(self, certificate: &str, key: &str, authority: &str) -> Self {
        self.file("server.pem", certificate)
            .file("server.key", key)
            .file("clients.pem", authority)
            .settings(
                r#"tls { cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", ca_file: "{folder}/clients.pem", verify: true }"#,
            )
    }

    /// Further settings as the server reads them; `{folder}` stands for where the [files](Self::file) are.
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self.settings.push('\n');
        self
    }

    /// A file beside the settings.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Writes the settings and the files into the folder.
    pub(super) fn write(&self, folder: &Path, name: &str, port: u16, monitor: u16, routes: &str) {
        for (name, content) in &self.files {
            fs::write(folder.join(name), content).expect("the folder can be written to");
        }
        let here = folder.display();
        let Self {
            jetstream,
            settings,
            store,
            ..
        } = self;
        let store = store.clone().unwrap_or_else(|| folder.join("store"));
        let store = store.display();
        let settings = settings.replace("{folder}", &here.to_string());
        let written = format!(
            r#"
server_name: "{name}"
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
jetstream {{
  store_dir: "{store}"
{jetstream}}}
{routes}
{settings}"#
        );
        fs::write(folder.join("nats.conf"), written).expect("the folder can be written to");
    }
}
