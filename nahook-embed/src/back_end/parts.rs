//! Parts of the app's own, in the place of the store's.

use std::sync::Arc;

use nahook_control::{Catalog, EndpointDirectory, KeyStore, ManagementStore, SessionStore};
use nahook_core::{DynDeliveryPublisher, DynSubscriptionStore};
use nahook_queue::{
    DeliveryCounts, DeliveryLog, DeliveryQueue, DeliveryRecorder, DeliverySearch, EventSearch,
    Redelivery,
};

use super::Backend;

/// Every port that a store has. Whatever implements them is one.
pub trait Store:
    Catalog
    + EndpointDirectory
    + EventSearch
    + KeyStore
    + DeliveryCounts
    + DeliveryLog
    + DynDeliveryPublisher
    + DeliveryQueue
    + DeliveryRecorder
    + DeliverySearch
    + ManagementStore
    + Redelivery
    + SessionStore
    + DynSubscriptionStore
    + 'static
{
}

impl<T> Store for T where
    T: Catalog
        + EndpointDirectory
        + EventSearch
        + KeyStore
        + DeliveryCounts
        + DeliveryLog
        + DynDeliveryPublisher
        + DeliveryQueue
        + DeliveryRecorder
        + DeliverySearch
        + ManagementStore
        + Redelivery
        + SessionStore
        + DynSubscriptionStore
        + 'static
{
}

/// The parts that are the app's own.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub(crate) endpoints: Option<Arc<dyn EndpointDirectory>>,
    pub(crate) publisher: Option<Arc<dyn DynDeliveryPublisher>>,
    pub(crate) queue: Option<Arc<dyn DeliveryQueue>>,
    pub(crate) subscriptions: Option<Arc<dyn DynSubscriptionStore>>,
}

impl Backend {
    /// Puts the parts in the place of the store's.
    pub(crate) fn with_parts(mut self, parts: &Parts) -> Self {
        if let Some(queue) = &parts.queue {
            self.queue = self.watch_queue(Arc::clone(queue));
        }
        if let Some(publisher) = &parts.publisher {
            self.publisher = Arc::clone(publisher);
            self.watch_publisher();
        }
        if let Some(endpoints) = &parts.endpoints {
            self.endpoints = Arc::clone(endpoints);
        }
        if let Some(subscriptions) = &parts.subscriptions {
            self.subscriptions = Arc::clone(subscriptions);
        }
        self
    }
}
