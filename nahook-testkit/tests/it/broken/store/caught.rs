//! Which clauses catch which bug.

use super::{Bug::*, With};
use crate::broken::catches;

mod subscriptions {
    use super::*;
    catches! { subscriptions:
        leaks_other_environments in With<{ LeaksOtherEnvironments as usize }> =>
            other_environments_are_absent, unpublished_event_types_fan_out_to_nobody,
            an_endpoint_beyond_the_scope_is_unknown;
        disabled_is_gone in With<{ DisabledIsGone as usize }> => the_state_of_an_endpoint_is_told;
        disabled_is_active in With<{ DisabledIsActive as usize }> =>
            the_state_of_an_endpoint_is_told;
        leaks_other_workspaces in With<{ LeaksOtherWorkspaces as usize }> =>
            other_workspaces_are_absent;
        forgets_visibility in With<{ ForgetsVisibility as usize }> =>
            unpublished_event_types_fan_out_to_nobody;
        never_forgets_a_look_up in With<{ NeverForgetsALookUp as usize }> =>
            inactive_endpoints_are_absent, a_new_subscription_is_seen,
            a_removed_subscription_is_not_seen;
        sorts_subscribers in With<{ SortsSubscribers as usize }> =>
            order_is_that_of_subscribing, a_pattern_has_event_types_made_later;
        repeats_subscribers in With<{ RepeatsSubscribers as usize }> =>
            each_endpoint_appears_once, a_crowd_is_answered_whole, several_ways_are_one_subscription;
        unknown_is_empty in With<{ UnknownIsEmpty as usize }> =>
            an_unknown_event_type_is_none, a_pattern_has_event_types_made_later;
        empty_is_unknown in With<{ EmptyIsUnknown as usize }> =>
            an_unsubscribed_event_type_is_empty, the_event_type_is_named;
        ignores_case in With<{ IgnoresCase as usize }> =>
            an_unknown_event_type_is_none, a_pattern_has_what_it_matches;
        forgets_patterns in With<{ ForgetsPatterns as usize }> =>
            a_pattern_has_what_it_matches, a_pattern_has_event_types_made_later,
            several_ways_are_one_subscription, a_removed_pattern_gives_nothing_more,
            a_pattern_keeps_to_its_scope;
        expands_patterns_once in With<{ ExpandsPatternsOnce as usize }> =>
            a_pattern_has_event_types_made_later, a_pattern_keeps_to_its_scope;
        shallow_is_deep in With<{ ShallowIsDeep as usize }> => a_pattern_has_what_it_matches;
        deep_is_shallow in With<{ DeepIsShallow as usize }> => a_pattern_has_what_it_matches;
        keeps_patterns in With<{ KeepsPatterns as usize }> =>
            several_ways_are_one_subscription, a_removed_pattern_gives_nothing_more;
        patterns_replace_names in With<{ PatternsReplaceNames as usize }> =>
            several_ways_are_one_subscription, a_removed_pattern_gives_nothing_more;
        leaks_patterns in With<{ LeaksPatterns as usize }> => a_pattern_keeps_to_its_scope;
    }
}

