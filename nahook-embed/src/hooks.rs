//! The handle, and how it is opened.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use nahook_control::{
    Actor, ActorKind, ApplyMode, Catalog as _, EndpointDirectory, Management, ManagementStore,
    Manifest, MasterKeys, SecretText, Select, WorkspaceSpec,
};
use nahook_core::id::{IdError, WorkspaceId};
use nahook_core::{
    Clock, DeliveryPublisher, DynDeliveryPublisher, DynSubscriptionStore, FanOut, Scope,
    StoreError, SubscriptionStore,
};
use nahook_delivery::{AddressPolicy, HttpTransport, TransportSettings, tls};
use nahook_queue::DeliveryQueue;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::back_end::Parts;
use crate::{Backend, BackendSettings, OpenError, QueueUrl, Store, StoreUrl};

/// Name of the workspace of an app that has only one.
const WORKSPACE: &str = "default";

/// Upper bound on connections to receivers: half of the files that the process may open, so that the other half is left for
/// the app.
pub fn connections_max() -> usize {
    let files = rlimit::Resource::NOFILE.get_soft().unwrap_or(1_024);
    usize::try_from(files / 2)
        .unwrap_or(usize::MAX)
        .clamp(8, 4_096)
}

/// Webhooks of an app: a handle to a workspace on a back end. Clones are the same handle.
///
/// ```
/// use nahook_embed::Hooks;
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hooks = Hooks::open("memory://").await?;
/// hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
/// let receipt = hooks.trigger("order.paid", &json!({"order": "ord_123"})).await?;
/// assert_eq!(receipt.delivery_ids().count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hooks {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workspace: WorkspaceId,
}

pub(crate) struct Shared {
    pub(crate) backend: Backend,
    pub(crate) fan_out: FanOut<Arc<dyn DynSubscriptionStore>, Arc<dyn DynDeliveryPublisher>>,
    pub(crate) management: Management<Arc<dyn ManagementStore>>,
    pub(crate) settings: BackendSettings,
    /// For what does not look event types up by `fan_out`.
    #[cfg_attr(
        not(any(feature = "http", feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "only transactions and routes do")
    )]
    pub(crate) creates_event_types: bool,
    /// Absent in a test, which captures deliveries.
    pub(crate) transport: Option<Arc<HttpTransport>>,
    /// Ends `recording` when it is dropped, too.
    pub(crate) stop_recording: watch::Sender<bool>,
    /// Writes to the log what was accepted on a queue elsewhere; taken by whoever closes.
    pub(crate) recording: Mutex<Option<JoinHandle<()>>>,
}

/// Choices to be made before a handle is opened.
///
/// ```
/// use nahook_embed::Hooks;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hooks = Hooks::builder("memory://") // or sqlite://hooks.db, or postgres://…
///     .create_event_types()
///     .allow_endpoint_range("10.0.0.0/8".parse()?)
///     .retention(Duration::from_secs(30 * 24 * 3_600))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HooksBuilder {
    store: Place,
    // URLs may hold passwords.
    queue: Option<SecretText>,
    allowed_ranges: Vec<IpNet>,
    creates_event_types: bool,
    parts: Parts,
    settings: BackendSettings,
}

/// Place of the store.
#[derive(Clone)]
enum Place {
    /// At this URL, which may hold a password.
    Url(SecretText),
    /// The app has opened it.
    Own(Box<Backend>),
}

impl Hooks {
    /// Opens the back end that the URL names, and makes what does not exist yet: `sqlite://hooks.db`, `postgres://…` or
    /// `memory://`. Everything else is as [`builder`](Self::builder) has it at first.
    ///
    /// ```no_run
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hooks = Hooks::open("sqlite://hooks.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(store: &str) -> Result<Self, OpenError> {
        Self::builder(store).open().await
    }

    /// The choices for a handle to the back end that the URL names.
    pub fn builder(store: &str) -> HooksBuilder {
        HooksBuilder::new(Place::Url(SecretText::new(store)))
    }

