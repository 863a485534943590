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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_by_urls() {
        let postgres = |url: &str| StoreUrl::Postgres(SecretText::new(url));
        for (url, store) in [
            ("memory://", StoreUrl::Memory),
            ("postgres://u:p@h/d", postgres("postgres://u:p@h/d")),
            ("postgresql://h", postgres("postgresql://h")),
            ("sqlite://a/b.db", StoreUrl::Sqlite("a/b.db".into())),
            ("sqlite:///b.db", StoreUrl::Sqlite("/b.db".into())),
        ] {
            assert_eq!(StoreUrl::parse(url), Ok(store));
        }
        for url in [
            "",
            "memory",
            "memory://x",
            "postgres://",
            "sqlite://",
            "mysql://h",
        ] {
            assert!(StoreUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn queues_are_the_stores_or_named_by_urls() {
        assert_eq!(QueueUrl::parse("store"), Ok(QueueUrl::Store));
        for url in ["nats://a", "tls://u:p@a:4222", "nats://a, tls://b"] {
            assert_eq!(
                QueueUrl::parse(url),
                Ok(QueueUrl::Nats(SecretText::new(url)))
            );
        }
        for url in ["", "nats://", "nats://a,", "nats://a,http://b", "http://a"] {
            assert!(QueueUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn refusals_repeat_the_scheme_and_no_password() {
        for (url, shown) in [
            ("mysql://u:hunter2@h", "\"mysql://…\" is not "),
            ("mysql", "\"mysql\" is not "),
            ("u:hunter2@h", "this is not "),
            ("u:hunter2://h", "this is not "),
        ] {
            for refused in [
                StoreUrl::parse(url).map(drop),
                QueueUrl::parse(url).map(drop),
            ] {
                let refused = refused.unwrap_err();
                assert!(refused.starts_with(shown), "{refused}");
                assert!(!refused.contains("hunter2"), "{refused}");
            }
        }
    }
}