mod queue {
    use super::*;
    catches! { queue:
        leases_twice in With<{ LeasesTwice as usize }> =>
            a_lease_is_exclusive, a_settled_delivery_never_returns, an_extended_lease_is_kept;
        retries_at_once in With<{ RetriesAtOnce as usize }> =>
            a_retry_comes_at_its_time, settling_twice_is_harmless, next_due_is_told;
        retries_never in With<{ RetriesNever as usize }> =>
            a_retry_comes_at_its_time, attempts_are_counted, old_retries_and_fresh_deliveries_share;
        settles_stale_leases in With<{ SettlesStaleLeases as usize }> =>
            a_stale_lease_cannot_settle, settling_twice_is_harmless, settlements_are_independent;
        settles_all_or_none in With<{ SettlesAllOrNone as usize }> => settlements_are_independent;
        forgets_bounds in With<{ ForgetsBounds as usize }> =>
            the_bounds_of_a_request_hold, settling_makes_room_under_the_bound;
        forgets_exceptions in With<{ ForgetsExceptions as usize }> => exceptions_override_the_bound;
        forgets_workspaces in With<{ ForgetsWorkspaces as usize }> =>
            a_workspace_gets_no_more_than_its_share;
        lists_everything in With<{ ListsEverything as usize }> =>
            endpoints_that_are_not_listed_share_their_room;
        holds_others_back in With<{ HoldsOthersBack as usize }> =>
            a_workspace_at_its_bound_holds_no_other_back;
        forgets_the_most in With<{ ForgetsTheMost as usize }> => the_most_of_a_request_is_kept;
        counts_backlog_without_bound in With<{ CountsWithoutBound as usize }> =>
            the_backlog_is_counted_to_its_bound;
        forgets_the_oldest_due in With<{ ForgetsTheOldest as usize }> =>
            the_backlog_is_what_is_due;
        never_wakes in With<{ NeverWakes as usize }> =>
            changed_wakes_a_waiting_worker, changed_never_misses, changed_may_be_waited_for_by_many;
        wakes_for_no_retry in With<{ WakesForNoRetry as usize }> =>
            changed_wakes_for_a_retry_that_is_due;
        wakes_for_no_room in With<{ WakesForNoRoom as usize }> =>
            changed_wakes_for_room_under_a_bound;
        extends_by_a_lease in With<{ ExtendsByALease as usize }> =>
            an_extension_lasts_for_its_duration;
        tells_no_due_time in With<{ TellsNoDueTime as usize }> => next_due_is_told;
        forgets_attempts in With<{ ForgetsAttempts as usize }> =>
            attempts_are_counted, a_stale_lease_cannot_settle;
        only_says_it_extends in With<{ OnlySaysItExtends as usize }> =>
            an_extended_lease_is_kept, a_lost_lease_cannot_be_extended;
        loses_released in With<{ LosesReleased as usize }> =>
            a_released_delivery_comes_back_at_once;
        serves_first_come_first in With<{ ServesFirstComeFirst as usize }> =>
            one_endpoint_holds_no_other_back, endpoints_are_served_in_turn;
        prefers_fresh in With<{ PrefersFresh as usize }> => old_retries_and_fresh_deliveries_share;
        prefers_retries in With<{ PrefersRetries as usize }> =>
            old_retries_and_fresh_deliveries_share;
        forgets_at_a_restart in With<{ ForgetsAtARestart as usize }> =>
            nothing_is_lost_by_a_restart;
    }
}

mod keys {
    use super::*;
    catches! { keys:
        disabled_is_gone in With<{ DisabledIsGone as usize }> => a_disabled_key_says_so;
        disabled_is_active in With<{ DisabledIsActive as usize }> => a_disabled_key_says_so;
        forgets_what_a_key_is_bound_to in With<{ ForgetsWhatAKeyIsBoundTo as usize }> =>
            a_caller_carries_what_its_key_is_bound_to;
        forgets_the_plan in With<{ ForgetsThePlan as usize }> => a_caller_carries_the_plan;
        revoked_is_disabled in With<{ RevokedIsDisabled as usize }> => a_revoked_key_is_none;
        tokens_are_keys in With<{ TokensAreKeys as usize }> =>
            keys_and_tokens_are_not_interchangeable;
    }
}

mod endpoints {
    use super::*;
    catches! { endpoints:
        sorts_targets in With<{ SortsTargets as usize }> => targets_come_in_order;
        skips_gone_targets in With<{ SkipsGoneTargets as usize }> =>
            targets_come_in_order, reports_about_the_gone_are_dropped;
        latest_failure_counts in With<{ LatestFailureCounts as usize }> =>
            the_earliest_failure_counts;
        ignores_reports in With<{ IgnoresReports as usize }> =>
            a_disabled_endpoint_is_not_active, a_success_ends_the_failures;
    }
}

mod log {
    use super::*;
    catches! { log:
        shows_newest_first in With<{ ShowsNewestFirst as usize }> => attempts_are_oldest_first;
        counts_from_zero in With<{ CountsFromZero as usize }> => attempts_are_oldest_first;
        shows_other_workspaces in With<{ ShowsOtherWorkspaces as usize }> =>
            other_workspaces_see_nothing;
        no_attempts_is_no_delivery in With<{ NoAttemptsIsNoDelivery as usize }> =>
            a_fresh_delivery_is_pending;
        hides_delivering in With<{ HidesDelivering as usize }> => the_status_follows_the_delivery;
        records_stale_attempts in With<{ SettlesStaleLeases as usize }> =>
            a_stale_attempt_is_not_shown;
        retries_at_once in With<{ RetriesAtOnce as usize }> => the_status_follows_the_delivery;
        loses_released in With<{ LosesReleased as usize }> =>
            every_end_has_its_status, siblings_are_shown_apart;
        forgets_at_a_restart in With<{ ForgetsAtARestart as usize }> => the_log_survives_a_restart;
    }
}

