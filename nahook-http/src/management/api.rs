//! Dependencies of the management routes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nahook_control::{KeyStore, Management, ManagementStore};
use nahook_core::{
    Clock, DynDeliveryPublisher, DynSubscriptionStore, FanOut, SystemClock, Timestamp,
};
use nahook_queue::{DeliveryLog, DeliverySearch, Redelivery};

use super::secret_reads::SecretReads;
use crate::{Budgets, Metered, Pressure};

/// Subscriptions that are looked up at their workspace's expense.
pub type MeteredSubscriptions = Metered<Arc<dyn DynSubscriptionStore>>;

/// The back end of the management routes, port by port.
#[derive(Clone)]
pub struct ManagementPorts {
    /// Holders of tokens.
    pub keys: Arc<dyn KeyStore>,
    /// History of deliveries.
    pub log: Arc<dyn DeliveryLog>,
    /// The queue of test events.
    pub publisher: Arc<dyn DynDeliveryPublisher>,
    /// Deliveries that can be queued again.
    pub redelivery: Arc<dyn Redelivery>,
    /// Lists of deliveries.
    pub search: Arc<dyn DeliverySearch>,
    /// Records that are managed.
    pub store: Arc<dyn ManagementStore>,
    /// Endpoints that test events can be sent to.
    pub subscriptions: Arc<dyn DynSubscriptionStore>,
}

impl fmt::Debug for ManagementPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementPorts").finish_non_exhaustive()
    }
}

/// The numbers and names of the management routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManagementSettings {
    /// Largest body in bytes.
    pub body_len_max: usize,
    /// Upper bound on a call's duration from its arrival. A change that was begun by then may have happened.
    pub timeout: Duration,
    /// URL of the portal's pages, which a session's URL begins with.
    pub portal_url: String,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self {
            body_len_max: 256 * 1024,
            timeout: Duration::from_secs(10),
            portal_url: "http://127.0.0.1:3001/portal".to_owned(),
        }
    }
}

/// Dependencies of the routes; a clone is a handle.
#[derive(Clone)]
pub struct ManagementApi {
    pub(super) management: Management<Arc<dyn ManagementStore>>,
    pub(super) ports: ManagementPorts,
    pub(super) settings: Arc<ManagementSettings>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) budgets: Budgets,
    pub(super) pressure: Pressure,
    pub(super) secret_reads: SecretReads,
}

impl ManagementApi {
    /// Routes over these ports, with the default settings and the system's clock.
    pub fn new(ports: ManagementPorts) -> Self {
        Self {
            management: Management::new(Arc::clone(&ports.store)),
            ports,
            settings: Arc::default(),
            clock: Arc::new(SystemClock),
            budgets: Budgets::default(),
            pressure: Pressure::default(),
            secret_reads: SecretReads::default(),
        }
    }

    /// Uses `settings`.
    #[must_use]
    pub fn with_settings(mut self, settings: ManagementSettings) -> Self {
        self.settings = Arc::new(settings);
        self
    }

    /// Refuses test events and retries while `pressure` says so.
    #[must_use]
    pub fn with_pressure(mut self, pressure: Pressure) -> Self {
        self.pressure = pressure;
        self
    }

    /// Reads the time of day from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.management = self.management.with_clock(Arc::clone(&clock));
        self.clock = clock;
        self
    }

    /// Draws on `budgets`, so that other routes draw on the same accounts.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// The subscriptions, looked up at the workspace's expense.
    fn metered_subscriptions(&self) -> MeteredSubscriptions {
        Metered::new(Arc::clone(&self.ports.subscriptions), self.budgets.clone())
            .measuring(Arc::clone(&self.ports.search))
    }

    /// The operations on what is in a workspace.
    pub fn management(&self) -> &Management<Arc<dyn ManagementStore>> {
        &self.management
    }

    /// The back end.
    pub fn ports(&self) -> &ManagementPorts {
        &self.ports
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The URL that opens the portal with this code.
    pub fn portal_url(&self, code: &str) -> String {
        format!("{}?code={code}", self.settings.portal_url)
    }

    /// Publishes what is sent by hand: not admitted as a call of a key, it does not spend the keys' tokens.
    pub fn fan_out(&self) -> FanOut<MeteredSubscriptions, Arc<dyn DynDeliveryPublisher>> {
        let subscriptions = self.metered_subscriptions();
        let fan_out = FanOut::new(subscriptions, Arc::clone(&self.ports.publisher));
        fan_out.with_clock(Arc::clone(&self.clock))
    }
}

impl fmt::Debug for ManagementApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementApi")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
