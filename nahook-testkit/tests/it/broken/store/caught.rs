//! Which clauses catch which bug.

use super::{Bug, With};
use crate::broken::catches;

/// The same as [`catches`], by the name of the bug in [`With`].
macro_rules! caught {
    ($suite:ident: $($test:ident $bug:ident => $($clause:ident),+;)+) => {
        catches! { $suite: $($test in With<{ Bug::$bug as usize }> => $($clause),+;)+ }
    };
}

mod subscriptions {
    use super::*;
    caught! { subscriptions:
        leaks_other_environments LeaksOtherEnvironments => other_environments_are_absent,
            unpublished_event_types_fan_out_to_nobody, an_endpoint_beyond_the_scope_is_unknown;
        disabled_is_gone DisabledIsGone => the_state_of_an_endpoint_is_told;
        disabled_is_active DisabledIsActive => the_state_of_an_endpoint_is_told;
        leaks_other_workspaces LeaksOtherWorkspaces => other_workspaces_are_absent;
        forgets_visibility ForgetsVisibility => unpublished_event_types_fan_out_to_nobody;
        never_forgets_a_look_up NeverForgetsALookUp => inactive_endpoints_are_absent,
            a_new_subscription_is_seen, a_removed_subscription_is_not_seen;
        sorts_subscribers SortsSubscribers => order_is_that_of_subscribing,
            a_pattern_has_event_types_made_later;
        repeats_subscribers RepeatsSubscribers => each_endpoint_appears_once,
            a_crowd_is_answered_whole, several_ways_are_one_subscription;
        unknown_is_empty UnknownIsEmpty => an_unknown_event_type_is_none,
            a_pattern_has_event_types_made_later;
        empty_is_unknown EmptyIsUnknown => an_unsubscribed_event_type_is_empty,
            the_event_type_is_named;
        ignores_case IgnoresCase => an_unknown_event_type_is_none, a_pattern_has_what_it_matches;
        forgets_patterns ForgetsPatterns => a_pattern_has_what_it_matches,
            a_pattern_has_event_types_made_later, several_ways_are_one_subscription,
            a_removed_pattern_gives_nothing_more, a_pattern_keeps_to_its_scope;
        expands_patterns_once ExpandsPatternsOnce => a_pattern_has_event_types_made_later,
            a_pattern_keeps_to_its_scope;
        shallow_is_deep ShallowIsDeep => a_pattern_has_what_it_matches;
        deep_is_shallow DeepIsShallow => a_pattern_has_what_it_matches;
        keeps_patterns KeepsPatterns => several_ways_are_one_subscription,
            a_removed_pattern_gives_nothing_more;
        patterns_replace_names PatternsReplaceNames => several_ways_are_one_subscription,
            a_removed_pattern_gives_nothing_more;
        leaks_patterns LeaksPatterns => a_pattern_keeps_to_its_scope;
    }
}

mod queue {
    use super::*;
    caught! { queue:
        leases_twice LeasesTwice => a_lease_is_exclusive, a_settled_delivery_never_returns,
            an_extended_lease_is_kept;
        retries_at_once RetriesAtOnce => a_retry_comes_at_its_time, settling_twice_is_harmless,
            next_due_is_told;
        retries_never RetriesNever => a_retry_comes_at_its_time, attempts_are_counted,
            old_retries_and_fresh_deliveries_share;
        settles_stale_leases SettlesStaleLeases => a_stale_lease_cannot_settle,
            settling_twice_is_harmless, settlements_are_independent;
        settles_all_or_none SettlesAllOrNone => settlements_are_independent;
        forgets_bounds ForgetsBounds => the_bounds_of_a_request_hold,
            settling_makes_room_under_the_bound;
        forgets_exceptions ForgetsExceptions => exceptions_override_the_bound;
        forgets_workspaces ForgetsWorkspaces => a_workspace_gets_no_more_than_its_share;
        lists_everything ListsEverything => endpoints_that_are_not_listed_share_their_room;
        holds_others_back HoldsOthersBack => a_workspace_at_its_bound_holds_no_other_back;
        forgets_the_most ForgetsTheMost => the_most_of_a_request_is_kept;
        counts_backlog_without_bound CountsWithoutBound => the_backlog_is_counted_to_its_bound;
        forgets_the_oldest_due ForgetsTheOldest => the_backlog_is_what_is_due;
        never_wakes NeverWakes => changed_wakes_a_waiting_worker, changed_never_misses,
            changed_may_be_waited_for_by_many;
        wakes_for_no_retry WakesForNoRetry => changed_wakes_for_a_retry_that_is_due;
        wakes_for_no_room WakesForNoRoom => changed_wakes_for_room_under_a_bound;
        extends_by_a_lease ExtendsByALease => an_extension_lasts_for_its_duration;
        tells_no_due_time TellsNoDueTime => next_due_is_told;
        forgets_attempts ForgetsAttempts => attempts_are_counted, a_stale_lease_cannot_settle;
        only_says_it_extends OnlySaysItExtends => an_extended_lease_is_kept,
            a_lost_lease_cannot_be_extended;
        loses_released LosesReleased => a_released_delivery_comes_back_at_once;
        serves_first_come_first ServesFirstComeFirst => one_endpoint_holds_no_other_back,
            endpoints_are_served_in_turn;
        prefers_fresh PrefersFresh => old_retries_and_fresh_deliveries_share;
        prefers_retries PrefersRetries => old_retries_and_fresh_deliveries_share;
        forgets_at_a_restart ForgetsAtARestart => nothing_is_lost_by_a_restart;
    }
}

