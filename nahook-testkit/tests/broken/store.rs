//! Broken stores, over the one in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nahook_core::memory::MemoryStore;
use nahook_core::{
    ApiKeyId, ApiKeyRecord, ApplyMode, AttemptRecord, Caller, Catalog, CatalogError, Change,
    Delivery, DeliveryId, DeliveryLog, DeliveryPublisher, DeliveryQueue, DeliveryRecord,
    DeliveryStatus, EndpointDirectory, EndpointId, EndpointTarget, Event, EventTypeId,
    EventTypeName, FanOutScope, HealthReport, HealthState, KeyEntry, KeyHash, KeyState, KeyStore,
    Lease, LeaseBatch, LeaseRequest, LeasedDelivery, ManagementTokenId, Manifest, Next, Payload,
    Settled, Settlement, StoreError, Subscribers, SubscriptionStore, WorkspaceId, WorkspaceRecord,
};
use nahook_testkit::{ManualClock, SeededIds, StoreHarness, declare};

use crate::catches;

/// One bug each; the names say what the store does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bug {
    LeaksOtherEnvironments,
    LeaksOtherWorkspaces,
    ForgetsVisibility,
    NeverForgetsALookUp,
    SortsSubscribers,
    RepeatsSubscribers,
    UnknownIsEmpty,
    EmptyIsUnknown,
    IgnoresCase,
    LeasesTwice,
    RetriesAtOnce,
    RetriesNever,
    SettlesStaleLeases,
    ForgetsBounds,
    ForgetsExceptions,
    ForgetsTheMost,
    NeverWakes,
    TellsNoDueTime,
    ForgetsAttempts,
    OnlySaysItExtends,
    LosesReleased,
    ServesFirstComeFirst,
    PrefersFresh,
    PrefersRetries,
    SettlesAllOrNone,
    DisabledIsGone,
    DisabledIsActive,
    ForgetsWhatAKeyIsBoundTo,
    ForgetsThePlan,
    RevokedIsDisabled,
    TokensAreKeys,
    SortsTargets,
    SkipsGoneTargets,
    LatestFailureCounts,
    IgnoresReports,
    ShowsNewestFirst,
    CountsFromZero,
    ShowsOtherWorkspaces,
    NoAttemptsIsNoDelivery,
    HidesDelivering,
    DryRunCommits,
    TellsNothing,
    AppliesHalf,
    ReEnsures,
    RevivesKeys,
    ListsOtherKeys,
    ForgetsAtARestart,
}

use Bug::*;

/// The harness of the store with the bug of this number.
struct With<const BUG: usize> {
    clock: ManualClock,
    store: Broken,
}

impl<const BUG: usize> StoreHarness for With<BUG> {
    type Store = Broken;

    async fn start() -> Self {
        let clock = ManualClock::default();
        let store = Broken {
            inner: MemoryStore::new(Arc::new(clock.clone()), Arc::new(SeededIds::default())),
            bug: ALL[BUG],
            memory: Arc::default(),
        };
        Self { clock, store }
    }

    fn store(&self) -> Broken {
        self.store.clone()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(self) -> Option<Self> {
        if ALL[BUG] == ForgetsAtARestart {
            Some(<Self as StoreHarness>::start().await)
        } else {
            None
        }
    }
}
