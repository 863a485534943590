//! Short ways to say what exists and what happens, with ids that can be foretold.
//!
//! ```
//! use nahook_testkit::declare::{Workspace, endpoint_id, scope};
//!
//! let manifest = Workspace::new("ws_shop")
//!     .event_type("order.paid")
//!     .environment("staging", &["order.paid"])
//!     .endpoint("ep_live", &["order.paid"])
//!     .endpoint_in("staging", "ep_test", &["order.paid"])
//!     .manifest();
//! assert_eq!(manifest.workspaces[0].endpoints[1].id, Some(endpoint_id("ep_test")));
//! let _staging_only = scope("ws_shop", Some("staging"));
//! ```
//!
//! # Panics
//! All of it panics on a text that is not what it should be: it is written by the author of a test.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "texts written into tests; said once for the module"
)]

use crate::SingleSend;
use nahook_control::{EndpointSpec, EnvironmentSpec, EventTypeSpec, Manifest, WorkspaceSpec};
use nahook_core::admission::{Caller, Plan};
use nahook_core::id::{ApiKeyId, EndpointId, EnvironmentId, EventTypeId, MessageId, WorkspaceId};
use nahook_core::{
    Delivery, Event, EventTypeName, EventTypePattern, EventTypeSelector, IdempotencyKey, Metadata,
    NewEvent, Payload, Scope, Timestamp,
};

/// A workspace under construction.
#[derive(Clone, Debug)]
pub struct Workspace(WorkspaceSpec);

impl Workspace {
    /// An empty workspace with this id, which is its name as well.
    pub fn new(id: &str) -> Self {
        Self(WorkspaceSpec {
            id: Some(workspace_id(id)),
            name: id.to_owned(),
            ..WorkspaceSpec::default()
        })
    }

    /// Adds an event type; its id is [`event_type_id`].
    #[must_use]
    pub fn event_type(self, name: &str) -> Self {
        let id = event_type_id(&self.0.name, name);
        self.with(|spec| {
            spec.event_types.push(EventTypeSpec {
                id: Some(id),
                ..EventTypeSpec::named(event_type_name(name))
            });
        })
    }

    /// Adds an environment that publishes these event types; its id is [`environment_id`].
    #[must_use]
    pub fn environment(self, slug: &str, published: &[&str]) -> Self {
        let id = environment_id(&self.0.name, slug);
        self.with(|spec| {
            spec.environments.push(EnvironmentSpec {
                id: Some(id),
                slug: slug.to_owned(),
                name: None,
                published: Some(published.iter().map(|name| event_type_name(name)).collect()),
            });
        })
    }

    /// Names the default environment, so that its id is [`environment_id`] of `production`.
    #[must_use]
    pub fn default_environment(self) -> Self {
        let id = environment_id(&self.0.name, "production");
        self.with(|spec| {
            spec.environments.push(EnvironmentSpec {
                id: Some(id),
                slug: "production".to_owned(),
                ..EnvironmentSpec::default()
            });
        })
    }

    /// Adds an endpoint in the default environment, subscribed to these event types and no others.
    #[must_use]
    pub fn endpoint(self, id: &str, event_types: &[&str]) -> Self {
        self.with(|spec| spec.endpoints.push(endpoint(id, event_types)))
    }

    /// Adds an endpoint in another environment, subscribed to these event types and no others.
    #[must_use]
    pub fn endpoint_in(self, slug: &str, id: &str, event_types: &[&str]) -> Self {
        self.with(|spec| {
            spec.endpoints.push(EndpointSpec {
                environment: Some(slug.to_owned()),
                ..endpoint(id, event_types)
            });
        })
    }

    /// Adds so many endpoints, subscribed to nothing; their ids are [`nth_endpoint_id`].
    #[must_use]
    pub fn endpoints(self, count: usize) -> Self {
        self.with(|spec| {
            spec.endpoints.extend((0..count).map(|n| EndpointSpec {
                event_types: None,
                ..endpoint(nth_endpoint_id(n).as_str(), &[])
            }));
        })
    }

    /// Changes the declaration in any other way.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut WorkspaceSpec)) -> Self {
        change(&mut self.0);
        self
    }

    /// The declaration of this workspace alone.
    pub fn manifest(self) -> Manifest {
        manifest([self])
    }
}

/// The declaration of several workspaces.
pub fn manifest(workspaces: impl IntoIterator<Item = Workspace>) -> Manifest {
    Manifest {
        workspaces: workspaces
            .into_iter()
            .map(|workspace| workspace.0)
            .collect(),
    }
}

