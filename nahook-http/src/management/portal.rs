//! `/applications/{applicationId}/portal`.

use nahook_control::rules::portal_session;
use nahook_control::{NewPortalSession, PortalRole};
use nahook_core::id::ApplicationId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Made;
use super::call::Call;
use super::instant::show;
use super::labels::{Labels, Whole};
use super::query::NoQuery;
use super::routes::{About, Routes};
use crate::ApiError;

pub(super) fn add(routes: &mut Routes) {
    let about = About::post(
        "/applications/{applicationId}/portal",
        "createPortalSession",
        "Make a session for an application's portal",
    );
    routes.add(
        &about.describe("Its code can be used once, within five minutes."),
        create,
    );
}

/// A portal session to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "role": "viewer", "expiresInMinutes": 30 }))]
struct PortalSessionRequest {
    /// Rights of its holder; `admin` if absent.
    role: Option<Role>,
    /// Its duration in minutes; 60 if absent.
    #[schema(value_type = Option<u32>)]
    expires_in_minutes: Option<Whole>,
    /// Labels. Three of them give the session a look of its own, in the place of the server's: `portal_name` and `portal_logo`, the
    /// texts at the top of its pages (at most 60 and 3 characters), and `portal_accent`, a colour such as `#2f6feb`.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Labels>,
}

/// Rights of a portal session's holder.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// Everything.
    Admin,
    /// Everything but deleting.
    Editor,
    /// Looking.
    Viewer,
}

/// A portal session that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "url": "https://portal.example.com/portal?code=5f0c",
    "portalUrl": "https://portal.example.com/portal?code=5f0c",
    "code": "5f0c",
    "expiresAt": "2026-11-26T09:00:00.000Z",
}))]
struct PortalSession {
    /// URL to send the holder to.
    url: String,
    /// The same.
    portal_url: String,
    /// The code in the URL, which can be used once, within five minutes.
    code: String,
    /// Instant at which the session ends.
    #[schema(format = DateTime)]
    expires_at: String,
}

async fn create(
    call: Call<ApplicationId, NoQuery, PortalSessionRequest>,
) -> Result<Made<PortalSession>, ApiError> {
    let new = NewPortalSession {
        role: match call.body.role {
            Some(Role::Admin) | None => PortalRole::Admin,
            Some(Role::Editor) => PortalRole::Editor,
            Some(Role::Viewer) => PortalRole::Viewer,
        },
        expires_in_minutes: Whole::within(
            call.body.expires_in_minutes,
            portal_session::EXPIRES_IN_MINUTES,
        )?,
        metadata: call.body.metadata.unwrap_or_default().0,
    };
    let management = &call.api.management;
    let made = management
        .create_portal_session(&call.workspace, &call.actor, call.path, new)
        .await?;
    let code = made.code.expose();
    let url = call.api.portal_url(code);
    Ok(Made(PortalSession {
        portal_url: url.clone(),
        url,
        code: code.to_owned(),
        expires_at: show(made.session.expires_at),
    }))
}
