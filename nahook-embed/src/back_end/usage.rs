//! Purpose that a store is opened for, and its effect on the settings.

#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use nahook_postgres::PostgresSettings;
#[cfg(feature = "sqlite")]
use nahook_sqlite::SqliteSettings;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use super::BackendSettings;

/// Purpose that a store is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usage {
    /// A process that serves: it forgets what is settled and was accepted longer ago than the retention.
    Server,
    /// A command that runs beside a server. It does not know for how long the server keeps what it has, and forgets nothing.
    Tool,
}

impl Usage {
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(self, settings: &BackendSettings) -> PostgresSettings {
        let mut postgres = settings.postgres.clone();
        postgres.supervisor = settings.supervisor.clone();
        postgres.secret_keys.clone_from(&settings.secret_keys);
        match self {
            Self::Server => postgres.retention = settings.retention,
            Self::Tool => {
                postgres.retention_interval = Duration::ZERO;
                // As few as there can be: the server's own share may be all but one of what there is.
                postgres.connections_max = Some(3);
            }
        }
        postgres
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(self, settings: &BackendSettings) -> SqliteSettings {
        let mut sqlite = match self {
            Self::Server => {
                let mut sqlite = SqliteSettings::server();
                sqlite.retention = settings.retention;
                sqlite.disk_free_min = settings.disk_free_min;
                sqlite.shares_file = settings.shares_file;
                sqlite
            }
            Self::Tool => SqliteSettings::tool(),
        };
        sqlite.supervisor = settings.supervisor.clone();
        sqlite.secret_keys.clone_from(&settings.secret_keys);
        sqlite
    }
}

#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod tests {
    use nahook_sqlite::Role;
    use nahook_supervision::Loop;

    use super::*;

    #[test]
    fn a_server_keeps_what_it_has_for_as_long_as_it_is_told() {
        let retention = Duration::from_hours(24);
        let settings = BackendSettings {
            retention,
            ..BackendSettings::default()
        };
        let usage = Usage::Server;
        let (postgres, sqlite) = (usage.postgres(&settings), usage.sqlite(&settings));
        assert_eq!([postgres.retention, sqlite.retention], [retention; 2]);
        assert_eq!(sqlite.role, Role::Server);
        for interval in [postgres.retention_interval, sqlite.retention_interval] {
            assert!(!interval.is_zero(), "it does look");
        }
    }

    #[tokio::test]
    async fn loops_of_a_store_are_in_the_register_of_the_settings() {
        let settings = BackendSettings::default();
        let supervisor = &settings.supervisor;
        let _running = supervisor.spawn(Loop::HttpAccept, std::future::pending);
        for usage in [Usage::Server, Usage::Tool] {
            let postgres = usage.postgres(&settings).supervisor;
            let sqlite = usage.sqlite(&settings).supervisor;
            assert_eq!([postgres, sqlite].map(|it| it.loops().len()), [1, 1]);
        }
    }

    #[test]
    fn a_command_forgets_nothing_that_a_server_keeps() {
        let settings = BackendSettings::default();
        let postgres = Usage::Tool.postgres(&settings);
        assert_eq!(postgres.retention_interval, Duration::ZERO);
        assert_eq!(postgres.connections_max, Some(3), "the server has the rest");
        // A tool on a file forgets nothing, whatever its settings say.
        assert_eq!(Usage::Tool.sqlite(&settings).role, Role::Tool);
    }
}
