//! A workspace with two customers, and another workspace beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use nahook_control::{
    Actor, ApplyMode, Catalog as _, EventTypeSpec, Management, ManagementStore, Manifest,
    NewApiKey, NewApplication, NewEndpoint, NewEnvironment, NewManagementToken, NewPortalSession,
    PortalRole, SecretText, WorkspaceSpec,
};
use nahook_core::id::{
    ApiKeyId, ApplicationId, DeliveryId, EndpointId, EnvironmentId, EventTypeId, ManagementTokenId,
    MessageId, WorkspaceId,
};
use nahook_core::{EventTypeName, FanOut, Metadata, NewEvent, Payload, RandomIds, Timestamp};
use nahook_dashboard::{
    PagePorts, PageSettings, dashboard_router, new_sign_in_link, portal_router,
};
use nahook_http::{Budgets, ManagementApi, ManagementPorts, Operations};
use nahook_memory::MemoryStore;
use nahook_queue::{
    Attempt, DeliveryQueue as _, DeliverySearch, LeaseRequest, Next, Settlement, WorkerId,
};
use nahook_testkit::ManualClock;
use tower::ServiceExt as _;

/// A text that must never be anything but a text.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}";

/// What is in a workspace.
pub(crate) struct Tenant {
    pub(crate) workspace: WorkspaceId,
    pub(crate) token: String,
    pub(crate) token_id: ManagementTokenId,
    pub(crate) key: ApiKeyId,
    pub(crate) environment: EnvironmentId,
    pub(crate) event_type: EventTypeId,
    pub(crate) customers: Vec<Customer>,
}

/// An application, and what became of an event for it.
pub(crate) struct Customer {
    pub(crate) application: ApplicationId,
    pub(crate) endpoint: EndpointId,
    pub(crate) delivery: DeliveryId,
    pub(crate) event: MessageId,
    pub(crate) url: String,
}

/// Both sites over one store.
pub(crate) struct Shop {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: ManualClock,
    pub(crate) router: Router,
    pub(crate) ours: Tenant,
    pub(crate) theirs: Tenant,
}

