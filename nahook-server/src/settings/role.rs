//! Which part of the work a process takes.

use clap::ValueEnum;
use serde::Deserialize;

use nahook_embed::StoreUrl;

/// Which part of the work a process takes. Processes of any roles, any number of each, share a database.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes events in, serves the Management API, and delivers.
    #[default]
    All,
    /// Takes events in and serves the Management API; delivers nothing.
    Ingest,
    /// Delivers; of HTTP it serves health, readiness and metrics alone.
    Worker,
}

impl Role {
    /// Returns true if it serves the Ingestion and the Management API.
    pub fn ingests(self) -> bool {
        self != Self::Worker
    }

    /// Returns true if it delivers.
    pub fn delivers(self) -> bool {
        self != Self::Ingest
    }

    /// Refuses what a store that is one process's cannot be divided into. The error says what to set.
    pub(super) fn check(self, store: &StoreUrl) -> Result<(), String> {
        match store {
            _ if self == Self::All => Ok(()),
            StoreUrl::Postgres(_) => Ok(()),
            StoreUrl::Memory | StoreUrl::Sqlite(_) => Err(
                "the processes that take events in and those that deliver need a store that they share: \
                 set --store postgres://…, or leave the role at `all`"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use nahook_control::SecretText;

    use super::*;

    #[test]
    fn only_a_database_is_shared() {
        let database = StoreUrl::Postgres(SecretText::new("postgres://x"));
        for role in [Role::All, Role::Ingest, Role::Worker] {
            assert_eq!(role.check(&database), Ok(()));
            for alone in [StoreUrl::Memory, StoreUrl::Sqlite("x".into())] {
                assert_eq!(role.check(&alone).is_ok(), role == Role::All, "{role:?}");
            }
        }
    }
}
