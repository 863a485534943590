//! Managing what is in a workspace: the file decides and keeps what the store in memory does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{
    Actor, ActorKind, ApplicationPatch, ApplyMode, AuditEntry, AuditQuery, Catalog,
    EndpointDirectory, EndpointPatch, HealthReport, HealthState, KeyState, Management,
    ManagementStore, NewApiKey, NewApplication, NewEndpoint, NewEnvironment, NewPortalSession,
    SecretText, Select,
};
use nahook_core::IdSource;
use nahook_core::id::{
    ApplicationId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId, WorkspaceId,
};
use nahook_memory::MemoryStore;
use nahook_sqlite::{SqliteSettings, SqliteStore};
use nahook_testkit::declare::{
    Workspace, endpoint_id, event_type_id, event_type_name, manifest, workspace_id,
};
use nahook_testkit::{ManualClock, SeededIds};

use crate::support::{NOW, Place};

const SHOP: &str = "ws_shop";
const OTHER: &str = "ws_other";

#[tokio::test]
async fn the_file_decides_as_the_store_in_memory_does() {
    let clock = ManualClock::starting_at(NOW);
    let ids = SeededIds::new(5);
    // The file's store draws its first lease token when it is opened.
    ids.random();
    let memory = MemoryStore::new(Arc::new(clock.clone()), Arc::new(ids));
    let expected = Run::new(memory, clock).everything().await;

    let (place, clock) = (Place::new(), ManualClock::starting_at(NOW));
    let settings = SqliteSettings::server()
        .with_clock(clock.clone())
        .with_ids(SeededIds::new(5));
    let file = SqliteStore::open(place.file(), settings).unwrap();
    let told = Run::new(file, clock).everything().await;
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
}

/// A store, and what it has answered line by line.
struct Run<S> {
    store: S,
    management: Management<S>,
    clock: ManualClock,
    actor: Actor,
    told: Vec<String>,
    shop: WorkspaceId,
    other: WorkspaceId,
    paid: EventTypeId,
    sent: EventTypeId,
}

/// Ids of the records made, to be looked up.
struct Made {
    application: ApplicationId,
    endpoint: EndpointId,
    environment: EnvironmentId,
}