mod keys {
    use super::*;
    caught! { keys:
        disabled_is_gone DisabledIsGone => a_disabled_key_says_so;
        disabled_is_active DisabledIsActive => a_disabled_key_says_so;
        forgets_what_a_key_is_bound_to ForgetsWhatAKeyIsBoundTo =>
            a_caller_carries_what_its_key_is_bound_to;
        forgets_the_plan ForgetsThePlan => a_caller_carries_the_plan;
        revoked_is_disabled RevokedIsDisabled => a_revoked_key_is_none;
        tokens_are_keys TokensAreKeys => keys_and_tokens_are_not_interchangeable;
    }
}

mod endpoints {
    use super::*;
    caught! { endpoints:
        sorts_targets SortsTargets => targets_come_in_order;
        skips_gone_targets SkipsGoneTargets => targets_come_in_order,
            reports_about_the_gone_are_dropped;
        latest_failure_counts LatestFailureCounts => the_earliest_failure_counts;
        ignores_reports IgnoresReports => a_disabled_endpoint_is_not_active,
            a_success_ends_the_failures;
    }
}

mod log {
    use super::*;
    caught! { log:
        shows_newest_first ShowsNewestFirst => attempts_are_oldest_first;
        counts_from_zero CountsFromZero => attempts_are_oldest_first;
        shows_other_workspaces ShowsOtherWorkspaces => other_workspaces_see_nothing;
        no_attempts_is_no_delivery NoAttemptsIsNoDelivery => a_fresh_delivery_is_pending;
        hides_delivering HidesDelivering => the_status_follows_the_delivery;
        records_stale_attempts SettlesStaleLeases => a_stale_attempt_is_not_shown;
        retries_at_once RetriesAtOnce => the_status_follows_the_delivery;
        loses_released LosesReleased => every_end_has_its_status, siblings_are_shown_apart;
        forgets_at_a_restart ForgetsAtARestart => the_log_survives_a_restart;
    }
}

mod recorder {
    use super::*;
    caught! { recorder:
        counts_repeats CountsRepeats => repeats_change_nothing, order_does_not_matter;
        invents_payloads InventsPayloads => a_payload_that_is_not_kept_is_not_shown;
        draws_given_ids_anew DrawsGivenIdsAnew => given_ids_are_kept;
        drops_what_comes_late DropsWhatComesLate => order_does_not_matter;
        forgets_recorded_attempts ForgetsRecordedAttempts => a_retry_and_a_success_are_shown,
            attempts_at_once_agree;
        records_for_the_first RecordsForTheFirst => what_is_recorded_is_shown,
            siblings_are_recorded_apart;
        records_half RecordsHalf => a_wide_batch_is_recorded;
        refuses_the_unknown RefusesTheUnknown => the_unknown_is_dropped_and_its_siblings_recorded;
        adopts_the_unknown AdoptsTheUnknown => the_unknown_is_dropped_and_its_siblings_recorded;
        failure_counts_most FailureCountsMost => attempts_at_once_agree,
            every_standing_has_its_status;
        leases_the_recorded LeasesTheRecorded => what_is_recorded_is_never_leased;
        forgets_the_oldest_recorded ForgetsTheOldest => stats_tell_the_age_of_what_is_recorded;
        ends_its_own EndsItsOwn => the_stores_own_deliveries_are_left_alone;
        shows_other_workspaces ShowsOtherWorkspaces => other_workspaces_see_nothing_recorded;
        shows_newest_first ShowsNewestFirst => a_retry_and_a_success_are_shown;
        forgets_at_a_restart ForgetsAtARestart => the_record_survives_a_restart;
    }
}

