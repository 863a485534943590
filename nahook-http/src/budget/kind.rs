//! The kinds of scarce things, and the bounds of each.

use std::time::Duration;

use nahook_core::admission::Plan;

/// Upper bound on what is drawn of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// An amount that is taken and given back. Something larger than the whole bound is let in where nothing else is taken.
    Held {
        /// Largest amount of a workspace.
        workspace: u64,
        /// Largest amount of all workspaces together.
        all: u64,
    },
    /// An amount that the store keeps. It is measured now and then, with what is added counted in between. It may be exceeded by
    /// one call: a large amount is let in as long as there is room for one unit.
    Kept {
        /// Largest amount of a workspace, unless its plan has another.
        workspace: u64,
    },
    /// A rate at which a workspace spends. It may be overdrawn: a large amount is let in while a token is left, and the next one
    /// waits until that is paid off.
    Spent {
        /// Time in which one token comes back to a workspace, unless its plan has another rate.
        interval: Duration,
        /// Largest number of tokens of a workspace.
        burst: u32,
    },
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $refused:literal;)*) => {
        /// A scarce thing of this process, drawn from the account of a workspace.
        ///
        /// The list is complete: what is not in it cannot be taken, and the tests that exhaust every kind go through
        /// [`ALL`](Self::ALL).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum BudgetKind {
            $($(#[$doc])* $variant,)*
        }

        impl BudgetKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Message to a workspace that has used up its share.
            pub(crate) const fn refusal(self) -> &'static str {
                match self {
                    $(Self::$variant => $refused,)*
                }
            }
        }
    };
}

kinds! {
    /// Bytes of request bodies in memory, beyond the 16 KiB that each request may have.
    BodyBytes = "body_bytes", "The workspace's requests under way hold as much memory as they may";
    /// Calls of the Management API that change the catalog and are under way.
    CatalogChanges = "catalog_changes", "The workspace has as many changes under way as it may";
    /// Deliveries that are queued, by events, by Sends, by test events and by retries.
    Deliveries = "deliveries", "The workspace's rate of deliveries is exceeded";
    /// Bytes of large lists that are being sent.
    ListBytes = "list_bytes", "The workspace's lists under way hold as much memory as they may";
    /// Lists that are read from the store and written as JSON.
    ListReads = "list_reads", "The workspace has as many lists under way as it may";
    /// Calls of the Management API.
    ManagementCalls = "management_calls", "The workspace's rate of management calls is exceeded";
    /// Deliveries that are queued and not settled.
    PendingDeliveries = "pending_deliveries", "The workspace has as many pending deliveries as it may";
    /// Bytes of payloads that are kept.
    StoredBytes = "stored_bytes", "The workspace keeps as many bytes of payloads as it may";
    /// Retries and test events that are under way.
    OperatorActions = "operator_actions", "The workspace has as many retries and test events under way as it may";
}

/// Number of kinds.
pub(super) const KINDS: usize = BudgetKind::ALL.len();

const MIB: u64 = 1024 * 1024;

/// The bound of each kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BudgetSettings([Bound; KINDS]);

impl BudgetSettings {
    /// Returns the bound of that kind.
    pub fn bound(&self, kind: BudgetKind) -> Bound {
        self.0[kind as usize]
    }

    /// Sets the bound of that kind.
    #[must_use]
    pub fn with_bound(mut self, kind: BudgetKind, bound: Bound) -> Self {
        self.0[kind as usize] = bound;
        self
    }
}

impl Default for BudgetSettings {
    fn default() -> Self {
        let held = |workspace, all| Bound::Held { workspace, all };
        let spent = |per_second, burst| Bound::Spent {
            interval: Duration::from_secs(1) / per_second,
            burst,
        };
        let mut bounds = [held(0, 0); KINDS];
        for kind in BudgetKind::ALL {
            bounds[*kind as usize] = match kind {
                BudgetKind::BodyBytes => held(64 * MIB, 256 * MIB),
                BudgetKind::CatalogChanges => held(4, 32),
                BudgetKind::Deliveries => spent(1_000_000, 10_000_000),
                BudgetKind::ListBytes => held(16 * MIB, 64 * MIB),
                BudgetKind::ListReads => held(1, 4),
                BudgetKind::ManagementCalls => spent(200, 2_000),
                BudgetKind::PendingDeliveries => Bound::Kept {
                    workspace: Plan::PENDING_MAX_DEFAULT.into(),
                },
                BudgetKind::StoredBytes => Bound::Kept {
                    workspace: Plan::STORED_LEN_MAX_DEFAULT,
                },
                BudgetKind::OperatorActions => held(4, 16),
            };
        }
        Self(bounds)
    }
}
