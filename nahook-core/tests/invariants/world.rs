//! Several workspaces that use the same names, in a real store.

use nahook_control::{EndpointSpec, EnvironmentSpec, EventTypeSpec, Manifest, WorkspaceSpec};
use nahook_core::EventTypeName;
use nahook_core::admission::{Caller, Plan};
use nahook_core::id::{ApiKeyId, EndpointId, EnvironmentId, WorkspaceId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const NAMES: [&str; 3] = ["order.paid", "order.refunded", "user"];
const SLUGS: [&str; 3] = ["production", "staging", "test"];

/// The workspaces and their subscriptions in a case.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) workspaces: Vec<Workspace>,
}

#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    /// True for each of the names that it has an event type for.
    event_types: [bool; NAMES.len()],
    /// Its environments, the default one first, with what each publishes.
    environments: Vec<[bool; NAMES.len()]>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    environment: usize,
    pub(crate) is_active: bool,
    subscribed: [bool; NAMES.len()],
}

/// A caller and the event that it triggers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trigger {
    pub(crate) workspace: usize,
    pub(crate) environment: Option<usize>,
    name: usize,
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let names = || [any::<bool>(), any::<bool>(), any::<bool>()];
    let mostly = || prop::bool::weighted(0.8);
    let workspace = (
        [mostly(), mostly(), mostly()],
        vec(names(), 1..=SLUGS.len()),
        vec((any::<Index>(), mostly(), names()), 0..12),
    )
        .prop_map(|(event_types, environments, endpoints)| Workspace {
            event_types,
            endpoints: endpoints
                .into_iter()
                .map(|(environment, is_active, subscribed)| Endpoint {
                    environment: environment.index(environments.len()),
                    is_active,
                    subscribed,
                })
                .collect(),
            environments,
        });
    vec(workspace, 1..4).prop_map(|workspaces| World { workspaces })
}

/// Anything that anybody may trigger in that world.
pub(crate) fn triggers_in(world: &World) -> impl Strategy<Value = Trigger> + use<> {
    let environments: Vec<_> = world
        .workspaces
        .iter()
        .map(|workspace| workspace.environments.len())
        .collect();
    (
        0..environments.len(),
        any::<Option<Index>>(),
        0..NAMES.len(),
    )
        .prop_map(move |(workspace, environment, name)| Trigger {
            workspace,
            environment: environment.map(|index| index.index(environments[workspace])),
            name,
        })
}

impl World {
    /// Returns the endpoints that the trigger has to reach; `None` if the event type does not exist.
    pub(crate) fn reached_by(&self, trigger: Trigger) -> Option<Vec<EndpointId>> {
        let Trigger {
            workspace: at,
            environment,
            name,
        } = trigger;
        let workspace = &self.workspaces[at];
        if !workspace.event_types[name] {
            return None;
        }
        let is_published =
            environment.is_none_or(|env| env == 0 || workspace.environments[env][name]);
        let reached = workspace
            .endpoints
            .iter()
            .enumerate()
            .filter(|(_, endpoint)| is_published && endpoint.is_active && endpoint.subscribed[name])
            .filter(|(_, endpoint)| environment.is_none_or(|env| env == endpoint.environment))
            .map(|(number, _)| endpoint_id(at, number));
        Some(reached.collect())
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let workspaces = self.workspaces.iter().enumerate();
        Manifest {
            workspaces: workspaces.map(|(at, spec)| spec.declared(at)).collect(),
        }
    }
}

impl Workspace {
    fn declared(&self, at: usize) -> WorkspaceSpec {
        let names = |chosen: &[bool; NAMES.len()]| -> Vec<EventTypeName> {
            (0..NAMES.len())
                .filter(|name| chosen[*name] && self.event_types[*name])
                .map(event_type)
                .collect()
        };
        let environments = self.environments.iter().enumerate();
        let endpoints = self.endpoints.iter().enumerate();
        WorkspaceSpec {
            id: Some(workspace_id(at)),
            name: format!("workspace {at}"),
            event_types: names(&[true; NAMES.len()])
                .into_iter()
                .map(EventTypeSpec::named)
                .collect(),
            environments: environments
                .map(|(env, published)| EnvironmentSpec {
                    id: Some(environment_id(at, env)),
                    slug: SLUGS[env].to_owned(),
                    name: None,
                    published: (env > 0).then(|| names(published)),
                })
                .collect(),
            endpoints: endpoints
                .map(|(number, endpoint)| EndpointSpec {
                    id: Some(endpoint_id(at, number)),
                    environment: Some(SLUGS[endpoint.environment].to_owned()),
                    // The same addresses in every workspace.
                    url: format!("https://receiver.test/{number}"),
                    is_active: Some(endpoint.is_active),
                    event_types: Some(
                        names(&endpoint.subscribed)
                            .into_iter()
                            .map(Into::into)
                            .collect(),
                    ),
                    ..EndpointSpec::default()
                })
                .collect(),
            ..WorkspaceSpec::default()
        }
    }
}

impl Trigger {
    pub(crate) fn name(self) -> EventTypeName {
        event_type(self.name)
    }

    pub(crate) fn caller(self) -> Caller {
        Caller {
            key: ApiKeyId::from_bits(self.workspace as u128),
            workspace: workspace_id(self.workspace),
            environment: self
                .environment
                .map(|env| environment_id(self.workspace, env)),
            endpoint: None,
            plan: Plan::default(),
        }
    }
}

pub(crate) fn workspace_id(at: usize) -> WorkspaceId {
    WorkspaceId::from_bits(at as u128)
}

fn environment_id(workspace: usize, at: usize) -> EnvironmentId {
    EnvironmentId::from_bits((workspace * 100 + at) as u128)
}

fn endpoint_id(workspace: usize, number: usize) -> EndpointId {
    // Neither in the order of subscribing nor of the workspaces.
    EndpointId::from_bits((1_000 - number * 10 + workspace) as u128)
}

fn event_type(name: usize) -> EventTypeName {
    EventTypeName::new(NAMES[name]).unwrap()
}
