//! Visitors of the pages and their rights.

use async_trait::async_trait;
use axum::http::request::Parts;
use nahook_control::{Actor, ActorKind, ApplicationRecord, KeyHash, PortalRole};
use nahook_core::id::WorkspaceId;

/// An operator, as an app knows its own users.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// Workspace that the operator works in.
    pub workspace: WorkspaceId,
    /// The app's id of the user, for the audit log.
    pub id: String,
    /// Name that people know the user by, for the audit log.
    pub label: String,
}

/// An app's own authentication of the dashboard's visitors.
#[async_trait]
pub trait Access: Send + Sync {
    /// Returns the operator that made the request; `None` if it is nobody who may see the dashboard, who then gets a 404.
    async fn operator(&self, request: &Parts) -> Option<Operator>;
}

/// A visitor who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) workspace: WorkspaceId,
    pub(crate) actor: Actor,
    pub(crate) reach: Reach,
    /// Absent where the app has authenticated the visitor.
    pub(crate) session: Option<KeyHash>,
}

/// The part of a workspace that a visitor reaches.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// All of it.
    Workspace,
    /// All of it, but no secret, and without a change.
    WorkspaceToRead,
    /// One application, in a role.
    Application(Box<ApplicationRecord>, PortalRole),
}

/// Rights that roles differ in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Right {
    /// Changes endpoints and queues deliveries.
    Change,
    /// Sees secrets, and deletes.
    Administer,
}

impl Visitor {
    pub(crate) fn can(&self, right: Right) -> bool {
        match (&self.reach, right) {
            (Reach::Workspace | Reach::Application(_, PortalRole::Admin), _) => true,
            (Reach::Application(_, PortalRole::Editor), right) => right == Right::Change,
            (Reach::WorkspaceToRead | Reach::Application(_, PortalRole::Viewer), _) => false,
        }
    }

    /// The only application that the visitor reaches, if it is a customer.
    pub(crate) fn application(&self) -> Option<&ApplicationRecord> {
        match &self.reach {
            Reach::Workspace | Reach::WorkspaceToRead => None,
            Reach::Application(application, _) => Some(application),
        }
    }
}

/// Returns the actor that the audit log names for a customer.
pub(crate) fn customer(application: &ApplicationRecord, role: PortalRole) -> Actor {
    Actor {
        kind: ActorKind::System,
        id: application.id.to_string(),
        label: format!("portal ({})", role.as_str()),
    }
}

impl From<&Operator> for Actor {
    fn from(operator: &Operator) -> Self {
        Self {
            kind: ActorKind::Operator,
            id: operator.id.clone(),
            label: operator.label.clone(),
        }
    }
}
