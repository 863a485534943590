//! Broken stores, over the one in memory.

mod catalog;
mod caught;
mod counts;
mod events;
mod log;
mod management;
mod patterns;
mod queue;
mod recorder;
mod records;
mod send;
mod sessions;
mod subscriptions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use nahook_control::{KeyEntry, KeyHash, PortalSessionRecord};
use nahook_core::admission::Caller;
use nahook_core::id::{DeliveryId, EndpointId, WorkspaceId};
use nahook_core::{
    EventTypeName, EventTypeSelector, IdempotencyKey, Scope, Subscribers, Timestamp,
};
use nahook_memory::MemoryStore;
use nahook_queue::LeasedDelivery;
use nahook_testkit::{ManualClock, SeededIds, StoreHarness};

/// Names the bugs and lists them.
macro_rules! bugs {
    ($($name:ident)+) => {
        /// One bug each; the names say what the store does wrong.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        enum Bug {
            $($name),+
        }

        const ALL: &[Bug] = &[$(Bug::$name),+];
    };
}

bugs! {
    LeaksOtherEnvironments
    LeaksOtherWorkspaces
    ForgetsVisibility
    NeverForgetsALookUp
    SortsSubscribers
    RepeatsSubscribers
    UnknownIsEmpty
    EmptyIsUnknown
    IgnoresCase
    ForgetsPatterns
    ExpandsPatternsOnce
    ShallowIsDeep
    DeepIsShallow
    KeepsPatterns
    PatternsReplaceNames
    LeaksPatterns
    ReadsNoPatterns
    LeasesTwice
    RetriesAtOnce
    RetriesNever
    SettlesStaleLeases
    ForgetsBounds
    ForgetsExceptions
    ForgetsWorkspaces
    ListsEverything
    HoldsOthersBack
    ForgetsTheMost
    NeverWakes
    WakesForNoRetry
    WakesForNoRoom
    ExtendsByALease
    TellsNoDueTime
    ForgetsAttempts
    OnlySaysItExtends
    LosesReleased
    ServesFirstComeFirst
    PrefersFresh
    PrefersRetries
    SettlesAllOrNone
    DisabledIsGone
    DisabledIsActive
    ForgetsWhatAKeyIsBoundTo
    ForgetsThePlan
    RevokedIsDisabled
    TokensAreKeys
    SortsTargets
    SkipsGoneTargets
    LatestFailureCounts
    IgnoresReports
    ShowsNewestFirst
    CountsFromZero
    ShowsOtherWorkspaces
    NoAttemptsIsNoDelivery
    HidesDelivering
    DryRunCommits
    TellsNothing
    AppliesHalf
    ReEnsures
    RevivesKeys
    ListsOtherKeys
    CountsNoRows
    InventsPayloads
    DrawsGivenIdsAnew
    CountsRepeats
    DropsWhatComesLate
    ForgetsRecordedAttempts
    RecordsForTheFirst
    RecordsHalf
    RefusesTheUnknown
    AdoptsTheUnknown
    FailureCountsMost
    LeasesTheRecorded
    EndsItsOwn
    ForgetsAtARestart
    ManagesOtherWorkspaces
    ForgetsTheOffset
    ReadsNewestFirst
    CountsNobody
    ForgetsThePreviousSecret
    WritesHalf
    DecidesByOldRows
    ForgetsToAudit
    OnlyDisablesTheRemoved
    ShowsNothingToPlans
    AuditsUnfiltered
    FindsAnyHealth
    AuditsOldestFirst
    CountsThePage
    FindsAnyStatus
    FindsFromTheStart
    FindsTheOld
    FindsOtherWorkspaces
    FindsMore
    FindsOldestFirst
    CountsEveryEndpoint
    CountsLeasedAsPending
    CountsWithoutBound
    ForgetsTheOldest
    OnlySaysItQueues
    RedeliversForOthers
    HidesHowItStands
    RedeliversTheOld
    RedeliversAllAtOnce
    ForgetsKeys
    TrimsKeys
    FoldsKeys
    ComparesPayloads
    StopsAtAGoneEndpoint
    RacesForKeys
    ForgetsTheEndpointOfAKey
    KeysNeverRunOut
    RepeatsProlongKeys
    GoneUsesTheKeyUp
    AnswersRepeatsAsPublished
    HidesTheKey
    LosesRepeatedCounts
    ShowsCountsOfOthers
    CountsTheWorkspaceAlone
    CountsFromTheStart
    CountsNewestFirst
    RefusesCountsOfTheUnknown
    ListsEventsOfOthers
    ListsOldestEventsFirst
    EndsEarly
    CountsGivenUpAsDelivered
    FindsAnyLabel
    FindsFirstLabel
    FindsAnyType
    FindsAnyKey
    ShowsMoreDeliveries
    SortsDeliveriesByEndpoint
    ShowsAttemptedAsPending
    ForgetsTheHolder
    NotesNoUse
    EndsForEverybody
    KeepsSessions
    OpensPortalsTwice
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
            clock: clock.clone(),
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

#[derive(Clone)]
struct Broken {
    inner: MemoryStore,
    bug: Bug,
    clock: ManualClock,
    memory: Arc<Mutex<Memory>>,
}

/// Memory of the bugs that need one.
#[derive(Default)]
struct Memory {
    look_ups: HashMap<(Scope, EventTypeName), Option<Subscribers>>,
    leased: Vec<LeasedDelivery>,
    /// Generation that a settlement has made and that is kept from those who wait.
    silent: Option<u64>,
    keys: HashMap<KeyHash, KeyEntry<Caller>>,
    scopes: Vec<WorkspaceId>,
    recorded: HashMap<DeliveryId, u32>,
    patterns: HashMap<EndpointId, Vec<EventTypeSelector>>,
    originals: HashMap<(Option<EndpointId>, IdempotencyKey), (DeliveryId, Timestamp)>,
    is_stopped: bool,
    portal: Option<PortalSessionRecord>,
}

impl Broken {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }
}
