//! Promises of every [`DeliveryPublisher`](nahook_core::DeliveryPublisher).

mod concurrent;
mod keys;
mod seen;
mod sending;

pub use self::concurrent::{
    a_dropped_send_can_be_repeated, concurrent_batches_in_any_order_queue_one_each,
    concurrent_repeats_queue_one,
};
pub use self::keys::{
    a_key_belongs_to_its_endpoint, a_key_stands_for_a_day,
    a_repeated_key_is_answered_with_the_first, any_key_is_told_from_any_other,
    keys_survive_a_restart, repeats_side_by_side_are_answered_with_one, the_log_shows_the_key,
    what_is_not_queued_leaves_its_key_free,
};
pub use self::sending::{
    a_direct_payload_arrives_unchanged, a_gone_endpoint_fails_alone, every_slot_is_resolved,
    many_are_sent_at_once, sending_nothing_is_fine,
};
