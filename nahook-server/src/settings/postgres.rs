//! The settings of a store on Postgres.

use clap::Args;
use nahook_postgres::PostgresSettings;
use serde::Deserialize;

use super::{or, wrong};
use crate::ServerError;
use nahook_embed::StoreUrl;

/// The fewest connections that a store works with.
const CONNECTIONS_MIN: usize = 3;

/// The settings of a store on Postgres as given by flag or environment, or by the table `postgres` of a file; each may be
/// absent.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[command(next_help_heading = "With --store postgres://…")]
#[serde(deny_unknown_fields)]
pub struct PostgresArgs {
    /// The URL of the server itself, for LISTEN, where the store's leads through a pooler in transaction mode [default: poll].
    #[arg(
        long = "postgres-direct-url",
        id = "postgres_direct_url",
        env = "NAHOOK_POSTGRES_DIRECT_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub direct_url: Option<String>,
    /// Upper bound on this process's connections to the database, 3 or more [default: what the server allows, up to 8].
    #[arg(
        long = "postgres-connections",
        id = "postgres_connections",
        env = "NAHOOK_POSTGRES_CONNECTIONS",
        value_name = "NUMBER"
    )]
    pub connections: Option<usize>,
}

impl PostgresArgs {
    /// Fills what is absent from the file.
    pub(super) fn or(self, file: Self) -> Self {
        or!(self, file: direct_url, connections)
    }

    /// Checks them.
    pub(super) fn resolve(self) -> Result<PostgresSettings, ServerError> {
        let mut settings = PostgresSettings::default();
        if let Some(url) = self.direct_url {
            // The URL may hold a password in any place, so that no part of it is shown.
            let Ok(StoreUrl::Postgres(_)) = StoreUrl::parse(&url) else {
                let reason = "it is not the URL of a Postgres server, postgres://…";
                return Err(wrong("--postgres-direct-url", reason));
            };
            settings.direct_url = Some(url);
        }
        if let Some(connections) = self.connections
            && connections < CONNECTIONS_MIN
        {
            let reason = format!("{connections} are too few, {CONNECTIONS_MIN} are needed");
            return Err(wrong("--postgres-connections", reason));
        }
        settings.connections_max = self.connections;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "postgres://nahook:hunter2@db.internal/nahook";

    #[test]
    fn flag_goes_before_the_file_and_the_file_before_the_default() {
        let none = PostgresArgs::default;
        let file: PostgresArgs =
            toml::from_str(&format!("direct_url = '{URL}'\nconnections = 5")).unwrap();
        for (flags, file, expected) in [
            (none(), none(), (None, None)),
            (none(), file.clone(), (Some(URL), Some(5))),
            (
                PostgresArgs {
                    direct_url: Some("postgresql://other/x".to_owned()),
                    connections: Some(3),
                },
                file,
                (Some("postgresql://other/x"), Some(3)),
            ),
        ] {
            let settings = flags.or(file).resolve().unwrap();
            let found = (settings.direct_url.as_deref(), settings.connections_max);
            assert_eq!(found, expected);
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }

    #[test]
    fn wrong_setting_is_named_and_no_secret_shown() {
        let few = format!("direct_url = '{URL}'\nconnections = 2");
        for (file, named) in [
            ("direct_url = 'hunter2'", "--postgres-direct-url"),
            (
                "direct_url = 'host=db user=nahook password=hunter2'",
                "--postgres-direct-url",
            ),
            (
                "direct_url = 'mysql://root:hunter2@db/x'",
                "--postgres-direct-url",
            ),
            (&few, "--postgres-connections: 2 are too few"),
        ] {
            let args: PostgresArgs = toml::from_str(file).unwrap();
            let said = args.resolve().unwrap_err().report();
            assert!(said.contains(named) && !said.contains("hunter2"), "{said}");
        }
    }
}
