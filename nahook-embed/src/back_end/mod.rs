//! The back end behind the ports, chosen by URL.

#[cfg(feature = "nats")]
mod by_key;
mod counting;
mod delivering;
mod gate;
mod health;
mod latest_call;
#[cfg(feature = "nats")]
mod nats;
mod opened;
mod opening;
mod parts;
#[cfg(feature = "postgres")]
mod postgres;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod url;
mod usage;
mod watched;

use std::sync::Arc;

use nahook_control::{
    Catalog, CreatingSubscriptions, EndpointDirectory, KeyStore, Management, ManagementStore,
    MasterKeys, RotateError, SecretBox, SessionStore,
};
use nahook_core::{DynDeliveryPublisher, DynRateLimiter, DynSubscriptionStore};
use nahook_delivery::{DeliveryEvents, DeliveryLag, EventSender};
use nahook_queue::{
    DeliveryCounts, DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, EventSearch,
    Redelivery, Tally,
};

pub use self::gate::PublishGate;
pub use self::health::NoSpace;
pub use self::latest_call::LatestCall;
#[cfg(feature = "nats")]
use self::nats::NatsBackend;
use self::opened::Opened;
pub(crate) use self::parts::Parts;
pub use self::parts::Store;
pub use self::settings::BackendSettings;
pub use self::url::{QueueUrl, StoreUrl};
pub use self::watched::LatestCalls;

/// A back end for every port.
#[derive(Clone)]
#[non_exhaustive]
pub struct Backend {
    /// Workspaces and what is in them.
    pub catalog: Arc<dyn Catalog>,
    /// Counts over time.
    pub counts: Arc<dyn DeliveryCounts>,
    /// Endpoints as workers need them.
    pub endpoints: Arc<dyn EndpointDirectory>,
    /// Lists of events.
    pub event_search: Arc<dyn EventSearch>,
    /// Keys and tokens.
    pub keys: Arc<dyn KeyStore>,
    /// Rate limits.
    pub limiter: Arc<dyn DynRateLimiter>,
    /// History of deliveries.
    pub log: Arc<dyn DeliveryLog>,
    /// Records of the workspaces, changed one decision at a time.
    pub management: Arc<dyn ManagementStore>,
    /// Publishes deliveries to the queue.
    pub publisher: Arc<dyn DynDeliveryPublisher>,
    /// The queue.
    pub queue: Arc<dyn DeliveryQueue>,
    /// Log that a queue outside the store reports its deliveries to.
    pub recorder: Arc<dyn DeliveryRecorder>,
    /// Deliveries that can be queued again.
    pub redelivery: Arc<dyn Redelivery>,
    /// Lists of deliveries.
    pub search: Arc<dyn DeliverySearch>,
    /// Sessions of the pages.
    pub sessions: Arc<dyn SessionStore>,
    /// Subscriptions.
    pub subscriptions: Arc<dyn DynSubscriptionStore>,
    /// Latest calls of the publisher, of each queue and of look-ups.
    pub latest_calls: Vec<LatestCalls>,
    /// Time that deliveries wait for the workers of this process.
    pub lag: DeliveryLag,
    /// Gate that publishing passes.
    pub gate: PublishGate,
    /// Counts of this process that are not written yet.
    tally: Tally,
    /// News of what the workers of this process deliver.
    pub(crate) events: EventSender,
    /// Accounts of the workspaces, which both APIs draw on.
    #[cfg(feature = "http")]
    pub(crate) budgets: nahook_http::Budgets,
    /// The store's own queue, whether or not it is the queue.
    of_store: Arc<dyn DeliveryQueue>,
    /// Absent for a store in memory, and one of the app's own.
    opened: Option<Arc<dyn Opened>>,
    #[cfg(feature = "nats")]
    nats: Option<NatsBackend>,
}

impl Backend {
    fn over<T: Store>(
        store: T,
        limiter: Arc<dyn DynRateLimiter>,
        opened: Option<Arc<dyn Opened>>,
    ) -> Self {
        let store = Arc::new(store);
        Self {
            catalog: Arc::<T>::clone(&store),
            counts: Arc::<T>::clone(&store),
            endpoints: Arc::<T>::clone(&store),
            event_search: Arc::<T>::clone(&store),
            keys: Arc::<T>::clone(&store),
            limiter,
            log: Arc::<T>::clone(&store),
            management: Arc::<T>::clone(&store),
            publisher: Arc::<T>::clone(&store),
            queue: Arc::<T>::clone(&store),
            of_store: Arc::<T>::clone(&store),
            recorder: Arc::<T>::clone(&store),
            redelivery: Arc::<T>::clone(&store),
            search: Arc::<T>::clone(&store),
            sessions: Arc::<T>::clone(&store),
            subscriptions: store,
            latest_calls: Vec::new(),
            lag: DeliveryLag::default(),
            gate: PublishGate::default(),
            tally: Tally::default(),
            events: EventSender::default(),
            #[cfg(feature = "http")]
            budgets: nahook_http::Budgets::default(),
            opened,
            #[cfg(feature = "nats")]
            nats: None,
        }
    }

    /// The store, if it is on Postgres.
    #[cfg(feature = "postgres")]
    pub fn postgres(&self) -> Option<&nahook_postgres::PostgresStore> {
        self.opened.as_ref()?.postgres()
    }

    /// The store, if it is in a file.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&self) -> Option<&nahook_sqlite::SqliteStore> {
        self.opened.as_ref()?.sqlite()
    }

    /// Returns true if the store seals its secrets, or keeps none.
    pub fn seals_secrets(&self) -> bool {
        self.secrets().is_none_or(SecretBox::has_key)
    }

    /// Seals and opens what the store keeps, if it keeps anything.
    fn secrets(&self) -> Option<&SecretBox> {
        self.opened.as_ref().map(|store| store.secrets())
    }

    /// Wraps the store's key with the first of these, which one of them has wrapped before. Returns false if it already
    /// was, or if there is none. Processes that have the store open go on as they were.
    pub async fn rotate_master_key(&self, master: &MasterKeys) -> Result<bool, RotateError> {
        match &self.opened {
            Some(store) => store.rotate_master_key(master).await,
            None => Ok(false),
        }
    }

    /// Subscriptions; with `creates_event_types` one that is looked up is made if it does not exist.
    pub(crate) fn subscription_store(
        &self,
        creates_event_types: bool,
    ) -> Arc<dyn DynSubscriptionStore> {
        let subscriptions = Arc::clone(&self.subscriptions);
        if !creates_event_types {
            return subscriptions;
        }
        let catalog = Arc::clone(&self.catalog);
        Arc::new(CreatingSubscriptions::new(subscriptions, catalog))
    }

    /// Manages what is in the workspaces.
    pub fn management(&self) -> Management<Arc<dyn ManagementStore>> {
        Management::new(Arc::clone(&self.management))
    }

    /// News of what the workers of this process deliver from now on, for every workspace.
    pub fn events(&self) -> DeliveryEvents {
        self.events.subscribe()
    }

    /// Returns true if other servers may use the store, too.
    pub fn is_shared(&self) -> bool {
        self.opened.as_ref().is_some_and(|store| store.is_shared())
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}
