//! Keys of an operator, and endpoints whose every secret is known.

use nahook_control::{
    Actor, EndpointKind, EndpointRecord, Management, ManagementStore, MasterKeys, NewEndpoint,
    SecretText,
};
use nahook_core::id::WorkspaceId;

/// Keys in base64, each of 32 bytes.
pub const MASTER_KEYS: [&str; 2] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=",
];

/// The password of a [`webhook`].
pub const PASSWORD: &str = "the password of the receiver";
/// The URL of a [`slack`] endpoint.
pub const SLACK_URL: &str = "https://hooks.slack.test/services/the-hidden-path";

/// Keys of an operator, the first of which seals.
///
/// # Panics
/// The text holds none.
#[expect(clippy::unwrap_used, reason = "a test names its keys")]
pub fn master_keys(text: &str) -> MasterKeys {
    MasterKeys::parse(text).unwrap()
}

/// Makes an endpoint with basic authentication and a setting.
///
/// # Panics
/// The store refuses it.
#[expect(clippy::unwrap_used, reason = "a test that cannot arrange has failed")]
pub async fn webhook(store: impl ManagementStore, workspace: &WorkspaceId) -> EndpointRecord {
    let new = NewEndpoint {
        url: Some("https://receiver.test/".to_owned()),
        auth_username: Some("nahook".to_owned()),
        auth_password: Some(SecretText::new(PASSWORD)),
        ..NewEndpoint::default()
    };
    let (management, actor) = (Management::new(store), Actor::operator());
    let created = management.create_endpoint(workspace, &actor, new).await;
    created.unwrap()
}

/// Makes an endpoint on Slack.
///
/// # Panics
/// The store refuses it.
#[expect(clippy::unwrap_used, reason = "a test that cannot arrange has failed")]
pub async fn slack(store: impl ManagementStore, workspace: &WorkspaceId) -> EndpointRecord {
    let config = [("webhookUrl".to_owned(), SLACK_URL.into())];
    let new = NewEndpoint {
        kind: EndpointKind::Slack,
        config: config.into_iter().collect(),
        ..NewEndpoint::default()
    };
    let (management, actor) = (Management::new(store), Actor::operator());
    let created = management.create_endpoint(workspace, &actor, new).await;
    created.unwrap()
}
