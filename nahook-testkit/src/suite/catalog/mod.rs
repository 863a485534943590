//! Promises of every [`Catalog`](nahook_control::Catalog).

mod applying;
mod event_types;
mod keys;
mod refusing;
mod seen;

pub use self::applying::{
    a_dry_run_changes_nothing, an_update_is_told_and_seen, applying_again_changes_nothing,
    applying_creates_what_is_declared, concurrent_applies_agree, given_ids_are_kept,
    the_catalog_survives_a_restart, the_default_environment_appears, what_is_not_named_stays,
    workspaces_are_oldest_first,
};
pub use self::event_types::{
    an_ensured_event_type_exists_once, an_ensured_event_type_has_the_endpoints_of_patterns,
    concurrent_ensuring_agrees, event_types_are_ensured_in_known_workspaces_only,
};
pub use self::keys::a_drawn_secret_is_told_once;
pub(super) use self::keys::key;
pub use self::refusing::{an_error_changes_nothing, taken_ids_and_keys_are_refused};
pub use self::seen::a_disabled_endpoint_gets_no_more_deliveries;
pub(super) use self::seen::{apply, is_disabled};