mod send {
    use super::*;
    caught! { send:
        forgets_keys ForgetsKeys => a_repeated_key_is_answered_with_the_first,
            repeats_side_by_side_are_answered_with_one, a_key_stands_for_a_day,
            a_dropped_send_can_be_repeated, concurrent_batches_in_any_order_queue_one_each;
        trims_keys TrimsKeys => any_key_is_told_from_any_other;
        folds_keys FoldsKeys => any_key_is_told_from_any_other;
        compares_payloads ComparesPayloads => a_repeated_key_is_answered_with_the_first;
        stops_at_a_gone_endpoint StopsAtAGoneEndpoint => a_gone_endpoint_fails_alone;
        races_for_keys RacesForKeys => concurrent_repeats_queue_one,
            concurrent_batches_in_any_order_queue_one_each;
        forgets_the_endpoint_of_a_key ForgetsTheEndpointOfAKey => a_key_belongs_to_its_endpoint,
            repeats_side_by_side_are_answered_with_one;
        keys_never_run_out KeysNeverRunOut => a_key_stands_for_a_day;
        repeats_prolong_keys RepeatsProlongKeys => a_key_stands_for_a_day;
        gone_uses_the_key_up GoneUsesTheKeyUp => what_is_not_queued_leaves_its_key_free,
            a_gone_endpoint_fails_alone;
        answers_repeats_as_published AnswersRepeatsAsPublished =>
            a_repeated_key_is_answered_with_the_first, concurrent_repeats_queue_one;
        hides_the_key HidesTheKey => the_log_shows_the_key;
        forgets_at_a_restart ForgetsAtARestart => keys_survive_a_restart;
    }
}

mod catalog {
    use super::*;
    caught! { catalog:
        dry_run_commits DryRunCommits => a_dry_run_changes_nothing;
        tells_nothing TellsNothing => applying_creates_what_is_declared, an_update_is_told_and_seen,
            the_default_environment_appears, concurrent_applies_agree, given_ids_are_kept,
            a_drawn_secret_is_told_once;
        applies_half AppliesHalf => an_error_changes_nothing;
        re_ensures ReEnsures => an_ensured_event_type_exists_once, concurrent_ensuring_agrees;
        expands_patterns_once ExpandsPatternsOnce =>
            an_ensured_event_type_has_the_endpoints_of_patterns;
        ignores_reports IgnoresReports => a_disabled_endpoint_gets_no_more_deliveries;
        forgets_at_a_restart ForgetsAtARestart => the_catalog_survives_a_restart;
    }
}

mod management {
    use super::*;
    caught! { management:
        manages_other_workspaces ManagesOtherWorkspaces => other_workspaces_are_not_read,
            other_workspaces_audit_is_absent, revoking_is_final,
            endpoints_are_found_by_what_they_are, applications_are_found_by_name;
        forgets_the_offset ForgetsTheOffset => applications_are_paged;
        reads_newest_first ReadsNewestFirst => each_selection_reads_its_rows;
        revives_keys RevivesKeys => revoking_is_final;
        lists_other_keys ListsOtherKeys => keys_are_listed_oldest_first;
        disabled_is_active DisabledIsActive => a_key_is_disabled_and_enabled;
        counts_no_rows CountsNoRows => rows_are_counted;
        counts_nobody CountsNobody => subscribers_are_counted, a_pattern_is_managed;
        reads_no_patterns ReadsNoPatterns => a_pattern_is_managed;
        forgets_the_previous_secret ForgetsThePreviousSecret => what_was_made_is_read_whole;
        writes_half WritesHalf => a_change_is_whole_or_nothing;
        decides_by_old_rows DecidesByOldRows => concurrent_changes_keep_the_limit;
        forgets_to_audit ForgetsToAudit => every_change_is_audited;
        only_disables_the_removed OnlyDisablesTheRemoved => a_removed_endpoint_is_gone_everywhere,
            what_is_removed_takes_its_patterns_along;
        shows_nothing_to_plans ShowsNothingToPlans => the_plan_sees_what_it_reads;
        audits_unfiltered AuditsUnfiltered => entries_are_filtered_and_counted;
        audits_oldest_first AuditsOldestFirst => every_change_is_audited;
        counts_the_page CountsThePage => entries_are_filtered_and_counted,
            endpoints_are_found_page_by_page;
        finds_any_health FindsAnyHealth => endpoints_are_found_by_what_they_are;
    }
}

