//! A request to a page, as its handler sees it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nahook_control::{EndpointRecord, Management, ManagementStore};
use nahook_core::id::{EndpointId, WorkspaceId};

use crate::access::{Right, Visitor};
use crate::brand::Brand;
use crate::error::PageError;
use crate::form::Fields;
use crate::site::{Audience, Site};

/// The visitor, the site and what was asked.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) site: Arc<Site>,
    /// Path that the site is nested at, without a slash at its end.
    pub(crate) base: Arc<str>,
    /// Path within the site.
    pub(crate) here: Arc<str>,
    pub(crate) visitor: Arc<Visitor>,
    pub(crate) brand: Arc<Brand>,
    /// The token that every form carries.
    pub(crate) form_token: Arc<str>,
    pub(crate) query: Arc<Fields>,
    pub(crate) form: Arc<Fields>,
}

impl View {
    /// The URL of a page of this site.
    pub(crate) fn url(&self, path: impl std::fmt::Display) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn workspace(&self) -> &WorkspaceId {
        &self.visitor.workspace
    }

    pub(crate) fn management(&self) -> &Management<Arc<dyn ManagementStore>> {
        self.site.ports.api.management()
    }

    pub(crate) fn is_customer(&self) -> bool {
        self.site.audience == Audience::Customers
    }

    /// Refuses visitors whose role lacks the right.
    pub(crate) fn require(&self, right: Right) -> Result<(), PageError> {
        let can = self.visitor.can(right);
        can.then_some(()).ok_or_else(PageError::forbidden)
    }

    /// The endpoint, if the visitor reaches it: a customer, those of the own application alone.
    pub(crate) async fn endpoint(&self, id: &str) -> Result<EndpointRecord, PageError> {
        let id: EndpointId = id.parse().map_err(|_| PageError::missing())?;
        let endpoint = self.management().endpoint(self.workspace(), id).await?;
        let own = self.visitor.application().map(|application| application.id);
        if own.is_some() && endpoint.application != own {
            return Err(PageError::missing());
        }
        Ok(endpoint)
    }

    /// The endpoints that the visitor reaches, the oldest first.
    pub(crate) async fn endpoints(&self) -> Result<Vec<EndpointRecord>, PageError> {
        let management = self.management();
        Ok(match self.visitor.application() {
            Some(application) => {
                management
                    .endpoints_of(self.workspace(), application.id)
                    .await?
            }
            None => management.endpoints(self.workspace()).await?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for View {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        // Every page is behind the guard, which adds it.
        let view = parts.extensions.get::<Self>().cloned();
        view.ok_or_else(PageError::missing)
    }
}
