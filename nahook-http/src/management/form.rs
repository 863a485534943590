//! Forms of pages, which change what the Management API changes.

use axum::body::Body;
use axum::http::request::Parts;
use bytes::Bytes;
use nahook_core::id::WorkspaceId;

use super::ManagementApi;
use super::call::not_read;
use crate::ingestion::{Charged, Unread};
use crate::{ApiError, BudgetKind, Permit, RequestContext};

/// A form, with what it takes of its workspace until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct FormBody {
    /// Its bytes.
    pub bytes: Bytes,
    _memory: Option<Permit>,
    _turn: Permit,
}

impl ManagementApi {
    /// Reads a form of at most `len_max` bytes as a call of the workspace, and waits for its turn among the workspace's changes.
    ///
    /// # Errors
    /// The workspace calls too often, its requests hold too much memory, or too many of its changes are under way; or the form is too long or
    /// does not arrive.
    pub async fn read_form(
        &self,
        workspace: WorkspaceId,
        head: &Parts,
        body: Body,
        len_max: usize,
    ) -> Result<FormBody, ApiError> {
        let budgets = &self.budgets;
        budgets.spend(workspace, BudgetKind::ManagementCalls, 1)?;
        let deadline = RequestContext::of(&head.extensions).arrived + self.settings.timeout;
        let mut charged = Charged::new(budgets, workspace);
        let mut unread = Unread::new(body, &head.headers);
        let read = unread.read(len_max, deadline, &mut charged).await;
        let bytes = read.map_err(|error| not_read(error, len_max))?;
        // Not before: a form that does not arrive would keep others from their turn.
        let changes = BudgetKind::CatalogChanges;
        let turn = budgets.take(workspace, changes, 1, deadline).await?;
        Ok(FormBody {
            bytes,
            _memory: charged.into_permit(),
            _turn: turn,
        })
    }
}