/// An active endpoint in the default environment, subscribed to these event types and patterns and no others.
pub fn endpoint(id: &str, event_types: &[&str]) -> EndpointSpec {
    EndpointSpec {
        id: Some(endpoint_id(id)),
        url: format!("https://hooks.example/{id}"),
        event_types: Some(event_types.iter().map(|text| selector(text)).collect()),
        ..EndpointSpec::default()
    }
}

/// The id with this text.
pub fn workspace_id(id: &str) -> WorkspaceId {
    WorkspaceId::new(id).expect("a workspace id")
}

/// The id with this text.
pub fn endpoint_id(id: &str) -> EndpointId {
    EndpointId::new(id).expect("an endpoint id")
}

/// The id of the endpoint with this number, counted from 0, among [`Workspace::endpoints`].
pub fn nth_endpoint_id(n: usize) -> EndpointId {
    endpoint_id(&format!("ep_{n:06}"))
}

/// The id with this text.
pub fn api_key_id(id: &str) -> ApiKeyId {
    ApiKeyId::new(id).expect("an API key's id")
}

/// The id that [`Workspace::environment`] gives.
pub fn environment_id(workspace: &str, slug: &str) -> EnvironmentId {
    EnvironmentId::new(&underscored(&format!("env_{workspace}_{slug}")))
        .expect("an environment's id")
}

/// The id that [`Workspace::event_type`] gives.
pub fn event_type_id(workspace: &str, name: &str) -> EventTypeId {
    EventTypeId::new(&underscored(&format!("evt_{workspace}_{name}"))).expect("an event type's id")
}

/// The event type's name with this text.
pub fn event_type_name(name: &str) -> EventTypeName {
    EventTypeName::new(name).expect("an event type's name")
}

/// The event type's name, or the pattern, with this text.
pub fn selector(text: &str) -> EventTypeSelector {
    EventTypeSelector::new(text).expect("an event type's name or a pattern")
}

/// The pattern with this text.
pub fn pattern(text: &str) -> EventTypePattern {
    EventTypePattern::new(text).expect("a pattern")
}

/// The workspace, or the environment of it if one is given.
pub fn scope(workspace: &str, environment: Option<&str>) -> Scope {
    Scope {
        workspace: workspace_id(workspace),
        environment: environment.map(|slug| environment_id(workspace, slug)),
    }
}

/// A key of the workspace, bound to nothing, on the default plan.
pub fn caller(workspace: &str, key: &str) -> Caller {
    Caller {
        key: api_key_id(key),
        workspace: workspace_id(workspace),
        environment: None,
        endpoint: None,
        plan: Plan::default(),
    }
}

/// The payload with these bytes.
pub fn payload(json: &str) -> Payload {
    Payload::new(json.to_owned()).expect("a JSON object")
}

/// The labels with these keys and values.
pub fn metadata(labels: &[(&str, &str)]) -> Metadata {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Metadata::new(labels).expect("at most five labels")
}

/// An event as the engine passes it on, accepted at `accepted_at`. Events with different numbers have different ids
/// and payloads.
pub fn event(workspace: &str, event_type: &str, number: u64, accepted_at: Timestamp) -> Event {
    let new = NewEvent {
        event_type: event_type_name(event_type),
        payload: payload(&format!("{{\"number\":{number}}}")),
        metadata: metadata(&[("number", &number.to_string())]),
    };
    // Room for the ids of a fan-out between an event and the next.
    let id = MessageId::from_parts(accepted_at, u128::from(number) << 33);
    Event::new(
        new,
        id,
        event_type_id(workspace, event_type),
        workspace_id(workspace),
        accepted_at,
    )
}

/// The idempotency key with this text.
pub fn idempotency_key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("an idempotency key")
}

/// One payload for one endpoint, accepted at `accepted_at`. Those with different numbers have different ids and payloads.
pub fn single_send(
    workspace: &str,
    endpoint: EndpointId,
    key: Option<&str>,
    number: u64,
    accepted_at: Timestamp,
) -> SingleSend {
    let id = MessageId::from_parts(accepted_at, u128::from(number) << 33);
    let payload = payload(&format!("{{\"number\":{number}}}"));
    let (workspace, key) = (workspace_id(workspace), key.map(idempotency_key));
    SingleSend::new(
        Event::direct(payload, id, workspace, key, accepted_at),
        endpoint,
    )
}

/// An unresolved slot of the event for each endpoint, in that order.
pub fn deliveries(event: &Event, endpoints: &[EndpointId]) -> Vec<Delivery> {
    (0..)
        .zip(endpoints)
        .map(|(ordinal, endpoint)| Delivery::new(event.id, ordinal, *endpoint))
        .collect()
}

fn underscored(text: &str) -> String {
    text.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}
