//! Lists of endpoints, page by page.

use nahook_control::{EndpointHealth, EndpointPage, EndpointQuery};
use nahook_core::StoreError;
use nahook_core::id::{ApplicationId, WorkspaceId};

use super::columns;
use super::read::endpoint_at;
use crate::parameter::Parameter;
use crate::row::value_at;
use crate::secrets::unsealable;
use crate::store::PostgresStore;

/// The matching rows of endpoints that are in this state. A Slack URL, kind 1, is not looked into.
macro_rules! matching {
    ($state:literal) => {
        concat!(
            "FROM endpoint m ",
            $state,
            " AND m.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) AND m.deleted_at IS NULL
            AND ($2::text IS NULL OR m.application = (SELECT o.row FROM application o WHERE o.id = $2))
            AND ($3::text IS NULL OR m.id = $3 OR strpos(m.description, $3) > 0
                OR (m.kind = 0 AND strpos(m.url, $3) > 0)) "
        )
    };
}

/// Counts the matching rows, and reads whole those of a page alone. A plan of its own for each state: few fail, whom their table finds.
macro_rules! statements {
    ($state:literal) => {
        (
            concat!("SELECT count(*) ", matching!($state)),
            columns::endpoints!(
                "$1::text",
                "WHERE e.row IN (SELECT m.row ",
                matching!($state),
                "ORDER BY m.row DESC OFFSET $4 LIMIT $5) ORDER BY e.row DESC"
            ),
        )
    };
}

const ANY: (&str, &str) = statements!("WHERE true");
const FAILING: (&str, &str) =
    statements!("JOIN endpoint_health h ON h.endpoint = m.row WHERE m.is_active");
const DISABLED: (&str, &str) = statements!("WHERE NOT m.is_active");

/// The number of all that the workspace has.
const ALL: &str = "SELECT c.rows FROM row_count c WHERE c.kind = 'endpoint'
    AND c.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)";

impl PostgresStore {
    pub(crate) async fn endpoint_page(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let workspace = workspace.as_str();
        let application = query.application.as_ref().map(ApplicationId::as_str);
        let (count, read) = match query.health {
            None => ANY,
            Some(EndpointHealth::Failing) => FAILING,
            Some(EndpointHealth::Disabled) => DISABLED,
        };
        let (offset, limit) = (number(query.offset), number(query.limit));
        let parameters: [&dyn Parameter; 5] =
            [&workspace, &application, &query.text, &offset, &limit];
        let lender = &self.shared().lender;
        let is_all = query.health.is_none() && application.is_none() && query.text.is_none();
        let counted = if is_all {
            lender.query(ALL, &parameters[..1]).await?
        } else {
            lender.query(count, &parameters[..3]).await?
        };
        let mut page = EndpointPage::default();
        for row in &counted {
            page.total = u64::try_from(value_at::<i64>(row, 0)?).unwrap_or(0);
        }
        if query.limit == 0 {
            return Ok(page);
        }
        for row in &lender.query(read, &parameters).await? {
            let mut endpoint = endpoint_at(row)?;
            let opened = self.secrets().open_endpoint(&mut endpoint);
            opened.map_err(unsealable)?;
            page.endpoints.push(endpoint);
        }
        Ok(page)
    }
}
