//! From a request to what an operation needs, in the order of the checks: token, workspace, path, query, body.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use nahook_control::{
    Actor, KeyEntry, KeyHash, KeyStore as _, MANAGEMENT_TOKEN_PREFIX, ManagementStore as _, Select,
    TokenHolder,
};
use nahook_core::Causes;
use nahook_core::id::{EndpointId, WorkspaceId};
use tokio::time::{Instant, timeout_at};

use super::ManagementApi;
use super::answer::Answer;
use super::body::BodyArgs;
use super::lists;
use super::path::{PathArgs, PathId as _};
use super::query::{self, QueryArgs};
use super::refusal::missing;
use super::report::Report;
use crate::ingestion::{Charged, ReadError, Unread, bearer};
use crate::{ApiError, BudgetKind, Permit, RequestContext};

/// The code of a success.
const OK: &str = "ok";
/// Bytes of a refused request's body that are read and dropped, so that the connection lives on.
const DISCARD_LEN_MAX: usize = 1024 * 1024;

/// Arguments of an operation, and its caller.
pub(super) struct Call<P, Q, B> {
    pub(super) api: ManagementApi,
    pub(super) workspace: WorkspaceId,
    pub(super) token: TokenHolder,
    pub(super) actor: Actor,
    /// Instant until which the call waits for its turn: a little before its time is up, so that it is told why.
    pub(super) turn_by: Instant,
    pub(super) path: P,
    pub(super) query: Q,
    pub(super) body: B,
}

impl ManagementApi {
    /// Begins an operator's action, which draws on the plan as the workspace's keys do. It is under way until the permit is dropped.
    ///
    /// # Errors
    /// The workspace has too many under way, or the machine is short of something.
    pub async fn begin_action(&self, workspace: &WorkspaceId) -> Result<Permit, ApiError> {
        self.pressure.check()?;
        let permit = self
            .budgets
            .try_take(*workspace, BudgetKind::OperatorActions, 1)?;
        let rows = self
            .ports
            .store
            .read(workspace, &[Select::Workspace])
            .await?;
        if let Some(row) = rows.workspaces.first() {
            self.budgets.set_plan(*workspace, &row.plan);
        }
        Ok(permit)
    }
}

/// Lets `operation` answer a request, and tells of it.
pub(super) async fn answer<P, Q, B, A, F, O>(
    api: ManagementApi,
    id: &'static str,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    operation: O,
) -> Response
where
    P: PathArgs,
    Q: QueryArgs,
    B: BodyArgs,
    A: Answer,
    F: Future<Output = Result<A, ApiError>> + Send,
    O: Fn(Call<P, Q, B>) -> F + Send + Sync,
{
    let context = RequestContext::of(request.extensions());
    let deadline = context.arrived + api.settings.timeout;
    let (head, body) = request.into_parts();
    let mut body = Unread::new(body, &head.headers);
    let mut report = Report::new(id, context);
    let calling = async {
        let call = read(&api, &head, path, &mut body, &mut report, deadline).await?;
        let asked = Asked {
            api: &api,
            workspace: call.workspace,
            turn_by: call.turn_by,
            is_change: !head.method.is_safe(),
        };
        let performing = perform(&asked, || operation(call));
        timeout_at(deadline, performing)
            .await
            .unwrap_or_else(|_| Err(too_late(&head.method)))
    };
    let answered = calling.await;
    let code = answered.as_ref().map_or_else(ApiError::code, |_| OK);
    let mut response = answered.unwrap_or_else(ApiError::into_response);
    if !body.discard(DISCARD_LEN_MAX, deadline).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    // Some answers have a secret, and none is worth keeping.
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    report.answered(response.status().as_u16(), code);
    response
}

/// Facts about a request that its turn depends on.
struct Asked<'a> {
    api: &'a ManagementApi,
    workspace: WorkspaceId,
    turn_by: Instant,
    is_change: bool,
}

/// Runs the operation when it is its workspace's turn, and writes its answer. Lists wait for room besides.
async fn perform<A: Answer, F>(
    asked: &Asked<'_>,
    operation: impl FnOnce() -> F + Send,
) -> Result<Response, ApiError>
where
    F: Future<Output = Result<A, ApiError>> + Send,
{
    let (budgets, workspace) = (&asked.api.budgets, asked.workspace);
    let turn = match (A::IS_LIST, asked.is_change) {
        (true, _) => Some(BudgetKind::ListReads),
        (false, true) => Some(BudgetKind::CatalogChanges),
        (false, false) => None,
    };
    let _turn = match turn {
        Some(kind) => Some(budgets.take(workspace, kind, 1, asked.turn_by).await?),
        None => None,
    };
    let json = operation().await?.into_json().map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        ApiError::internal()
    })?;
    let Some(json) = json else {
        return Ok(A::STATUS.into_response());
    };
    let json = if A::IS_LIST {
        lists::hold(budgets, workspace, json, asked.turn_by).await?
    } else {
        json.into()
    };
    let content_type = HeaderValue::from_static("application/json");
    Ok((A::STATUS, [(header::CONTENT_TYPE, content_type)], json).into_response())
}

