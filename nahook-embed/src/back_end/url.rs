//! The URLs that name a store and a queue.

use std::path::{Path, PathBuf};

use nahook_control::SecretText;

/// Location of the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreUrl {
    /// Nowhere: it ends with the process.
    Memory,
    /// In a Postgres database, which any number of servers may share.
    Postgres(SecretText),
    /// In one file.
    Sqlite(PathBuf),
}

/// Location of the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QueueUrl {
    /// On the streams of these NATS servers, which any number of processes may share that share a store.
    Nats(SecretText),
    /// In the store.
    Store,
}

impl StoreUrl {
    /// Reads `sqlite://PATH`, `postgres://…` or `memory://`. The error says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {
                Ok(Self::Postgres(SecretText::new(url)))
            }
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(format!(
                "{} is not sqlite://PATH, postgres://… or memory://",
                without_password(url)
            )),
        }
    }

    /// The file that is the default in a data directory.
    pub fn default_in(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("nahook.db"))
    }
}

impl QueueUrl {
    /// Reads `store`, or `nats://…` and `tls://…`, several separated by commas. The error says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        let is_nats = |url: &str| {
            let server = url.trim().split_once("://");
            server
                .is_some_and(|(scheme, host)| matches!(scheme, "nats" | "tls") && !host.is_empty())
        };
        match url {
            "store" => Ok(Self::Store),
            _ if url.split(',').all(is_nats) => Ok(Self::Nats(SecretText::new(url))),
            _ => Err(format!(
                "{} is not a known queue; \"store\" is, and nats://…",
                without_password(url)
            )),
        }
    }
}

/// The URL up to its scheme, for messages: what follows may hold a password, and so may text that is no URL.
fn without_password(url: &str) -> String {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match url.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(is_of_scheme) => format!("\"{scheme}://…\""),
        _ if url.chars().all(is_of_scheme) => format!("{url:?}"),
        _ => "this".to_owned(),
    }
}
