//! Promises of every [`DeliveryQueue`](nahook_queue::DeliveryQueue).

mod backlog;
mod bounds;
mod changes;
mod fairness;
mod leases;
mod settling;
mod shop;
mod workers;

pub use self::backlog::{the_backlog_is_counted_to_its_bound, the_backlog_is_what_is_due};
pub use self::bounds::{
    a_request_may_ask_for_any_number, a_workspace_at_its_bound_holds_no_other_back,
    a_workspace_gets_no_more_than_its_share, endpoints_that_are_not_listed_share_their_room,
    exceptions_override_the_bound, settling_makes_room_under_the_bound,
    the_bounds_of_a_request_hold, the_most_of_a_request_is_kept,
};
pub use self::changes::{
    changed_may_be_waited_for_by_many, changed_never_misses, changed_wakes_a_waiting_worker,
    changed_wakes_for_a_retry_that_is_due, changed_wakes_for_room_under_a_bound, next_due_is_told,
};
pub use self::fairness::{
    endpoints_are_served_in_turn, old_retries_and_fresh_deliveries_share,
    one_endpoint_holds_no_other_back,
};
pub use self::leases::{
    a_dropped_lease_call_loses_nothing, a_lease_is_exclusive, a_leased_delivery_is_complete,
    a_lost_lease_cannot_be_extended, an_empty_queue_has_nothing, an_expired_lease_is_offered_again,
    an_extended_lease_is_kept, an_extension_lasts_for_its_duration,
};
pub use self::settling::{
    a_released_delivery_comes_back_at_once, a_retry_comes_at_its_time,
    a_settled_delivery_never_returns, a_stale_lease_cannot_settle, an_expired_lease_may_settle,
    attempts_are_counted, settlements_are_independent, settling_twice_is_harmless,
};
pub(super) use self::shop::{Shop, attempt, request};
pub use self::workers::{nothing_is_lost_by_a_restart, workers_share_without_overlap};