/// An answer to a request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A browser that has signed in.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) form_token: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(Budgets::default()).await
    }

    /// The same, where workspaces have these budgets.
    pub(crate) async fn with(budgets: Budgets) -> Self {
        Self::searching(budgets, |store| store as _).await
    }

    /// The same, where the store is searched through that.
    pub(crate) async fn searching(
        budgets: Budgets,
        search: impl FnOnce(Arc<MemoryStore>) -> Arc<dyn DeliverySearch>,
    ) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_795_680_000_000));
        let store = Arc::new(MemoryStore::new(
            Arc::new(clock.clone()),
            Arc::new(RandomIds),
        ));
        let ports = ManagementPorts {
            keys: Arc::clone(&store) as _,
            log: Arc::clone(&store) as _,
            publisher: Arc::clone(&store) as _,
            redelivery: Arc::clone(&store) as _,
            search: search(Arc::clone(&store)),
            store: Arc::clone(&store) as _,
            subscriptions: Arc::clone(&store) as _,
        };
        let api = ManagementApi::new(ports)
            .with_clock(Arc::new(clock.clone()))
            .with_budgets(budgets);
        let ports = PagePorts {
            api,
            counts: Arc::clone(&store) as _,
            endpoints: Arc::clone(&store) as _,
            events: Arc::clone(&store) as _,
            sessions: Arc::clone(&store) as _,
            operations: Some(Operations::new()),
        };
        let settings = PageSettings::default();
        let router = Router::new()
            .nest(
                "/dashboard",
                dashboard_router(ports.clone(), settings.clone()),
            )
            .nest("/portal", portal_router(ports, settings));
        let ours = tenant(&store, &clock, "ws_ours", "ours").await;
        let theirs = tenant(&store, &clock, "ws_theirs", "theirs").await;
        Self {
            store,
            clock,
            router,
            ours,
            theirs,
        }
    }

    /// Has every delivery answered with 500 and this body.
    pub(crate) async fn refuse_everything(&self, body: &str) {
        let now = nahook_core::Clock::now(&self.clock);
        self.answer_everything(body, Next::Retry(now)).await;
    }

    /// The same, and then that becomes of it.
    pub(crate) async fn answer_everything(&self, body: &str, next: Next) {
        let now = nahook_core::Clock::now(&self.clock);
        let request = LeaseRequest::new(WorkerId(1), 100, Duration::from_mins(1));
        let batch = self.store.lease(&request).await.unwrap();
        let refused = batch.deliveries.into_iter().map(|leased| Settlement {
            lease: leased.lease,
            attempt: Some(Attempt {
                started_at: now,
                duration: Duration::from_millis(7),
                status_code: Some(500),
                error: Some("the endpoint answered with status 500".to_owned()),
                response_body: Some(body.to_owned()),
            }),
            next,
        });
        let refused: Vec<_> = refused.collect();
        assert!(!refused.is_empty());
        self.store.settle(&refused).await.unwrap();
    }

    pub(crate) fn management(&self) -> Management<Arc<dyn ManagementStore>> {
        let store: Arc<dyn ManagementStore> = Arc::clone(&self.store) as _;
        Management::new(store).with_clock(self.clock.clone())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub(crate) async fn get(&self, browser: Option<&Browser>, path: &str) -> Answer {
        let mut request = Request::get(path);
        if let Some(browser) = browser {
            request = request.header(header::COOKIE, &browser.cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(
        &self,
        browser: Option<&Browser>,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.send(
            form(browser, path, fields)
                .body(encoded(browser, fields))
                .unwrap(),
        )
        .await
    }

    /// Signs in with a management token.
    pub(crate) async fn operator(&self, tenant: &Tenant) -> Browser {
        let answer = self
            .post(None, "/dashboard/sign-in", &[("token", &tenant.token)])
            .await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        self.browser(&answer, "/dashboard").await
    }

    /// Signs in with a new token that reads only.
    pub(crate) async fn reader(&self, tenant: &Tenant) -> Browser {
        let new = NewManagementToken {
            name: "reader".to_owned(),
            is_read_only: true,
        };
        let management = self.management();
        let actor = Actor::operator();
        let made = management.create_management_token(&tenant.workspace, &actor, new);
        let (_, token) = made.await.unwrap();
        let answer = self
            .post(None, "/dashboard/sign-in", &[("token", token.expose())])
            .await;
        self.browser(&answer, "/dashboard").await
    }

    /// Opens the portal of an application.
    pub(crate) async fn customer(
        &self,
        tenant: &Tenant,
        application: ApplicationId,
        role: PortalRole,
    ) -> Browser {
        let code = self.portal_code(tenant, application, role).await;
        let answer = self.get(None, &format!("/portal?code={code}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        self.browser(&answer, "/portal/endpoints").await
    }

    pub(crate) async fn portal_code(
        &self,
        tenant: &Tenant,
        application: ApplicationId,
        role: PortalRole,
    ) -> String {
        let new = NewPortalSession {
            role,
            ..NewPortalSession::default()
        };
        self.code_of(tenant, application, new).await
    }

    pub(crate) async fn code_of(
        &self,
        tenant: &Tenant,
        application: ApplicationId,
        new: NewPortalSession,
    ) -> String {
        let management = self.management();
        let actor = Actor::operator();
        let made = management.create_portal_session(&tenant.workspace, &actor, application, new);
        made.await.unwrap().code.expose().to_owned()
    }

    pub(crate) async fn link(&self, tenant: &Tenant) -> String {
        let now = nahook_core::Clock::now(&self.clock);
        new_sign_in_link(&*self.store, tenant.workspace, &tenant.token, now)
            .await
            .unwrap()
    }

    pub(crate) async fn browser(&self, signed_in: &Answer, home: &str) -> Browser {
        let cookie = signed_in.headers[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut browser = Browser {
            cookie,
            form_token: String::new(),
        };
        let page = self.get(Some(&browser), home).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let (_, rest) = page
            .body
            .split_once("name=\"form_token\" value=\"")
            .unwrap();
        rest.split('"')
            .next()
            .unwrap()
            .clone_into(&mut browser.form_token);
        browser
    }
}

pub(crate) fn form(
    browser: Option<&Browser>,
    path: &str,
    _: &[(&str, &str)],
) -> axum::http::request::Builder {
    let mut request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::HOST, "shop.example")
        .header(header::ORIGIN, "http://shop.example");
    if let Some(browser) = browser {
        request = request.header(header::COOKIE, &browser.cookie);
    }
    request
}

pub(crate) fn encoded(browser: Option<&Browser>, fields: &[(&str, &str)]) -> Body {
    let mut text = form_urlencoded::Serializer::new(String::new());
    if let Some(browser) = browser {
        text.append_pair("form_token", &browser.form_token);
    }
    for (name, value) in fields {
        text.append_pair(name, value);
    }
    Body::from(text.finish())
}

impl Tenant {
    /// The path with the ids of this workspace and that customer in it.
    pub(crate) fn path(&self, customer: &Customer, route: &str) -> String {
        route
            .replace("{endpoint}", customer.endpoint.as_str())
            .replace("{delivery}", &customer.delivery.to_string())
            .replace("{event}", &customer.event.to_string())
            .replace("{type}", self.event_type.as_str())
            .replace("{environment}", self.environment.as_str())
            .replace("{application}", customer.application.as_str())
            .replace("{key}", self.key.as_str())
            .replace("{token}", self.token_id.as_str())
    }
}

async fn tenant(store: &Arc<MemoryStore>, clock: &ManualClock, id: &str, name: &str) -> Tenant {
    let workspace = WorkspaceId::new(id).unwrap();
    let event_type = EventTypeName::new("order.paid").unwrap();
    let manifest = Manifest {
        workspaces: vec![WorkspaceSpec {
            id: Some(workspace),
            name: name.to_owned(),
            event_types: vec![EventTypeSpec {
                description: Some(HOSTILE.to_owned()),
                ..EventTypeSpec::named(event_type.clone())
            }],
            ..WorkspaceSpec::default()
        }],
    };
    store.apply(&manifest, ApplyMode::Commit).await.unwrap();
    let management = Management::new(Arc::clone(store)).with_clock(clock.clone());
    let actor = Actor::operator();
    let token = management.create_management_token(&workspace, &actor, HOSTILE.to_owned());
    let (token_row, token) = token.await.unwrap();
    let new = NewApiKey {
        name: HOSTILE.to_owned(),
        ..NewApiKey::default()
    };
    let (key, _) = management
        .create_api_key(&workspace, &actor, new)
        .await
        .unwrap();
    let new = NewEnvironment {
        name: "<b>Staging</b>\u{202e}".to_owned(),
        slug: "staging".to_owned(),
    };
    let environment = management.create_environment(&workspace, &actor, new).await;
    let event_types = management.event_types(&workspace).await.unwrap();
    let event_type_id = event_types[0].event_type.id;
    let mut customers = Vec::new();
    for number in 0..2 {
        let new = NewApplication {
            name: format!("{HOSTILE} {name} {number}"),
            external_id: Some(format!("customer-{number}")),
            metadata: BTreeMap::from([("plan".to_owned(), HOSTILE.to_owned())]),
            max_endpoints: None,
            show_event_types: true,
        };
        let application = management.create_application(&workspace, &actor, new).await;
        let application = application.unwrap().id;
        let url = format!("https://{name}-{number}.example/hooks");
        let new = NewEndpoint {
            url: Some(url.clone()),
            description: Some(HOSTILE.to_owned()),
            application: Some(application),
            metadata: BTreeMap::from([("region".to_owned(), HOSTILE.to_owned())]),
            auth_username: Some(HOSTILE.replace(':', "")),
            auth_password: Some(SecretText::new("a long password")),
            ..NewEndpoint::default()
        };
        let endpoint = management.create_endpoint(&workspace, &actor, new).await;
        let endpoint = endpoint.unwrap().id;
        let subscribed = vec![event_type_id];
        management
            .subscribe(&workspace, &actor, endpoint, subscribed)
            .await
            .unwrap();
        customers.push((application, endpoint, url));
    }
    let labels = BTreeMap::from([("order".to_owned(), HOSTILE.to_owned())]);
    let event = NewEvent {
        event_type,
        payload: Payload::of(&BTreeMap::from([("note", HOSTILE)])).unwrap(),
        metadata: Metadata::new(labels).unwrap(),
    };
    let fan_out = FanOut::new(Arc::clone(store), Arc::clone(store)).with_clock(clock.clone());
    let receipt = fan_out.trigger(event, workspace).await.unwrap();
    let customers = customers.into_iter().zip(receipt.deliveries());
    let customers = customers.map(|((application, endpoint, url), delivery)| {
        assert_eq!(delivery.endpoint(), endpoint);
        Customer {
            application,
            endpoint,
            delivery: delivery.id(),
            event: receipt.message(),
            url,
        }
    });
    Tenant {
        workspace,
        token: token.expose().to_owned(),
        token_id: token_row.id,
        key: key.id,
        environment: environment.unwrap().id,
        event_type: event_type_id,
        customers: customers.collect(),
    }
}