impl<S> Run<S>
where
    S: ManagementStore + Catalog + EndpointDirectory + Clone,
{
    fn new(store: S, clock: ManualClock) -> Self {
        let management = Management::new(store.clone())
            .with_clock(clock.clone())
            .with_ids(SeededIds::new(9));
        Self {
            store,
            management,
            clock,
            actor: Actor::token(ManagementTokenId::from_bits(7), "the tests"),
            told: Vec::new(),
            shop: workspace_id(SHOP),
            other: workspace_id(OTHER),
            paid: event_type_id(SHOP, "order.paid"),
            sent: event_type_id(SHOP, "order.sent"),
        }
    }

    /// Does a little of everything.
    async fn everything(mut self) -> Vec<String> {
        let tenants = manifest([
            Workspace::new(SHOP)
                .event_type("order.paid")
                .event_type("order.sent")
                .default_environment()
                .environment("staging", &["order.paid"])
                .endpoint("ep_a", &["order.paid", "order.sent"])
                .endpoint("ep_b", &["order.paid"]),
            Workspace::new(OTHER)
                .event_type("order.paid")
                .endpoint("ep_other", &["order.paid"]),
        ]);
        self.store.apply(&tenants, ApplyMode::Commit).await.unwrap();
        let application = self.applications().await;
        let endpoint = self.endpoints(application).await;
        self.subscriptions(endpoint).await;
        let environment = self.environments().await;
        let made = Made {
            application,
            endpoint,
            environment,
        };
        let lost = self.event_types(endpoint).await;
        self.keys(&made).await;
        self.look_at_everything(&made).await;
        self.removals(&made, lost).await;
        self.look_at_everything(&made).await;
        self.told
    }

    /// Notes an answer, and lets a second pass.
    fn tell<T: Debug>(&mut self, what: &str, answer: T) -> T {
        self.told.push(format!("{what}: {answer:?}"));
        self.clock.advance(Duration::from_secs(1));
        answer
    }

    async fn applications(&mut self) -> ApplicationId {
        let named = |name: &str, max_endpoints| NewApplication {
            name: name.to_owned(),
            external_id: Some(format!("ext-{name}")),
            metadata: BTreeMap::from([("plan".to_owned(), "gold".to_owned())]),
            max_endpoints,
            show_event_types: true,
        };
        let mut first = None;
        for (workspace, name) in [
            (self.shop, "one"),
            (self.shop, "one"),
            (self.other, "one"),
            (self.shop, "two"),
        ] {
            let new = named(name, Some(2));
            let made = self
                .management
                .create_application(&workspace, &self.actor, new)
                .await;
            let made = self.tell("application", made);
            first = first.or(made.ok().map(|row| row.id));
        }
        let first = first.unwrap();
        let patch = ApplicationPatch {
            name: Some("eins".to_owned()),
            max_endpoints: Some(None),
            ..ApplicationPatch::default()
        };
        for id in [first, ApplicationId::from_bits(1)] {
            let (shop, patch) = (self.shop, patch.clone());
            let updated = self
                .management
                .update_application(&shop, &self.actor, id, patch)
                .await;
            self.tell("application updated", updated).ok();
        }
        first
    }

    async fn endpoints(&mut self, application: ApplicationId) -> EndpointId {
        let new = NewEndpoint {
            url: Some("https://hooks.example/app".to_owned()),
            application: Some(application),
            auth_username: Some("user".to_owned()),
            auth_password: Some(SecretText::new("word")),
            ..NewEndpoint::default()
        };
        let (management, actor) = (self.management.clone(), self.actor.clone());
        let made = management
            .create_endpoint(&self.shop, &actor, new.clone())
            .await;
        let id = self.tell("endpoint", made).unwrap().id;
        let elsewhere = management.create_endpoint(&self.other, &actor, new).await;
        self.tell("endpoint of another's application", elsewhere)
            .ok();
        let rotated = management.rotate_secret(&self.shop, &actor, id).await;
        self.tell("secret", rotated).ok();
        let targets = self.store.targets(&[id]).await.unwrap();
        assert_eq!(targets[0].as_ref().unwrap().secrets.len(), 2);
        self.tell("both sign", targets);
        self.clock.advance(Duration::from_hours(24));
        let targets = self.store.targets(&[id]).await.unwrap();
        assert_eq!(targets[0].as_ref().unwrap().secrets.len(), 1);
        self.tell("the new one signs", targets);
        let off = EndpointPatch {
            is_active: Some(false),
            description: Some(Some("off".to_owned())),
            auth_password: Some(None),
            ..EndpointPatch::default()
        };
        for workspace in [self.shop, self.other] {
            let patch = off.clone();
            let updated = management
                .update_endpoint(&workspace, &actor, id, patch)
                .await;
            self.tell("endpoint updated", updated).ok();
        }
        id
    }

    async fn subscriptions(&mut self, endpoint: EndpointId) {
        let anothers = event_type_id(OTHER, "order.paid");
        let (management, actor, shop) = (self.management.clone(), self.actor.clone(), self.shop);
        for types in [vec![self.paid, self.sent], vec![self.paid, anothers]] {
            let subscribed = management.subscribe(&shop, &actor, endpoint, types).await;
            self.tell("subscribed", subscribed).ok();
        }
        for _ in 0..2 {
            let ended = management
                .unsubscribe(&shop, &actor, endpoint, self.sent)
                .await;
            self.tell("unsubscribed", ended).ok();
        }
    }

    async fn environments(&mut self) -> EnvironmentId {
        let (management, actor, shop) = (self.management.clone(), self.actor.clone(), self.shop);
        for slug in ["qa", "staging"] {
            let new = NewEnvironment {
                name: slug.to_uppercase(),
                slug: slug.to_owned(),
            };
            let made = management.create_environment(&shop, &actor, new).await;
            self.tell("environment", made).ok();
        }
        let environments = management.environments(&shop).await.unwrap();
        let staging = environments.iter().find(|row| row.slug == "staging");
        let staging = staging.unwrap().id;
        for published in [true, false, true] {
            let visible = management
                .set_visibility(&shop, &actor, staging, self.sent, published)
                .await;
            self.tell("visibility", visible).ok();
        }
        let visible = management.visibility(&shop, staging).await;
        self.tell("visible", visible).ok();
        staging
    }

    async fn event_types(&mut self, endpoint: EndpointId) -> EventTypeId {
        let (management, actor, shop) = (self.management.clone(), self.actor.clone(), self.shop);
        let mut first = None;
        for description in [Some("Lost".to_owned()), None] {
            let name = event_type_name("order.lost");
            let made = management
                .create_event_type(&shop, &actor, name, description)
                .await;
            let made = self.tell("event type", made);
            first = first.or(made.ok().map(|view| view.event_type.id));
        }
        let first = first.unwrap();
        let subscribed = management
            .subscribe(&shop, &actor, endpoint, vec![first])
            .await;
        self.tell("subscribed", subscribed).ok();
        first
    }

    async fn keys(&mut self, made: &Made) {
        let (management, actor, shop) = (self.management.clone(), self.actor.clone(), self.shop);
        for (name, is_bound) in [("e", true), ("w", false), ("w", false)] {
            let new = NewApiKey {
                name: name.to_owned(),
                environment: is_bound.then_some(made.environment),
                endpoint: is_bound.then_some(made.endpoint),
            };
            let key = management.create_api_key(&shop, &actor, new).await;
            self.tell("key", key.map(|(row, _)| row)).ok();
        }
        let name = "t".to_owned();
        let token = management.create_management_token(&shop, &actor, name);
        let token = token.await.unwrap().0.id;
        for state in [
            KeyState::Disabled,
            KeyState::Active,
            KeyState::Revoked,
            KeyState::Active,
        ] {
            let set = management
                .set_management_token_state(&shop, &actor, token, state)
                .await;
            self.tell("token", set).ok();
        }
        let session = NewPortalSession::default();
        let session = management
            .create_portal_session(&shop, &actor, made.application, session)
            .await;
        self.tell("session", session.map(|made| made.session)).ok();
    }

    async fn removals(&mut self, made: &Made, event_type: EventTypeId) {
        let (management, actor, shop) = (self.management.clone(), self.actor.clone(), self.shop);
        let disable = HealthReport {
            endpoint: endpoint_id("ep_b"),
            state: HealthState::Disable,
        };
        self.store.report(&[disable, disable]).await.unwrap();
        let name = event_type_name("made.up");
        let ensured = self.store.ensure_event_type(&name, &shop).await;
        self.tell("made up", ensured).ok();
        for _ in 0..2 {
            let gone = management.delete_event_type(&shop, &actor, event_type);
            let gone = gone.await;
            self.tell("event type deleted", gone).ok();
            let gone = management.delete_environment(&shop, &actor, made.environment);
            let gone = gone.await;
            self.tell("environment deleted", gone).ok();
            let gone = management.delete_application(&shop, &actor, made.application);
            let gone = gone.await;
            self.tell("application deleted", gone).ok();
        }
        let gone = management.delete_endpoint(&shop, &actor, made.endpoint);
        let gone = gone.await;
        self.tell("endpoint went with its application", gone).ok();
    }

    async fn look_at_everything(&mut self, made: &Made) {
        let selections = [
            vec![Select::Workspace, Select::ApiKeys, Select::ManagementTokens],
            vec![Select::Application(made.application)],
            vec![applications(0, u64::MAX)],
            vec![applications(1, 1)],
            vec![Select::ApplicationCalled("ext-two".to_owned())],
            vec![Select::Endpoint(made.endpoint), Select::Endpoints],
            vec![Select::EndpointsOf(made.application)],
            vec![
                Select::Environments,
                Select::PublicationsIn(made.environment),
            ],
            vec![Select::EventTypesWith(vec![
                self.sent, self.paid, self.sent,
            ])],
            vec![Select::EventTypes, Select::SubscriptionsOf(made.endpoint)],
            vec![
                Select::SubscribersTo(self.paid),
                Select::SubscriptionsOf(made.endpoint),
            ],
        ];
        for workspace in [self.shop, self.other, workspace_id("ws_none")] {
            for selection in &selections {
                let rows = self.store.read(&workspace, selection).await.unwrap();
                self.told
                    .push(format!("{workspace} {selection:?}: {rows:?}"));
            }
            for ids in [None, Some(vec![self.paid, self.sent])] {
                let selection = [Select::SubscriberCounts(ids)];
                let rows = self.store.read(&workspace, &selection).await.unwrap();
                let counts: BTreeMap<_, _> = rows.subscriber_counts.into_iter().collect();
                self.told
                    .push(format!("{workspace} subscribers: {counts:?}"));
            }
            self.look_at_the_audit_log(workspace).await;
        }
    }

    async fn look_at_the_audit_log(&mut self, workspace: WorkspaceId) {
        let all = AuditQuery {
            limit: u64::MAX,
            ..AuditQuery::default()
        };
        let noon = Some(NOW.saturating_add(Duration::from_secs(5)));
        let queries = [
            all.clone(),
            AuditQuery {
                action: Some("endpoint.created".to_owned()),
                ..all.clone()
            },
            AuditQuery {
                resource_type: Some("api_key".to_owned()),
                ..all.clone()
            },
            AuditQuery {
                actor_kind: Some(ActorKind::System),
                ..all.clone()
            },
            AuditQuery {
                from: noon,
                ..all.clone()
            },
            AuditQuery {
                to: noon,
                ..all.clone()
            },
        ];
        for query in queries {
            let page = self.store.audit_log(&workspace, &query).await.unwrap();
            assert_eq!(page.total, page.entries.len() as u64);
            let mut told: Vec<_> = page.entries.iter().map(in_words).collect();
            assert!(told.is_sorted_by(|one, next| one.0 >= next.0));
            // The order of those of one instant is each store's own.
            told.sort();
            self.told.push(format!("{workspace} {query:?}: {told:?}"));
        }
        // A page is a part of the whole.
        let whole = self.store.audit_log(&workspace, &all).await.unwrap();
        let query = AuditQuery {
            offset: 2,
            limit: 3,
            ..AuditQuery::default()
        };
        let page = self.store.audit_log(&workspace, &query).await.unwrap();
        let entries: Vec<_> = whole.entries.into_iter().skip(2).take(3).collect();
        assert_eq!((page.entries, page.total), (entries, whole.total));
    }
}

/// All of an entry but its id, which each store draws.
fn in_words(entry: &AuditEntry) -> (u64, String) {
    let AuditEntry {
        actor,
        action,
        resource_type,
        metadata,
        ..
    } = entry;
    let words = format!("{actor:?} {action} {resource_type} {metadata:?}");
    (entry.created_at.as_nanos(), words)
}

fn applications(offset: u64, limit: u64) -> Select {
    Select::Applications { offset, limit }
}
