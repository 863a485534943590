//! Kinds of rows of which a workspace has a limited number.

use nahook_core::admission::Plan;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $plural:literal, $max:expr;)*) => {
        /// A kind of row that a store counts, so that no limit is checked by reading rows.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum RowKind {
            $($(#[$doc])* $variant,)*
        }

        impl RowKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in a store.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its rows in words.
            pub(crate) const fn plural(self) -> &'static str {
                match self {
                    $(Self::$variant => $plural,)*
                }
            }

            /// Returns the largest number of such rows that a workspace of that plan makes itself.
            pub fn max(self, plan: &Plan) -> u64 {
                let max: fn(&Plan) -> u64 = match self {
                    $(Self::$variant => $max,)*
                };
                max(plan)
            }
        }
    };
}

kinds! {
    /// Ingestion keys, revoked ones counted.
    ApiKey = "api_key", "API keys, revoked ones counted", |_| 100_000;
    /// Applications.
    Application = "application", "applications", |_| 1_000_000;
    /// Endpoints, inactive ones counted.
    Endpoint = "endpoint", "endpoints", |plan| plan.endpoints_max.into();
    /// Event types.
    EventType = "event_type", "event types", |_| 100_000;
    /// Management tokens, revoked ones counted.
    ManagementToken = "management_token", "management tokens, revoked ones counted", |_| 100_000;
    /// Subscriptions by pattern.
    Pattern = "pattern", "patterns", |_| 100_000;
    /// Endpoints that event types fan out to, by name or by pattern.
    Subscription = "subscription", "subscriptions", |_| 10_000_000;
}

impl RowKind {
    /// Returns the kind of that name in a store.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}