mod counts {
    use super::*;
    caught! { counts:
        loses_repeated_counts LosesRepeatedCounts =>
            counts_add_up, concurrent_counts_add_up;
        shows_counts_of_others ShowsCountsOfOthers =>
            other_workspaces_have_counts_of_their_own;
        counts_the_workspace_alone CountsTheWorkspaceAlone => counts_add_up;
        counts_from_the_start CountsFromTheStart => the_oldest_count_is_first;
        counts_newest_first CountsNewestFirst => the_oldest_count_is_first;
        refuses_counts_of_the_unknown RefusesCountsOfTheUnknown =>
            counts_of_the_unknown_are_left_out;
        forgets_at_a_restart ForgetsAtARestart => counts_survive_a_restart;
    }
}

mod search {
    use super::*;
    caught! { search:
        finds_any_status FindsAnyStatus => a_status_finds_its_deliveries;
        finds_from_the_start FindsFromTheStart => a_status_finds_its_deliveries;
        finds_the_old FindsTheOld => since_is_kept;
        finds_other_workspaces FindsOtherWorkspaces => other_workspaces_find_nothing;
        finds_more FindsMore => pages_show_each_delivery_once;
        finds_oldest_first FindsOldestFirst => the_newest_delivery_is_first;
        counts_every_endpoint CountsEveryEndpoint => an_endpoint_is_counted_alone;
        counts_leased_as_pending CountsLeasedAsPending => each_status_is_counted;
        counts_without_bound CountsWithoutBound => counts_end_at_their_bound;
        forgets_the_oldest ForgetsTheOldest => stats_tell_since_when_a_delivery_is_due;
    }
}

mod events {
    use super::*;
    caught! { events:
        lists_events_of_others ListsEventsOfOthers => other_workspaces_find_no_events,
            keys_find_what_was_sent_with_them;
        lists_oldest_events_first ListsOldestEventsFirst => the_newest_event_is_first,
            pages_show_each_event_once;
        ends_early EndsEarly => pages_show_each_event_once;
        counts_given_up_as_delivered CountsGivenUpAsDelivered =>
            deliveries_of_an_event_are_counted;
        finds_any_label FindsAnyLabel => labels_and_types_find_their_events;
        finds_first_label FindsFirstLabel => labels_and_types_find_their_events;
        finds_any_type FindsAnyType => labels_and_types_find_their_events;
        finds_any_key FindsAnyKey => keys_find_what_was_sent_with_them;
        shows_more_deliveries ShowsMoreDeliveries => deliveries_of_an_event_are_shown;
        sorts_deliveries_by_endpoint SortsDeliveriesByEndpoint => deliveries_of_an_event_are_shown;
        shows_attempted_as_pending ShowsAttemptedAsPending => deliveries_of_an_event_are_shown;
    }
}

mod sessions {
    use super::*;
    caught! { sessions:
        forgets_the_holder ForgetsTheHolder => sessions_are_found_as_they_were_started;
        notes_no_use NotesNoUse => uses_of_sessions_are_noted;
        ends_for_everybody EndsForEverybody => sessions_are_ended_once;
        keeps_sessions KeepsSessions => sessions_of_a_holder_are_ended_together;
        opens_portals_twice OpensPortalsTwice => codes_of_portals_are_taken_once;
        forgets_at_a_restart ForgetsAtARestart => sessions_survive_a_restart;
    }
}

mod redelivery {
    use super::*;
    caught! { redelivery:
        only_says_it_queues OnlySaysItQueues => what_was_given_up_is_due_at_once,
            what_was_not_given_up_stays;
        redelivers_for_others RedeliversForOthers => other_workspaces_queue_nothing;
        hides_how_it_stands HidesHowItStands => what_was_not_given_up_stays;
        redelivers_the_old RedeliversTheOld => a_backlog_is_queued_again_in_steps;
        redelivers_all_at_once RedeliversAllAtOnce => a_backlog_is_queued_again_in_steps;
    }
}
