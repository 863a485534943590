//! Promises of every [`ManagementStore`](nahook_control::ManagementStore).

mod auditing;
mod changing;
mod declaring;
mod finding;
mod keys;
mod limits;
mod patterns;
mod reading;
mod removing;
mod seen;
pub(super) mod shop;

pub use self::auditing::{
    a_refused_change_is_not_audited, applying_is_audited, disabling_is_audited,
    entries_are_filtered_and_counted, every_change_is_audited, other_workspaces_audit_is_absent,
};
pub use self::changing::{
    a_change_is_whole_or_nothing, a_missing_row_is_not_found, a_name_that_cannot_be_is_refused,
    a_plan_that_refuses_changes_nothing, concurrent_changes_keep_the_limit,
    taken_names_are_conflicts, the_plan_sees_what_it_reads, what_was_changed_survives_a_restart,
};
pub use self::declaring::{
    a_declared_application_is_as_declared, declaring_again_keeps_what_is_managed,
};
pub use self::finding::{endpoints_are_found_by_what_they_are, endpoints_are_found_page_by_page};
pub use self::keys::{
    a_key_is_disabled_and_enabled, keys_are_listed_oldest_first, revoking_is_final,
};
pub use self::limits::{endpoints_of_a_workspace_are_limited, rows_are_counted};
pub use self::patterns::{a_pattern_is_managed, what_is_removed_takes_its_patterns_along};
pub use self::reading::{
    applications_are_found_by_name, applications_are_paged, each_selection_reads_its_rows,
    other_workspaces_are_not_read, subscribers_are_counted, what_was_made_is_read_whole,
};
pub use self::removing::{
    a_name_may_be_used_again, a_removed_application_takes_its_endpoints,
    a_removed_endpoint_is_gone_everywhere, a_removed_environment_is_gone,
    a_removed_event_type_is_gone, a_removed_id_may_be_declared_again,
};
pub use self::seen::{
    a_changed_endpoint_fans_out_at_once, a_created_key_is_let_in_until_revoked,
    a_rotated_secret_signs_beside_the_new_one, an_endpoint_enabled_by_hand_starts_afresh,
    visibility_gates_the_fan_out,
};
