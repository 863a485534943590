//! One named test per clause.

/// The tests of one suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite {
    ($suite:ident, $harness:ty, [$($clause:ident),+ $(,)?]) => {
        mod $suite {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $clause() {
                    $crate::run($crate::suite::$suite::$clause::<$harness>());
                }
            )+
        }
    };
}

/// Runs every clause of [`suite::catalog`](crate::suite::catalog) for a [`CatalogHarness`](crate::CatalogHarness).
#[macro_export]
macro_rules! catalog_conformance {
    ($harness:ty) => {
        $crate::__suite! { catalog, $harness, [
            applying_creates_what_is_declared,
            applying_again_changes_nothing,
            an_update_is_told_and_seen,
            what_is_not_named_stays,
            the_default_environment_appears,
            a_dry_run_changes_nothing,
            given_ids_are_kept,
            workspaces_are_oldest_first,
            concurrent_applies_agree,
            the_catalog_survives_a_restart,
            an_ensured_event_type_exists_once,
            an_ensured_event_type_has_the_endpoints_of_patterns,
            concurrent_ensuring_agrees,
            event_types_are_ensured_in_known_workspaces_only,
            a_drawn_secret_is_told_once,
            an_error_changes_nothing,
            taken_ids_and_keys_are_refused,
            a_disabled_endpoint_gets_no_more_deliveries,
        ] }
    };
}

