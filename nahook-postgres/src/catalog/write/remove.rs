//! Rows that go, and what makes no sense without them. What the history names stays behind, marked as deleted.

use nahook_control::{Record, Verb};
use nahook_core::Timestamp;

use super::{Write, subscription, write_of};
use crate::row::nanos;

/// Its secrets are of no use to anybody any more; a Slack endpoint's URL is one.
const ENDPOINT: &str = "
WITH gone AS MATERIALIZED (
    SELECT e.row, e.workspace FROM endpoint e JOIN workspace w ON w.row = e.workspace
    WHERE e.id = $1 AND w.id = $2 AND e.deleted_at IS NULL
), patterns AS (
    DELETE FROM pattern p USING gone g WHERE p.endpoint = g.row
), subscriptions AS (
    DELETE FROM subscription s USING gone g WHERE s.endpoint = g.row
), keys AS (
    UPDATE api_key k SET state = 2 FROM gone g
    WHERE k.workspace = g.workspace AND k.endpoint = g.row AND k.state <> 2
), health AS (
    DELETE FROM endpoint_health h USING gone g WHERE h.endpoint = g.row
)
UPDATE endpoint e SET deleted_at = $3, secret = '', previous_secret = NULL, previous_secret_until = NULL,
    auth_password = NULL, config = '{}', url = CASE e.kind WHEN 1 THEN '' ELSE e.url END
FROM gone g WHERE e.row = g.row";

const APPLICATION: &str = "
WITH gone AS MATERIALIZED (
    SELECT a.row FROM application a JOIN workspace w ON w.row = a.workspace
    WHERE a.id = $1 AND w.id = $2 AND a.deleted_at IS NULL
), sessions AS (
    DELETE FROM portal_session p USING gone g WHERE p.application = g.row
), endpoints AS (
    UPDATE endpoint e SET deleted_at = $3, secret = '', previous_secret = NULL, previous_secret_until = NULL,
        auth_password = NULL, config = '{}', url = CASE e.kind WHEN 1 THEN '' ELSE e.url END
    FROM gone g WHERE e.application = g.row AND e.deleted_at IS NULL
    RETURNING e.row, e.workspace
), patterns AS (
    DELETE FROM pattern p USING endpoints e WHERE p.endpoint = e.row
), subscriptions AS (
    DELETE FROM subscription s USING endpoints e WHERE s.endpoint = e.row
), keys AS (
    UPDATE api_key k SET state = 2 FROM endpoints e
    WHERE k.workspace = e.workspace AND k.endpoint = e.row AND k.state <> 2
), health AS (
    DELETE FROM endpoint_health h USING endpoints e WHERE h.endpoint = e.row
)
UPDATE application a SET deleted_at = $3 FROM gone g WHERE a.row = g.row";

const ENVIRONMENT: &str = "
WITH gone AS MATERIALIZED (
    SELECT n.row, n.workspace FROM environment n JOIN workspace w ON w.row = n.workspace
    WHERE n.id = $1 AND w.id = $2 AND n.deleted_at IS NULL
), publications AS (
    DELETE FROM publication p USING gone g WHERE p.environment = g.row
), keys AS (
    UPDATE api_key k SET state = 2 FROM gone g
    WHERE k.workspace = g.workspace AND k.environment = g.row AND k.state <> 2
)
UPDATE environment n SET deleted_at = $3 FROM gone g WHERE n.row = g.row";

const EVENT_TYPE: &str = "
WITH gone AS MATERIALIZED (
    SELECT t.row, t.workspace FROM event_type t JOIN workspace w ON w.row = t.workspace
    WHERE t.id = $1 AND w.id = $2 AND t.deleted_at IS NULL
), subscriptions AS (
    DELETE FROM subscription s USING gone g WHERE s.event_type = g.row
), publications AS (
    DELETE FROM publication p USING gone g JOIN environment n ON n.workspace = g.workspace AND n.deleted_at IS NULL
    WHERE p.environment = n.row AND p.event_type = g.row
)
UPDATE event_type t SET deleted_at = $3 FROM gone g WHERE t.row = g.row";

/// `None` for what cannot be removed.
pub(super) fn statement(record: &Record, now: Timestamp) -> Option<Write> {
    let marked = |statement, id: &str, workspace: &nahook_core::id::WorkspaceId| {
        write_of!(
            statement,
            id.to_owned(),
            workspace.as_str().to_owned(),
            nanos(now)
        )
    };
    Some(match record {
        Record::ApiKey(row) => write_of!(
            "DELETE FROM api_key k USING workspace w WHERE k.id = $1 AND w.id = $2 AND k.workspace = w.row",
            row.id.as_str().to_owned(),
            row.workspace.as_str().to_owned(),
        ),
        Record::Application(row) => marked(APPLICATION, row.id.as_str(), &row.workspace),
        Record::Endpoint(row) => marked(ENDPOINT, row.id.as_str(), &row.workspace),
        Record::Environment(row) => marked(ENVIRONMENT, row.id.as_str(), &row.workspace),
        Record::EventType(row) => marked(EVENT_TYPE, row.id.as_str(), &row.workspace),
        Record::ManagementToken(row) => write_of!(
            "DELETE FROM management_token t USING workspace w
             WHERE t.id = $1 AND w.id = $2 AND t.workspace = w.row",
            row.id.as_str().to_owned(),
            row.workspace.as_str().to_owned(),
        ),
        Record::Pattern(row) => subscription::pattern(Verb::Remove, row),
        Record::PortalSession(row) => write_of!(
            "DELETE FROM portal_session p USING application a, workspace w
             WHERE p.code = $1 AND a.row = p.application AND w.id = $2 AND a.workspace = w.row",
            row.code.as_bytes().to_vec(),
            row.workspace.as_str().to_owned(),
        ),
        Record::Publication(row) => write_of!(
            "DELETE FROM publication p USING workspace w, environment n, event_type t
             WHERE w.id = $1 AND n.id = $2 AND t.id = $3
                 AND p.workspace = w.row AND p.environment = n.row AND p.event_type = t.row",
            row.workspace.as_str().to_owned(),
            row.environment.as_str().to_owned(),
            row.event_type.as_str().to_owned(),
        ),
        Record::Subscription(row) => subscription::unsubscription(*row),
        Record::Workspace(_) => return None,
    })
}