mod recorder {
    use super::*;
    catches! { recorder:
        counts_repeats in With<{ CountsRepeats as usize }> =>
            repeats_change_nothing, order_does_not_matter;
        invents_payloads in With<{ InventsPayloads as usize }> =>
            a_payload_that_is_not_kept_is_not_shown;
        draws_given_ids_anew in With<{ DrawsGivenIdsAnew as usize }> => given_ids_are_kept;
        drops_what_comes_late in With<{ DropsWhatComesLate as usize }> => order_does_not_matter;
        forgets_recorded_attempts in With<{ ForgetsRecordedAttempts as usize }> =>
            a_retry_and_a_success_are_shown, attempts_at_once_agree;
        records_for_the_first in With<{ RecordsForTheFirst as usize }> =>
            what_is_recorded_is_shown, siblings_are_recorded_apart;
        records_half in With<{ RecordsHalf as usize }> => a_wide_batch_is_recorded;
        refuses_the_unknown in With<{ RefusesTheUnknown as usize }> =>
            the_unknown_is_dropped_and_its_siblings_recorded;
        adopts_the_unknown in With<{ AdoptsTheUnknown as usize }> =>
            the_unknown_is_dropped_and_its_siblings_recorded;
        failure_counts_most in With<{ FailureCountsMost as usize }> =>
            attempts_at_once_agree, every_standing_has_its_status;
        leases_the_recorded in With<{ LeasesTheRecorded as usize }> =>
            what_is_recorded_is_never_leased;
        ends_its_own in With<{ EndsItsOwn as usize }> => the_stores_own_deliveries_are_left_alone;
        shows_other_workspaces in With<{ ShowsOtherWorkspaces as usize }> =>
            other_workspaces_see_nothing_recorded;
        shows_newest_first in With<{ ShowsNewestFirst as usize }> =>
            a_retry_and_a_success_are_shown;
        forgets_at_a_restart in With<{ ForgetsAtARestart as usize }> =>
            the_record_survives_a_restart;
    }
}

mod send {
    use super::*;
    catches! { send:
        forgets_keys in With<{ ForgetsKeys as usize }> =>
            a_repeated_key_is_answered_with_the_first,
            repeats_side_by_side_are_answered_with_one, a_key_stands_for_a_day,
            a_dropped_send_can_be_repeated, concurrent_batches_in_any_order_queue_one_each;
        trims_keys in With<{ TrimsKeys as usize }> => any_key_is_told_from_any_other;
        folds_keys in With<{ FoldsKeys as usize }> => any_key_is_told_from_any_other;
        compares_payloads in With<{ ComparesPayloads as usize }> =>
            a_repeated_key_is_answered_with_the_first;
        stops_at_a_gone_endpoint in With<{ StopsAtAGoneEndpoint as usize }> =>
            a_gone_endpoint_fails_alone;
        races_for_keys in With<{ RacesForKeys as usize }> =>
            concurrent_repeats_queue_one, concurrent_batches_in_any_order_queue_one_each;
        forgets_the_endpoint_of_a_key in With<{ ForgetsTheEndpointOfAKey as usize }> =>
            a_key_belongs_to_its_endpoint, repeats_side_by_side_are_answered_with_one;
        keys_never_run_out in With<{ KeysNeverRunOut as usize }> => a_key_stands_for_a_day;
        repeats_prolong_keys in With<{ RepeatsProlongKeys as usize }> => a_key_stands_for_a_day;
        gone_uses_the_key_up in With<{ GoneUsesTheKeyUp as usize }> =>
            what_is_not_queued_leaves_its_key_free, a_gone_endpoint_fails_alone;
        answers_repeats_as_published in With<{ AnswersRepeatsAsPublished as usize }> =>
            a_repeated_key_is_answered_with_the_first, concurrent_repeats_queue_one;
        hides_the_key in With<{ HidesTheKey as usize }> => the_log_shows_the_key;
        forgets_at_a_restart in With<{ ForgetsAtARestart as usize }> => keys_survive_a_restart;
    }
}

mod catalog {
    use super::*;
    catches! { catalog:
        dry_run_commits in With<{ DryRunCommits as usize }> => a_dry_run_changes_nothing;
        tells_nothing in With<{ TellsNothing as usize }> =>
            applying_creates_what_is_declared, an_update_is_told_and_seen,
            the_default_environment_appears, concurrent_applies_agree, given_ids_are_kept,
            a_drawn_secret_is_told_once;
        applies_half in With<{ AppliesHalf as usize }> => an_error_changes_nothing;
        re_ensures in With<{ ReEnsures as usize }> =>
            an_ensured_event_type_exists_once, concurrent_ensuring_agrees;
        expands_patterns_once in With<{ ExpandsPatternsOnce as usize }> =>
            an_ensured_event_type_has_the_endpoints_of_patterns;
        ignores_reports in With<{ IgnoresReports as usize }> =>
            a_disabled_endpoint_gets_no_more_deliveries;
        forgets_at_a_restart in With<{ ForgetsAtARestart as usize }> =>
            the_catalog_survives_a_restart;
    }
}