    /// The choices for a handle over a store of the app's own, which the app closes. `nahook-testkit` proves that it is one.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = nahook_memory::MemoryStore::default(); // one of your own
    /// let hooks = Hooks::over(store).open().await?;
    /// hooks.create_endpoint("https://customer.example/hooks").on("order.paid").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(store: impl Store) -> HooksBuilder {
        HooksBuilder::new(Place::Own(Box::new(Backend::over_own(store))))
    }

    /// A handle to another workspace on the same back end, which is made if it does not exist: a tenant, whose event types,
    /// endpoints and deliveries are apart from all others'. Its id is `ws_` and the name; one that exists is left as it is,
    /// also if it is called otherwise by now.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::test().await?;
    /// let acme = hooks.workspace("acme").await?;
    /// acme.create_endpoint("https://acme.example/hooks").on("invoice.paid").await?;
    /// assert_eq!(acme.endpoints().await?.len(), 1);
    /// assert_eq!(hooks.endpoints().await?.len(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn workspace(&self, name: &str) -> Result<Self, OpenError> {
        if name.is_empty() {
            return Err(OpenError::Workspace(IdError::Length));
        }
        let id = WorkspaceId::new(&format!("ws_{name}")).map_err(OpenError::Workspace)?;
        if self.shared.workspace_name(&id).await?.is_none() {
            let workspace = WorkspaceSpec {
                id: Some(id),
                name: name.to_owned(),
                ..WorkspaceSpec::default()
            };
            let manifest = Manifest::from(workspace);
            let catalog = &self.shared.backend.catalog;
            catalog
                .apply_as(&Self::actor(), &manifest, ApplyMode::Commit)
                .await?;
        }
        Ok(Self {
            shared: Arc::clone(&self.shared),
            workspace: id,
        })
    }

    /// The workspace's id.
    pub fn workspace_id(&self) -> WorkspaceId {
        self.workspace
    }

    /// The back end, port by port, for what the handle has no call for.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hooks = Hooks::open("memory://").await?;
    /// let due = hooks.backend().queue.backlog(10_000).await?;
    /// println!("{} deliveries of all workspaces are due", due.due);
    /// # Ok(())
    /// # }
    /// ```
    pub fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::from(self.workspace)
    }

    /// The app itself, as the audit log shows it.
    pub(crate) fn actor() -> Actor {
        Actor {
            kind: ActorKind::System,
            id: "app".to_owned(),
            label: "the app".to_owned(),
        }
    }
}

impl HooksBuilder {
    fn new(store: Place) -> Self {
        Self {
            store,
            queue: None,
            allowed_ranges: Vec::new(),
            creates_event_types: false,
            parts: Parts::default(),
            settings: BackendSettings::default(),
        }
    }

    /// Publishes deliveries to this publisher instead of the store. Somebody else delivers them.
    ///
    /// ```
    /// use nahook_embed::Hooks;
    /// use nahook_embed::core::{Delivery, DeliveryPublisher, Event};
    ///
    /// struct Printer;
    ///
    /// impl DeliveryPublisher for Printer {
    ///     async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
    ///         for delivery in deliveries {
    ///             println!("{} to {}", event.id, delivery.endpoint());
    ///             delivery.mark_published();
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hooks = Hooks::builder("memory://").own_publisher(Printer).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn own_publisher(mut self, publisher: impl DeliveryPublisher + 'static) -> Self {
        self.parts.publisher = Some(Arc::new(publisher));
        self
    }

    /// Publishes deliveries to this queue instead of the store, and delivers from it. The delivery log has of them what the queue
    /// tells the back end's [recorder](Backend::recorder).
    #[must_use]
    pub fn own_queue<Q>(mut self, queue: Q) -> Self
    where
        Q: DeliveryPublisher + DeliveryQueue + Clone + 'static,
    {
        self.parts.queue = Some(Arc::new(queue.clone()));
        self.own_publisher(queue)
    }

    /// Looks subscriptions and endpoints up here instead of in the store. It goes with a [queue](Self::own_queue) of the app's
    /// own: the store's refuses deliveries to endpoints that it does not know.
    #[must_use]
    pub fn own_subscriptions<S>(mut self, subscriptions: S) -> Self
    where
        S: SubscriptionStore + EndpointDirectory + Clone + 'static,
    {
        self.parts.endpoints = Some(Arc::new(subscriptions.clone()));
        self.parts.subscriptions = Some(Arc::new(subscriptions));
        self
    }

    /// Puts deliveries on the streams of these NATS servers (`nats://…`, several separated by commas) instead of the store.
    #[must_use]
    pub fn queue(mut self, servers: &str) -> Self {
        self.queue = Some(SecretText::new(servers));
        self
    }

    /// Lets endpoints be on these addresses, which are private ones otherwise refused.
    #[must_use]
    pub fn allow_endpoint_range(mut self, range: IpNet) -> Self {
        self.allowed_ranges.push(range);
        self
    }

