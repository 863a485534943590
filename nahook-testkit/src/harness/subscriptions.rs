//! The harness of a subscription store.

use nahook_control::Manifest;
use nahook_core::SubscriptionStore;

/// Starts a [`SubscriptionStore`] and changes what it answers.
pub trait SubscriptionHarness: Sized + Send + Sync + 'static {
    /// The adapter under test; clones are handles to the same state.
    type Subscriptions: SubscriptionStore + Clone + 'static;

    /// Starts an empty store.
    fn start() -> impl Future<Output = Self> + Send;

    /// A handle to the adapter.
    fn subscriptions(&self) -> Self::Subscriptions;

    /// Makes what the manifest declares exist, as [`Catalog::apply`](nahook_control::Catalog::apply) does; the next look-up
    /// has to see it. Panics if that fails.
    fn apply(&self, manifest: &Manifest) -> impl Future<Output = ()> + Send;
}