/// Runs every clause of [`suite::send`](crate::suite::send) for a [`SendHarness`](crate::SendHarness).
#[macro_export]
macro_rules! send_conformance {
    ($harness:ty) => {
        $crate::__suite! { send, $harness, [
            every_slot_is_resolved,
            a_direct_payload_arrives_unchanged,
            many_are_sent_at_once,
            sending_nothing_is_fine,
            a_repeated_key_is_answered_with_the_first,
            repeats_side_by_side_are_answered_with_one,
            a_key_belongs_to_its_endpoint,
            any_key_is_told_from_any_other,
            a_key_stands_for_a_day,
            concurrent_repeats_queue_one,
            concurrent_batches_in_any_order_queue_one_each,
            a_gone_endpoint_fails_alone,
            what_is_not_queued_leaves_its_key_free,
            a_dropped_send_can_be_repeated,
            the_log_shows_the_key,
            keys_survive_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::endpoints`](crate::suite::endpoints) for a [`EndpointHarness`](crate::EndpointHarness).
#[macro_export]
macro_rules! endpoint_conformance {
    ($harness:ty) => {
        $crate::__suite! { endpoints, $harness, [
            a_target_is_complete,
            every_target_can_sign,
            targets_come_in_order,
            many_are_answered_at_once,
            a_disabled_endpoint_is_not_active,
            the_earliest_failure_counts,
            a_success_ends_the_failures,
            reports_about_the_gone_are_dropped,
            a_changed_endpoint_is_seen,
            an_endpoint_enabled_again_starts_afresh,
        ] }
    };
}

/// Runs every clause of [`suite::keys`](crate::suite::keys) for a [`KeyHarness`](crate::KeyHarness).
#[macro_export]
macro_rules! key_conformance {
    ($harness:ty) => {
        $crate::__suite! { keys, $harness, [
            an_unknown_key_is_none,
            a_key_identifies_its_caller,
            a_caller_carries_what_its_key_is_bound_to,
            a_caller_carries_the_plan,
            a_disabled_key_says_so,
            a_revoked_key_is_none,
            a_token_identifies_its_workspace,
            keys_and_tokens_are_not_interchangeable,
        ] }
    };
}

/// Runs every clause of [`suite::limiter`](crate::suite::limiter) for a [`LimiterHarness`](crate::LimiterHarness).
#[macro_export]
macro_rules! limiter_conformance {
    ($harness:ty) => {
        $crate::__suite! { limiter, $harness, [
            a_burst_is_admitted,
            refused_until_exactly_retry_after,
            the_longer_wait_counts,
            a_workspace_limit_spans_its_keys,
            keys_are_independent,
            a_refusal_spends_nothing,
            workspaces_are_independent,
            unlimited_is_unlimited,
            tokens_come_back_one_by_one,
            concurrent_checks_never_over_admit,
            several_are_admitted_as_far_as_there_are_tokens,
            looking_spends_nothing,
            what_is_left_is_counted,
            the_tighter_level_is_shown,
            without_a_rate_the_largest_numbers_are_shown,
            extreme_rates_are_kept,
        ] }
    };
}

/// Runs every clause of [`suite::log`](crate::suite::log) for a [`LogHarness`](crate::LogHarness).
#[macro_export]
macro_rules! log_conformance {
    ($harness:ty) => {
        $crate::__suite! { log, $harness, [
            a_fresh_delivery_is_pending,
            the_status_follows_the_delivery,
            every_end_has_its_status,
            attempts_are_oldest_first,
            a_stale_attempt_is_not_shown,
            siblings_are_shown_apart,
            the_payload_is_shown_unchanged,
            other_workspaces_see_nothing,
            the_log_survives_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::management`](crate::suite::management) for a [`ManagementHarness`](crate::ManagementHarness).
#[macro_export]
macro_rules! management_conformance {
    ($harness:ty) => {
        $crate::__suite! { management, $harness, [
            what_was_made_is_read_whole,
            each_selection_reads_its_rows,
            applications_are_paged,
            applications_are_found_by_name,
            endpoints_are_found_page_by_page,
            endpoints_are_found_by_what_they_are,
            subscribers_are_counted,
            other_workspaces_are_not_read,
            rows_are_counted,
            endpoints_of_a_workspace_are_limited,
            a_change_is_whole_or_nothing,
            a_name_that_cannot_be_is_refused,
            the_plan_sees_what_it_reads,
            a_plan_that_refuses_changes_nothing,
            a_missing_row_is_not_found,
            taken_names_are_conflicts,
            concurrent_changes_keep_the_limit,
            what_was_changed_survives_a_restart,
            a_removed_endpoint_is_gone_everywhere,
            a_removed_event_type_is_gone,
            a_removed_environment_is_gone,
            a_removed_application_takes_its_endpoints,
            a_name_may_be_used_again,
            a_removed_id_may_be_declared_again,
            a_changed_endpoint_fans_out_at_once,
            visibility_gates_the_fan_out,
            a_pattern_is_managed,
            what_is_removed_takes_its_patterns_along,
            a_declared_application_is_as_declared,
            declaring_again_keeps_what_is_managed,
            a_rotated_secret_signs_beside_the_new_one,
            an_endpoint_enabled_by_hand_starts_afresh,
            a_created_key_is_let_in_until_revoked,
            a_key_is_disabled_and_enabled,
            revoking_is_final,
            keys_are_listed_oldest_first,
            every_change_is_audited,
            entries_are_filtered_and_counted,
            applying_is_audited,
            disabling_is_audited,
            a_refused_change_is_not_audited,
            other_workspaces_audit_is_absent,
        ] }
    };
}

/// Runs every clause of [`suite::publisher`](crate::suite::publisher) for a [`PublisherHarness`](crate::PublisherHarness).
#[macro_export]
macro_rules! publisher_conformance {
    ($harness:ty) => {
        $crate::__suite! { publisher, $harness, [
            every_delivery_is_resolved,
            published_means_queued,
            a_definite_failure_is_not_queued,
            siblings_are_independent,
            payload_and_metadata_arrive_unchanged,
            a_wide_batch_is_published,
            an_empty_batch_is_fine,
            a_dropped_future_keeps_what_it_resolved,
            unreachable_is_not_published,
            messages_name_no_host_or_secret,
            concurrent_publishes_do_not_mix,
            what_was_published_survives_a_restart,
            a_keyed_event_is_queued_once_or_refused,
        ] }
    };
}

/// Runs every clause of [`suite::queue`](crate::suite::queue) for a [`QueueHarness`](crate::QueueHarness).
#[macro_export]
macro_rules! queue_conformance {
    ($harness:ty) => {
        $crate::__suite! { queue, $harness, [
            the_most_of_a_request_is_kept,
            the_bounds_of_a_request_hold,
            settling_makes_room_under_the_bound,
            exceptions_override_the_bound,
            a_workspace_gets_no_more_than_its_share,
            endpoints_that_are_not_listed_share_their_room,
            a_workspace_at_its_bound_holds_no_other_back,
            a_request_may_ask_for_any_number,
            changed_wakes_a_waiting_worker,
            changed_never_misses,
            changed_wakes_for_a_retry_that_is_due,
            changed_wakes_for_room_under_a_bound,
            changed_may_be_waited_for_by_many,
            next_due_is_told,
            one_endpoint_holds_no_other_back,
            endpoints_are_served_in_turn,
            old_retries_and_fresh_deliveries_share,
            an_empty_queue_has_nothing,
            a_leased_delivery_is_complete,
            a_lease_is_exclusive,
            an_expired_lease_is_offered_again,
            an_extended_lease_is_kept,
            an_extension_lasts_for_its_duration,
            a_lost_lease_cannot_be_extended,
            a_dropped_lease_call_loses_nothing,
            a_settled_delivery_never_returns,
            a_retry_comes_at_its_time,
            a_released_delivery_comes_back_at_once,
            a_stale_lease_cannot_settle,
            an_expired_lease_may_settle,
            settling_twice_is_harmless,
            settlements_are_independent,
            attempts_are_counted,
            the_backlog_is_counted_to_its_bound,
            the_backlog_is_what_is_due,
            workers_share_without_overlap,
            nothing_is_lost_by_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::recorder`](crate::suite::recorder) for a [`RecorderHarness`](crate::RecorderHarness).
#[macro_export]
macro_rules! recorder_conformance {
    ($harness:ty) => {
        $crate::__suite! { recorder, $harness, [
            what_is_recorded_is_shown,
            a_retry_and_a_success_are_shown,
            every_standing_has_its_status,
            a_payload_that_is_not_kept_is_not_shown,
            given_ids_are_kept,
            repeats_change_nothing,
            order_does_not_matter,
            attempts_at_once_agree,
            siblings_are_recorded_apart,
            what_is_recorded_is_never_leased,
            stats_tell_the_age_of_what_is_recorded,
            the_stores_own_deliveries_are_left_alone,
            other_workspaces_see_nothing_recorded,
            the_unknown_is_dropped_and_its_siblings_recorded,
            an_unknown_event_type_is_remembered,
            a_direct_delivery_is_recorded_with_its_key,
            a_wide_batch_is_recorded,
            concurrent_recording_agrees,
            the_record_survives_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::redelivery`](crate::suite::redelivery) for a [`RedeliveryHarness`](crate::RedeliveryHarness).
#[macro_export]
macro_rules! redelivery_conformance {
    ($harness:ty) => {
        $crate::__suite! { redelivery, $harness, [
            what_was_given_up_is_due_at_once,
            what_was_never_attempted_is_pending_again,
            what_was_not_given_up_stays,
            other_workspaces_queue_nothing,
            a_backlog_is_queued_again_in_steps,
            a_waiting_worker_is_woken,
            what_was_queued_again_survives_a_restart,
            what_was_given_up_elsewhere_is_taken_over,
        ] }
    };
}

/// Runs every clause of [`suite::counts`](crate::suite::counts) for a [`CountsHarness`](crate::CountsHarness).
#[macro_export]
macro_rules! counts_conformance {
    ($harness:ty) => {
        $crate::__suite! { counts, $harness, [
            counts_add_up,
            the_oldest_count_is_first,
            concurrent_counts_add_up,
            counts_of_the_unknown_are_left_out,
            other_workspaces_have_counts_of_their_own,
            counts_survive_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::events`](crate::suite::events) for an [`EventSearchHarness`](crate::EventSearchHarness).
#[macro_export]
macro_rules! event_search_conformance {
    ($harness:ty) => {
        $crate::__suite! { events, $harness, [
            the_newest_event_is_first,
            pages_show_each_event_once,
            deliveries_of_an_event_are_counted,
            deliveries_of_an_event_are_shown,
            labels_and_types_find_their_events,
            keys_find_what_was_sent_with_them,
            other_workspaces_find_no_events,
        ] }
    };
}

/// Runs every clause of [`suite::sessions`](crate::suite::sessions) for a [`SessionHarness`](crate::SessionHarness).
#[macro_export]
macro_rules! session_conformance {
    ($harness:ty) => {
        $crate::__suite! { sessions, $harness, [
            sessions_are_found_as_they_were_started,
            uses_of_sessions_are_noted,
            sessions_are_ended_once,
            sessions_of_a_holder_are_ended_together,
            codes_of_portals_are_taken_once,
            sessions_survive_a_restart,
        ] }
    };
}

/// Runs every clause of [`suite::search`](crate::suite::search) for a [`SearchHarness`](crate::SearchHarness).
#[macro_export]
macro_rules! search_conformance {
    ($harness:ty) => {
        $crate::__suite! { search, $harness, [
            the_newest_delivery_is_first,
            pages_show_each_delivery_once,
            a_status_finds_its_deliveries,
            an_endpoint_is_counted_alone,
            counts_end_at_their_bound,
            each_status_is_counted,
            stats_tell_since_when_a_delivery_is_due,
            since_is_kept,
            other_workspaces_find_nothing,
        ] }
    };
}

/// Runs every clause of [`suite::subscriptions`](crate::suite::subscriptions) for a [`SubscriptionHarness`](crate::SubscriptionHarness).
#[macro_export]
macro_rules! subscription_conformance {
    ($harness:ty) => {
        $crate::__suite! { subscriptions, $harness, [
            inactive_endpoints_are_absent,
            the_state_of_an_endpoint_is_told,
            an_endpoint_beyond_the_scope_is_unknown,
            other_workspaces_are_absent,
            other_environments_are_absent,
            a_key_without_environment_reaches_all_environments,
            unpublished_event_types_fan_out_to_nobody,
            the_default_environment_publishes_everything,
            each_endpoint_appears_once,
            order_is_stable,
            order_is_that_of_subscribing,
            a_crowd_is_answered_whole,
            an_unknown_event_type_is_none,
            an_unsubscribed_event_type_is_empty,
            a_new_subscription_is_seen,
            a_removed_subscription_is_not_seen,
            the_event_type_is_named,
            a_pattern_has_what_it_matches,
            a_pattern_has_event_types_made_later,
            several_ways_are_one_subscription,
            a_removed_pattern_gives_nothing_more,
            a_pattern_keeps_to_its_scope,
        ] }
    };
}

/// Runs every suite but the limiter's for a [`StoreHarness`](crate::StoreHarness).
#[macro_export]
macro_rules! store_conformance {
    ($harness:ty) => {
        $crate::catalog_conformance! { $harness }
        $crate::counts_conformance! { $harness }
        $crate::send_conformance! { $harness }
        $crate::endpoint_conformance! { $harness }
        $crate::event_search_conformance! { $harness }
        $crate::key_conformance! { $harness }
        $crate::log_conformance! { $harness }
        $crate::management_conformance! { $harness }
        $crate::publisher_conformance! { $harness }
        $crate::queue_conformance! { $harness }
        $crate::recorder_conformance! { $harness }
        $crate::redelivery_conformance! { $harness }
        $crate::search_conformance! { $harness }
        $crate::session_conformance! { $harness }
        $crate::subscription_conformance! { $harness }
    };
}