async fn read<P: PathArgs, Q: QueryArgs, B: BodyArgs>(
    api: &ManagementApi,
    head: &Parts,
    path: Result<RawPathParams, RawPathParamsRejection>,
    body: &mut Unread,
    report: &mut Report,
    deadline: Instant,
) -> Result<Call<P, Q, B>, ApiError> {
    let token = timeout_at(deadline, authenticate(api, &head.headers))
        .await
        .unwrap_or_else(|_| Err(too_late(&Method::GET)))?;
    let workspace = token.workspace;
    report.token(token.token, workspace)?;
    // What is not UTF-8 is the id of nothing.
    let path = path.map_err(|_| missing(WorkspaceId::OF))?;
    let mut ids = path.iter().map(|(_, text)| text);
    // Another workspace is not told from one that does not exist.
    if ids.next() != Some(workspace.as_str()) {
        return Err(missing(WorkspaceId::OF));
    }
    if token.is_read_only && !head.method.is_safe() {
        return Err(ApiError::token_read_only());
    }
    let path = P::read(&mut ids)?;
    let query = query::read(head.uri.query())?;
    let budgets = &api.budgets;
    budgets.spend(workspace, BudgetKind::ManagementCalls, 1)?;
    let len_max = api.settings.body_len_max;
    let body = if B::IS_READ {
        let mut charged = Charged::new(budgets, workspace);
        let json = body.read(len_max, deadline, &mut charged).await;
        B::read(&json.map_err(|error| not_read(error, len_max))?)?
    } else {
        B::read(b"")?
    };
    let actor = timeout_at(deadline, actor(api, &head.method, &token))
        .await
        .unwrap_or_else(|_| Err(too_late(&Method::GET)))?;
    Ok(Call {
        api: api.clone(),
        workspace,
        token,
        actor,
        turn_by: deadline - api.settings.timeout / 10,
        path,
        query,
        body,
    })
}

/// The token that the `Authorization` header holds, and its workspace.
async fn authenticate(api: &ManagementApi, headers: &HeaderMap) -> Result<TokenHolder, ApiError> {
    let token = bearer(headers)
        .filter(|token| token.starts_with(MANAGEMENT_TOKEN_PREFIX))
        .ok_or_else(ApiError::unauthorized_token)?;
    let found = api.ports.keys.management_token(&KeyHash::of(token)).await;
    match found {
        Ok(Some(KeyEntry { disabled: true, .. })) => Err(ApiError::token_disabled()),
        Ok(Some(KeyEntry { identity, .. })) => Ok(identity),
        Ok(None) => Err(ApiError::unauthorized_token()),
        Err(error) => {
            tracing::error!(error = %Causes(&error), "token look-up failed");
            Err(ApiError::unavailable("The key store is unavailable"))
        }
    }
}

/// Returns the actor for the audit log. The token's name is looked up only where there may be something to log.
async fn actor(
    api: &ManagementApi,
    method: &Method,
    token: &TokenHolder,
) -> Result<Actor, ApiError> {
    if method.is_safe() {
        return Ok(Actor::token(token.token, ""));
    }
    named_actor(api, token).await
}

/// Returns the actor with the token's name.
async fn named_actor(api: &ManagementApi, token: &TokenHolder) -> Result<Actor, ApiError> {
    let (id, store) = (token.token, &api.ports.store);
    let selection = [Select::ManagementToken(id)];
    let rows = store.read(&token.workspace, &selection).await?;
    let found = rows.management_tokens.into_iter().next();
    let name = found.map(|row| row.name);
    Ok(Actor::token(id, name.unwrap_or_default()))
}

impl<P, Q, B> Call<P, Q, B> {
    /// Returns true if the caller may see secrets.
    pub(super) fn sees_secrets(&self) -> bool {
        !self.token.is_read_only
    }
}

/// Says in the audit log that the holder of the token reads the secret of the endpoint. If that fails, it is not to be shown.
pub(super) async fn record_secret_read(
    api: &ManagementApi,
    token: &TokenHolder,
    endpoint: EndpointId,
) -> Result<(), ApiError> {
    let reads = &api.secret_reads;
    if reads.is_told(token.token, endpoint) {
        return Ok(());
    }
    let actor = named_actor(api, token).await?;
    let recorded = api
        .management
        .record_secret_read(&token.workspace, &actor, endpoint);
    recorded.await?;
    reads.told(token.token, endpoint);
    Ok(())
}

pub(super) fn not_read(error: ReadError, len_max: usize) -> ApiError {
    match error {
        ReadError::Broken => ApiError::validation("the body could not be read to its end"),
        ReadError::Refused(refused) => refused.into(),
        ReadError::TooLate => ApiError::request_timeout(),
        ReadError::TooLong => ApiError::body_too_large(len_max),
    }
}

fn too_late(method: &Method) -> ApiError {
    ApiError::unavailable(if method.is_safe() {
        "The store did not answer in time"
    } else {
        "The store did not answer in time; the change may have been made"
    })
}
