//! Number of connections of a store, within those that it may have.

use tokio_postgres::Client;

use crate::config::NEEDED;
use crate::{ConnectError, PostgresSettings};

/// Reads the number of connections allowed for this role in this database. Reserved ones do not count; superusers have
/// them all.
const ALLOWED: &str = "
SELECT CASE WHEN r.rolsuper THEN m.connections ELSE least(
    CASE WHEN r.rolconnlimit >= 0 THEN r.rolconnlimit END,
    CASE WHEN d.datconnlimit >= 0 THEN d.datconnlimit END,
    m.connections - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)) END
FROM pg_roles r, pg_database d, (SELECT current_setting('max_connections')::int AS connections) m
WHERE r.rolname = session_user AND d.datname = current_database()";

/// Asks the server how many connections it allows us; `None` if it does not say.
pub(crate) async fn allowed(client: &Client) -> Result<Option<usize>, tokio_postgres::Error> {
    let row = client.query_typed_opt(ALLOWED, &[]).await?;
    let allowed: Option<i32> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(allowed.map(|allowed| usize::try_from(allowed).unwrap_or(0)))
}

/// A store's connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Budget {
    pub(crate) pool: usize,
    pub(crate) writers: usize,
    /// True if the rate limiter has a connection of its own; otherwise it shares the pool.
    pub(crate) has_limiter: bool,
}

impl Budget {
    /// Follows the settings, or cuts them down to `allowed`: then one connection is left to others, such as a command
    /// that runs beside the server, if there are more than needed.
    pub(crate) fn of(
        settings: &PostgresSettings,
        allowed: Option<usize>,
    ) -> Result<Self, ConnectError> {
        let (pool, writers) = (settings.pool.max(1), settings.writers.max(1));
        let wanted = pool.saturating_add(writers).saturating_add(2);
        let allowed = allowed
            .unwrap_or(usize::MAX)
            .min(settings.connections_max.unwrap_or(usize::MAX));
        if allowed >= wanted {
            return Ok(Self {
                pool,
                writers,
                has_limiter: true,
            });
        }
        if allowed < NEEDED {
            return Err(ConnectError::TooFewConnections {
                needed: NEEDED,
                found: allowed,
            });
        }
        let budget = Self {
            pool: pool.min((allowed - NEEDED).max(1)),
            writers: 1,
            has_limiter: false,
        };
        tracing::warn!(
            wanted,
            allowed,
            pool = budget.pool,
            writers = budget.writers,
            "fewer connections are allowed than the settings ask for; fewer are used"
        );
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(allowed: Option<usize>) -> Option<(usize, usize, bool)> {
        let budget = Budget::of(&PostgresSettings::default(), allowed).ok()?;
        Some((budget.pool, budget.writers, budget.has_limiter))
    }

    #[test]
    fn few_connections_are_shared_out() {
        assert_eq!(budget(None), Some((4, 2, true)));
        assert_eq!(budget(Some(8)), Some((4, 2, true)));
        assert_eq!(budget(Some(7)), Some((4, 1, false)));
        assert_eq!(budget(Some(5)), Some((2, 1, false)));
        assert_eq!(budget(Some(4)), Some((1, 1, false)));
        assert_eq!(budget(Some(3)), Some((1, 1, false)));
        assert_eq!(budget(Some(2)), None);
    }

    #[test]
    fn settings_bound_the_connections() {
        let settings = PostgresSettings {
            connections_max: Some(5),
            ..PostgresSettings::default()
        };
        let pool = |allowed| Budget::of(&settings, allowed).map(|budget| budget.pool);
        assert_eq!(pool(None).ok(), Some(2));
        assert_eq!(pool(Some(4)).ok(), Some(1));
    }
}
