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

/// The matching rows. Health 1 is failing, 2 is disabled. A Slack URL, kind 1, is not looked into.
macro_rules! matching {
    () => {
        "FROM endpoint m LEFT JOIN endpoint_health h ON h.endpoint = m.row
        WHERE m.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) AND m.deleted_at IS NULL
            AND ($2::text IS NULL OR m.application = (SELECT o.row FROM application o WHERE o.id = $2))
            AND ($3::text IS NULL OR m.id = $3 OR strpos(m.description, $3) > 0
                OR (m.kind = 0 AND strpos(m.url, $3) > 0))
            AND CASE $4::smallint WHEN 1 THEN m.is_active AND h.endpoint IS NOT NULL
                WHEN 2 THEN NOT m.is_active ELSE true END "
    };
}

const COUNT: &str = concat!("SELECT count(*) ", matching!());

/// Reads whole the rows of the page alone.
const PAGE: &str = columns::endpoints!(
    "$1::text",
    "WHERE e.row IN (SELECT m.row ",
    matching!(),
    "ORDER BY m.row DESC OFFSET $5 LIMIT $6) ORDER BY e.row DESC"
);

impl PostgresStore {
    pub(crate) async fn endpoint_page(
        &self,
        workspace: &WorkspaceId,
        query: &EndpointQuery,
    ) -> Result<EndpointPage, StoreError> {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let workspace = workspace.as_str();
        let application = query.application.as_ref().map(ApplicationId::as_str);
        let health: i16 = match query.health {
            None => 0,
            Some(EndpointHealth::Failing) => 1,
            Some(EndpointHealth::Disabled) => 2,
        };
        let (offset, limit) = (number(query.offset), number(query.limit));
        let parameters: [&dyn Parameter; 6] = [
            &workspace,
            &application,
            &query.text,
            &health,
            &offset,
            &limit,
        ];
        let lender = &self.shared().lender;
        let mut page = EndpointPage::default();
        for row in &lender.query(COUNT, &parameters[..4]).await? {
            page.total = u64::try_from(value_at::<i64>(row, 0)?).unwrap_or(0);
        }
        for row in &lender.query(PAGE, &parameters).await? {
            let mut endpoint = endpoint_at(row)?;
            let opened = self.secrets().open_endpoint(&mut endpoint);
            opened.map_err(unsealable)?;
            page.endpoints.push(endpoint);
        }
        Ok(page)
    }
}
