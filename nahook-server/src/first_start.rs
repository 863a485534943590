//! The first start on an empty store: a workspace, a key, a token, and something that receives.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nahook_control::{
    ApiKeySpec, ApplyMode, Catalog as _, CatalogError, Change, EndpointSpec, EventTypeSpec,
    ManagementTokenSpec, Manifest, Record, SecretText, WorkspaceRecord, WorkspaceSpec,
};
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{Clock as _, EventTypeName, SystemClock};
use nahook_dashboard::{SIGN_IN_LINK_LASTS, new_sign_in_link};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::{ServerError, drawn, output, private_file};
use nahook_embed::Backend;

/// The event type that a first start makes.
pub(crate) const SAMPLE_EVENT_TYPE: &str = "order.paid";
/// The endpoints that a first start subscribes to it. A server that finds them runs the inbox they point at.
pub(crate) const SAMPLE_ENDPOINTS: [&str; 2] = ["ep_sample_1", "ep_sample_2"];

/// The name of the workspace that a first start makes, and of the key and the token in it.
const WORKSPACE: &str = "Default";
const KEY: &str = "default";
/// Time that a server that shares its store leaves the other, which has just made the workspace, to show its key.
const OTHERS_FIRST: Duration = Duration::from_secs(1);

/// A workspace that a first start has made, whose key and token are to be shown, and then to be made.
#[derive(Clone, Debug)]
pub(crate) struct FirstStart {
    workspace: WorkspaceRecord,
    is_ours: bool,
}

/// Makes a workspace with its Production environment if the store is empty, with sample endpoints at `inbox`, if there is
/// one. Finds it again if no start has been able to show its key and its token.
pub(crate) async fn prepare(
    backend: &Backend,
    inbox: Option<SocketAddr>,
) -> Result<Option<FirstStart>, ServerError> {
    let workspaces = backend.catalog.workspaces().await?;
    if workspaces.is_empty() {
        let made = manifest(inbox)?;
        let changes = backend.catalog.apply(&made, ApplyMode::Commit).await?;
        // Another server may have made it meanwhile.
        return Ok(changes.into_iter().find_map(|change| match change.record {
            Record::Workspace(workspace) => Some(FirstStart {
                workspace,
                is_ours: true,
            }),
            _ => None,
        }));
    }
    for workspace in workspaces {
        let start = FirstStart {
            workspace,
            is_ours: false,
        };
        if start.workspace.name == WORKSPACE && start.is_unshown(backend).await? {
            return Ok(Some(start));
        }
    }
    Ok(None)
}

impl FirstStart {
    /// Returns true if the workspace is as a first start makes it, and never had a key or a token.
    async fn is_unshown(&self, backend: &Backend) -> Result<bool, ServerError> {
        let (management, workspace) = (backend.management(), &self.workspace.id);
        let mut event_types = management.event_types(workspace).await?.into_iter();
        Ok(management.api_keys(workspace).await?.is_empty()
            && management.management_tokens(workspace).await?.is_empty()
            && event_types.any(|view| view.event_type.name.as_str() == SAMPLE_EVENT_TYPE))
    }

    /// Shows the key and the token, makes them, and prints a line to paste. They are printed, or written to the file at
    /// `place` and its path printed: an output that is no terminal may be kept for years and read by many.
    ///
    /// # Errors
    /// They could not be shown, and were not made: another start shows others.
    pub(crate) async fn show(
        self,
        backend: &Backend,
        base_url: &str,
        dashboard: Option<&str>,
        has_sample: bool,
        place: Option<PathBuf>,
    ) -> Result<(), ServerError> {
        if !self.is_ours && backend.is_shared() {
            sleep(OTHERS_FIRST).await;
            if !self.is_unshown(backend).await? {
                return Ok(());
            }
        }
        let workspace = self.workspace;
        let spec = WorkspaceSpec {
            id: Some(workspace.id),
            name: workspace.name.clone(),
            api_keys: vec![ApiKeySpec {
                name: KEY.to_owned(),
                ..ApiKeySpec::default()
            }],
            management_tokens: vec![ManagementTokenSpec {
                name: KEY.to_owned(),
                ..ManagementTokenSpec::default()
            }],
            ..WorkspaceSpec::default()
        };
        let manifest = Manifest::from(spec);
        let (mut key, mut token) = (String::new(), String::new());
        let show = |drawn: Vec<Change>| {
            let secret = |is: fn(&Record) -> bool| {
                let mut drawn = drawn.iter().filter(|change| is(&change.record));
                let secret = drawn.find_map(|change| change.drawn_secret.as_ref());
                secret.map_or("", SecretText::expose).to_owned()
            };
            key = secret(|record| matches!(record, Record::ApiKey(_)));
            token = secret(|record| matches!(record, Record::ManagementToken(_)));
            let shown = Credentials {
                workspace: workspace.id,
                key: key.clone(),
                token: token.clone(),
            };
            let place = place.clone();
            // Nobody may ever read it.
            off_the_runtime(move || shown.show(place.as_deref()))
        };
        drawn::apply(backend, manifest, show).await?;
        let mut text = line_to_paste(base_url, &key, place.as_deref(), has_sample);
        if let Some(dashboard) = dashboard {
            let sessions = &*backend.sessions;
            let now = SystemClock.now();
            let code = new_sign_in_link(sessions, workspace.id, &token, now).await?;
            text.push_str(&link(dashboard, &code));
        }
        off_the_runtime(move || output::print(&text)).await
    }
}

