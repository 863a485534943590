//! Purpose that a store is opened for, and its effect on the settings.

use std::time::Duration;

use nahook_postgres::PostgresSettings;
use nahook_sqlite::SqliteSettings;
use nahook_supervision::Supervisor;

/// Purpose that a store is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usage {
    /// A server, which forgets what is settled and was accepted longer ago than that.
    Server { retention: Duration },
    /// A command that runs beside a server. It does not know for how long the server keeps what it has, and forgets nothing.
    Tool,
}

impl Usage {
    pub(crate) fn postgres(
        self,
        mut settings: PostgresSettings,
        supervisor: &Supervisor,
    ) -> PostgresSettings {
        settings.supervisor = supervisor.clone();
        match self {
            Self::Server { retention } => settings.retention = retention,
            Self::Tool => {
                settings.retention_interval = Duration::ZERO;
                // As few as there can be: the server's own share may be all but one of what there is.
                settings.connections_max = Some(3);
            }
        }
        settings
    }

    pub(crate) fn sqlite(self, supervisor: &Supervisor) -> SqliteSettings {
        let mut settings = match self {
            Self::Server { retention } => {
                let mut settings = SqliteSettings::server();
                settings.retention = retention;
                settings
            }
            Self::Tool => SqliteSettings::tool(),
        };
        settings.supervisor = supervisor.clone();
        settings
    }
}

#[cfg(test)]
mod tests {
    use nahook_sqlite::Role;

    use super::*;

    #[test]
    fn a_server_keeps_what_it_has_for_as_long_as_it_is_told() {
        let retention = Duration::from_hours(24);
        let usage = Usage::Server { retention };
        let (postgres, sqlite) = (
            usage.postgres(PostgresSettings::default(), &Supervisor::new()),
            usage.sqlite(&Supervisor::new()),
        );
        assert_eq!([postgres.retention, sqlite.retention], [retention; 2]);
        assert_eq!(sqlite.role, Role::Server);
        for interval in [postgres.retention_interval, sqlite.retention_interval] {
            assert!(!interval.is_zero(), "it does look");
        }
    }

    #[test]
    fn a_command_forgets_nothing_that_a_server_keeps() {
        let postgres = Usage::Tool.postgres(PostgresSettings::default(), &Supervisor::new());
        assert_eq!(postgres.retention_interval, Duration::ZERO);
        // A tool on a file forgets nothing, whatever its settings say.
        assert_eq!(Usage::Tool.sqlite(&Supervisor::new()).role, Role::Tool);
    }
}