mod management {
    use super::*;
    catches! { management:
        manages_other_workspaces in With<{ ManagesOtherWorkspaces as usize }> =>
            other_workspaces_are_not_read, other_workspaces_audit_is_absent, revoking_is_final;
        forgets_the_offset in With<{ ForgetsTheOffset as usize }> => applications_are_paged;
        reads_newest_first in With<{ ReadsNewestFirst as usize }> => each_selection_reads_its_rows;
        revives_keys in With<{ RevivesKeys as usize }> => revoking_is_final;
        lists_other_keys in With<{ ListsOtherKeys as usize }> => keys_are_listed_oldest_first;
        disabled_is_active in With<{ DisabledIsActive as usize }> => a_key_is_disabled_and_enabled;
        counts_no_rows in With<{ CountsNoRows as usize }> => rows_are_counted;
        counts_nobody in With<{ CountsNobody as usize }> =>
            subscribers_are_counted, a_pattern_is_managed;
        reads_no_patterns in With<{ ReadsNoPatterns as usize }> => a_pattern_is_managed;
        forgets_the_previous_secret in With<{ ForgetsThePreviousSecret as usize }> =>
            what_was_made_is_read_whole;
        writes_half in With<{ WritesHalf as usize }> => a_change_is_whole_or_nothing;
        decides_by_old_rows in With<{ DecidesByOldRows as usize }> =>
            concurrent_changes_keep_the_limit;
        forgets_to_audit in With<{ ForgetsToAudit as usize }> => every_change_is_audited;
        only_disables_the_removed in With<{ OnlyDisablesTheRemoved as usize }> =>
            a_removed_endpoint_is_gone_everywhere, what_is_removed_takes_its_patterns_along;
        shows_nothing_to_plans in With<{ ShowsNothingToPlans as usize }> =>
            the_plan_sees_what_it_reads;
        audits_unfiltered in With<{ AuditsUnfiltered as usize }> =>
            entries_are_filtered_and_counted;
        audits_oldest_first in With<{ AuditsOldestFirst as usize }> => every_change_is_audited;
        counts_the_page in With<{ CountsThePage as usize }> => entries_are_filtered_and_counted;
    }
}

mod search {
    use super::*;
    catches! { search:
        finds_any_status in With<{ FindsAnyStatus as usize }> => a_status_finds_its_deliveries;
        finds_from_the_start in With<{ FindsFromTheStart as usize }> =>
            a_status_finds_its_deliveries;
        finds_the_old in With<{ FindsTheOld as usize }> => since_is_kept;
        finds_other_workspaces in With<{ FindsOtherWorkspaces as usize }> =>
            other_workspaces_find_nothing;
        finds_more in With<{ FindsMore as usize }> => pages_show_each_delivery_once;
        finds_oldest_first in With<{ FindsOldestFirst as usize }> => the_newest_delivery_is_first;
        counts_every_endpoint in With<{ CountsEveryEndpoint as usize }> =>
            an_endpoint_is_counted_alone;
        counts_leased_as_pending in With<{ CountsLeasedAsPending as usize }> =>
            each_status_is_counted;
        counts_without_bound in With<{ CountsWithoutBound as usize }> => counts_end_at_their_bound;
        forgets_the_oldest in With<{ ForgetsTheOldest as usize }> =>
            stats_tell_since_when_a_delivery_is_due;
    }
}

mod redelivery {
    use super::*;
    catches! { redelivery:
        only_says_it_queues in With<{ OnlySaysItQueues as usize }> =>
            what_was_given_up_is_due_at_once, what_was_not_given_up_stays;
        redelivers_for_others in With<{ RedeliversForOthers as usize }> =>
            other_workspaces_queue_nothing;
        hides_how_it_stands in With<{ HidesHowItStands as usize }> => what_was_not_given_up_stays;
        redelivers_the_old in With<{ RedeliversTheOld as usize }> =>
            a_backlog_is_queued_again_in_steps;
        redelivers_all_at_once in With<{ RedeliversAllAtOnce as usize }> =>
            a_backlog_is_queued_again_in_steps;
    }
}