/// Runs what may block, on a thread for that.
pub(crate) async fn off_the_runtime(
    print: impl FnOnce() -> Result<(), ServerError> + Send + 'static,
) -> Result<(), ServerError> {
    let ended = spawn_blocking(print).await;
    ended.unwrap_or_else(|error| Err(ServerError::Io(error.into())))
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
            event_types: Some(vec![event_type.clone().into()]),
            ..EndpointSpec::default()
        });
    }
    let workspace = WorkspaceSpec {
        name: WORKSPACE.to_owned(),
        event_types: vec![EventTypeSpec::named(event_type)],
        endpoints,
        ..WorkspaceSpec::default()
    };
    Ok(Manifest::from(workspace))
}

fn link(dashboard: &str, code: &str) -> String {
    let minutes = SIGN_IN_LINK_LASTS.as_secs() / 60;
    format!(
        "\n  Watch it arrive in the dashboard (this link signs in once, within {minutes} minutes):\n\n{dashboard}/sign-in?link={code}\n\n"
    )
}

/// The secrets of a first start.
struct Credentials {
    workspace: WorkspaceId,
    key: String,
    token: String,
}

impl Credentials {
    /// Prints them, or writes them to a file and prints where. The file is gone again if that cannot be printed.
    fn show(&self, place: Option<&Path>) -> Result<(), ServerError> {
        let Self {
            workspace,
            key,
            token,
        } = self;
        let begin = "\n  This is the first start on an empty store.";
        let Some(path) = place else {
            return output::show_secrets(&format!(
                "{begin} Shown this once:\n\n    workspace         {workspace}\n    \
                 API key           {key}\n    management token  {token}\n\n"
            ));
        };
        let text = format!(
            "NAHOOK_WORKSPACE={workspace}\nNAHOOK_API_KEY={key}\nNAHOOK_MANAGEMENT_TOKEN={token}\n"
        );
        private_file::write(path, &text)?;
        let shown = output::show_secrets(&format!(
            "{begin} Its key (nhk_…) and its token (nhm_…) are in this file,\n  which nothing reads: \
             delete it once you have them elsewhere.\n\n    workspace         {workspace}\n    \
             API key, token    {}\n\n",
            path.display()
        ));
        if shown.is_err() {
            // The error counts.
            let _ = std::fs::remove_file(path);
        }
        shown
    }
}

fn line_to_paste(base_url: &str, key: &str, place: Option<&Path>, has_sample: bool) -> String {
    let authorization = match place {
        None => format!("'Authorization: Bearer {key}'"),
        Some(path) => {
            let path = path.display().to_string().replace('\'', "'\\''");
            format!("\"Authorization: Bearer $(. '{path}'; echo $NAHOOK_API_KEY)\"")
        }
    };
    let aftermath = if has_sample {
        "  Two sample endpoints are subscribed; the webhooks they receive are shown here.\n"
    } else {
        "  Nothing is subscribed yet: declare endpoints with `nahook apply`.\n"
    };
    format!(
        "  Trigger an event:\n\n\
         curl -X POST {base_url}/api/ingest/event/{SAMPLE_EVENT_TYPE} \
         -H {authorization} -H 'Content-Type: application/json' \
         -d '{{\"payload\":{{\"order_id\":\"ord_123\",\"amount\":49.99}}}}'\n\n{aftermath}"
    )
}
