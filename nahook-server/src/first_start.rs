//! The first start on an empty store: a workspace, a key, a token, and something that receives.

use std::net::SocketAddr;

use nahook_core::{
    ApiKeySpec, ApplyMode, Catalog as _, CatalogError, EndpointId, EndpointSpec, EventTypeName,
    EventTypeSpec, ManagementTokenSpec, Manifest, Record, SecretText, WorkspaceId, WorkspaceSpec,
};

use crate::ServerError;
use crate::backend::Backend;

/// The event type that a first start makes.
pub const SAMPLE_EVENT_TYPE: &str = "order.paid";
/// The endpoints that a first start subscribes to it. A server that finds them runs the inbox they point at.
pub const SAMPLE_ENDPOINTS: [&str; 2] = ["ep_sample_1", "ep_sample_2"];

/// What a first start made, to be shown once.
#[derive(Debug)]
#[non_exhaustive]
pub struct FirstStart {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The ingestion key.
    pub api_key: SecretText,
    /// The management token.
    pub management_token: SecretText,
}

/// Makes a workspace with its Production environment, an ingestion key and a management token, if the store is empty;
/// with sample endpoints at `inbox`, if there is one.
pub async fn prepare(
    backend: &Backend,
    inbox: Option<SocketAddr>,
) -> Result<Option<FirstStart>, ServerError> {
    if !backend.catalog.workspaces().await?.is_empty() {
        return Ok(None);
    }
    let changes = backend
        .catalog
        .apply(&manifest(inbox)?, ApplyMode::Commit)
        .await?;
    let (mut workspace, mut api_key, mut management_token) = (None, None, None);
    for change in changes {
        match change.record {
            Record::Workspace(row) => workspace = Some(row.id),
            Record::ApiKey(_) => api_key = change.drawn_secret,
            Record::ManagementToken(_) => management_token = change.drawn_secret,
            _ => {}
        }
    }
    let made = workspace.zip(api_key).zip(management_token);
    Ok(
        made.map(|((workspace, api_key), management_token)| FirstStart {
            workspace,
            api_key,
            management_token,
        }),
    )
}

fn manifest(inbox: Option<SocketAddr>) -> Result<Manifest, ServerError> {
    let internal = |error: Box<dyn std::error::Error + Send + Sync>| {
        CatalogError::Store(nahook_core::StoreError::internal(error))
    };
    let event_type = EventTypeName::new(SAMPLE_EVENT_TYPE).map_err(|e| internal(e.into()))?;
    let mut endpoints = Vec::new();
    for id in SAMPLE_ENDPOINTS {
        let Some(inbox) = inbox else { break };
        endpoints.push(EndpointSpec {
            id: Some(EndpointId::new(id).map_err(|e| internal(e.into()))?),
            url: format!("http://{inbox}/{id}"),
            description: Some("Sample: prints what arrives in the server's log".to_owned()),
            event_types: Some(vec![event_type.clone()]),
            ..EndpointSpec::default()
        });
    }
    let workspace = WorkspaceSpec {
        name: "Default".to_owned(),
        event_types: vec![EventTypeSpec::named(event_type)],
        endpoints,
        api_keys: vec![ApiKeySpec {
            name: "default".to_owned(),
            ..ApiKeySpec::default()
        }],
        management_tokens: vec![ManagementTokenSpec {
            name: "default".to_owned(),
            ..ManagementTokenSpec::default()
        }],
        ..WorkspaceSpec::default()
    };
    Ok(Manifest {
        workspaces: vec![workspace],
    })
}

impl FirstStart {
    /// The welcome: what was made, and a line to paste.
    pub fn text(&self, address: SocketAddr, has_sample: bool) -> String {
        let key = self.api_key.expose();
        let aftermath = if has_sample {
            "  Two sample endpoints are subscribed; the webhooks they receive are shown here.\n"
        } else {
            "  Nothing is subscribed yet: declare endpoints with `nahook apply`.\n"
        };
        format!(
            "\n  This is the first start on an empty store. Shown this once:\n\n    \
             workspace         {}\n    API key           {key}\n    management token  {}\n\n  \
             Trigger an event:\n\n\
             curl -X POST http://{address}/api/ingest/event/{SAMPLE_EVENT_TYPE} \
             -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
             -d '{{\"payload\":{{\"order_id\":\"ord_123\",\"amount\":49.99}}}}'\n\n{aftermath}",
            self.workspace,
            self.management_token.expose(),
        )
    }
}
