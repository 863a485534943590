//! `nahook test-event`, `nahook retry` and `nahook dry-run`: the Management API's routes for operators, at a running server.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::Method;
use nahook_core::Payload;
use nahook_core::id::{DeliveryId, EndpointId, EnvironmentId, EventTypeId, WorkspaceId};
use serde_json::json;

use crate::ServerError;
use crate::client::{self, Access};
use crate::given_secret::TokenArgs;
use crate::trigger::{read_payload, show, usage};

/// Which workspace, and by what right.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct ManagementArgs {
    /// The workspace's id.
    #[arg(long, env = "NAHOOK_WORKSPACE", value_name = "ID")]
    pub workspace: String,
    /// URL of the server.
    #[arg(long, env = "NAHOOK_URL", default_value = "http://127.0.0.1:3001")]
    pub url: String,
    /// The management token.
    #[command(flatten)]
    pub token: TokenArgs,
}

/// Arguments of `nahook test-event`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct TestEventArgs {
    /// The endpoint's id.
    pub endpoint: String,
    /// The payload, a JSON object; @FILE reads it from a file, @- from standard input. A small sample if absent.
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Access to the Management API.
    #[command(flatten)]
    pub management: ManagementArgs,
}

/// Arguments of `nahook retry`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct RetryArgs {
    /// The delivery's id.
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    pub delivery: Option<String>,
    /// The id of the endpoint whose deliveries to attempt again, up to a step's worth: the answer says whether these were all.
    #[arg(long, value_name = "ID", requires = "since")]
    pub endpoint: Option<String>,
    /// Only those that were accepted then or later: an instant or a day in ISO 8601.
    #[arg(long, value_name = "INSTANT", requires = "endpoint")]
    pub since: Option<String>,
    /// Access to the Management API.
    #[command(flatten)]
    pub management: ManagementArgs,
}

/// Arguments of `nahook dry-run`.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct DryRunArgs {
    /// The event type's id.
    pub event_type: String,
    /// The id of the environment whose key would be used; absent for a key of the whole workspace.
    #[arg(long, value_name = "ID")]
    pub environment: Option<String>,
    /// Access to the Management API.
    #[command(flatten)]
    pub management: ManagementArgs,
}

/// Sends a test event, prints the answer and fails unless it was accepted.
pub async fn test_event(args: TestEventArgs) -> Result<ExitCode, ServerError> {
    let endpoint: EndpointId = id(&args.endpoint)?;
    let body = match &args.payload {
        None => Bytes::new(),
        Some(payload) => {
            let payload = Payload::new(read_payload(payload)?);
            let payload = payload.map_err(|error| usage(error.to_string()))?;
            // As they are, so that the endpoint gets the very bytes.
            [&b"{\"payload\":"[..], payload.as_bytes(), b"}"]
                .concat()
                .into()
        }
    };
    let path = format!("/endpoints/{endpoint}/test");
    args.management.ask(Method::POST, &path, body).await
}

/// Queues what was given up again, prints the answer and fails unless it was.
pub async fn retry(args: RetryArgs) -> Result<ExitCode, ServerError> {
    let management = &args.management;
    match (&args.delivery, &args.endpoint) {
        (Some(delivery), _) => {
            let delivery: DeliveryId = id(delivery)?;
            let path = format!("/deliveries/{delivery}/retry");
            management.ask(Method::POST, &path, Bytes::new()).await
        }
        (None, Some(endpoint)) => {
            let endpoint: EndpointId = id(endpoint)?;
            let path = format!("/endpoints/{endpoint}/deliveries/retry");
            let body = json!({ "since": args.since }).to_string().into();
            management.ask(Method::POST, &path, body).await
        }
        (None, None) => Err(usage("which delivery?".to_owned())),
    }
}

/// Prints who would get an event; nothing is queued.
pub async fn dry_run(args: DryRunArgs) -> Result<ExitCode, ServerError> {
    let event_type: EventTypeId = id(&args.event_type)?;
    let path = format!("/event-types/{event_type}/dry-run");
    let path = match &args.environment {
        Some(environment) => {
            let environment: EnvironmentId = id(environment)?;
            format!("{path}?environmentId={environment}")
        }
        None => path,
    };
    args.management.ask(Method::GET, &path, Bytes::new()).await
}

impl ManagementArgs {
    /// Asks for what is at `path` in the workspace, and shows the answer.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<ExitCode, ServerError> {
        let workspace: WorkspaceId = id(&self.workspace)?;
        let access = Access {
            base_url: self.url.clone(),
            secret: self.token.secret()?,
        };
        let path = format!("/management/v1/workspaces/{workspace}{path}");
        show(client::ask(&access, method, &path, body).await?)
    }
}

/// An id that can stand in a path.
fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ServerError> {
    text.parse()
        .map_err(|error: T::Err| usage(error.to_string()))
}