    /// Makes event types when they are first triggered. Otherwise an unknown one is an error: a spelling mistake must not
    /// become an event without receivers.
    #[must_use]
    pub fn create_event_types(mut self) -> Self {
        self.creates_event_types = true;
        self
    }

    /// Sets the time for which the delivery log is kept.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention;
        self
    }

    /// Seals the store's secrets with the first of these keys of the operator; the others open what they have sealed. A
    /// store that was sealed does not open without.
    #[must_use]
    pub fn secret_keys(mut self, keys: MasterKeys) -> Self {
        self.settings.secret_keys = Some(keys);
        self
    }

    /// Uses these settings of the back end.
    #[must_use]
    pub fn settings(mut self, settings: BackendSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Opens the back end and makes what does not exist yet.
    pub async fn open(self) -> Result<Hooks, OpenError> {
        let queue = self.queue.as_ref().map_or("store", SecretText::expose);
        let queue = QueueUrl::parse(queue).map_err(OpenError::Url)?;
        let opening = async {
            match self.store {
                Place::Url(url) => {
                    let store = StoreUrl::parse(url.expose()).map_err(OpenError::Url)?;
                    // The app names its file in its code: it may have tables of its own in it.
                    let mut settings = self.settings.clone();
                    settings.shares_file = true;
                    Backend::open_server(&store, &queue, &settings).await
                }
                Place::Own(backend) => Box::pin(backend.watched(&queue, &self.settings)).await,
            }
        };
        let backend = Box::pin(opening).await?.with_parts(&self.parts);
        let mut policy = AddressPolicy::new();
        for range in &self.allowed_ranges {
            policy = policy.allow_range(*range);
        }
        let transport = TransportSettings {
            connections_max: connections_max(),
            supervisor: self.settings.supervisor.clone(),
            ..TransportSettings::default()
        };
        let tls = tokio::task::spawn_blocking(|| tls::client_config(&[])).await;
        let tls = tls
            .map_err(|error| OpenError::Transport(error.into()))?
            .map_err(|error| OpenError::Transport(error.into()))?;
        let subscriptions = backend.subscription_store(self.creates_event_types);
        // For as long as there are handles: one that never runs accepts deliveries, too.
        let (stop_recording, stopped) = watch::channel(false);
        let (recorded, supervisor) = (backend.clone(), self.settings.supervisor.clone());
        let recording =
            tokio::spawn(async move { recorded.record_accepted(&supervisor, stopped).await });
        let shared = Shared {
            fan_out: FanOut::new(subscriptions, Arc::clone(&backend.publisher)),
            management: backend.management(),
            backend,
            settings: self.settings,
            creates_event_types: self.creates_event_types,
            transport: Some(Arc::new(HttpTransport::with_tls(policy, &transport, tls))),
            stop_recording,
            recording: Mutex::new(Some(recording)),
        };
        shared.hooks().await
    }

    /// A handle to a back end whose deliveries are not sent, by this clock.
    pub(crate) async fn over_with_clock(
        backend: Backend,
        clock: &(impl Clock + Clone + 'static),
    ) -> Result<Hooks, OpenError> {
        let subscriptions = Arc::clone(&backend.subscriptions);
        let fan_out = FanOut::new(subscriptions, Arc::clone(&backend.publisher));
        let shared = Shared {
            fan_out: fan_out.with_clock(clock.clone()),
            management: backend.management().with_clock(clock.clone()),
            backend,
            settings: BackendSettings::default(),
            creates_event_types: false,
            transport: None,
            stop_recording: watch::channel(false).0,
            recording: Mutex::default(),
        };
        shared.hooks().await
    }
}

impl Shared {
    /// The workspace's name, if it exists. No other workspace is read.
    pub(crate) async fn workspace_name(
        &self,
        id: &WorkspaceId,
    ) -> Result<Option<String>, StoreError> {
        let store = &self.backend.management;
        let found = store.read(id, &[Select::Workspace]).await?;
        Ok(found.workspaces.into_iter().next().map(|row| row.name))
    }

    /// The handle to the workspace of an app that has only one.
    async fn hooks(self) -> Result<Hooks, OpenError> {
        let unnamed = Hooks {
            shared: Arc::new(self),
            workspace: WorkspaceId::from_bits(0),
        };
        unnamed.workspace(WORKSPACE).await
    }
}

impl fmt::Debug for HooksBuilder {
    /// Leaves out the URLs, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HooksBuilder")
            .field("allowed_ranges", &self.allowed_ranges)
            .field("creates_event_types", &self.creates_event_types)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}
