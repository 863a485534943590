//! Invariants 1 to 3: every endpoint is accounted for, truthfully, each on its own.

use std::collections::{HashMap, HashSet};

use nahook_core::Delivery;
use nahook_core::id::DeliveryId;
use nahook_testkit::{Answer, Fault};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::case::{admitted_cases, cases, faults};
use crate::run::{endpoints, run};

proptest! {
    /// Invariant 1.
    #[test]
    fn every_subscribed_endpoint_is_accounted_for_exactly_once(case in cases()) {
        let ran = run(&case);
        let Ok(receipt) = ran.answer else { return Ok(()) };
        let endpoint_of: HashMap<DeliveryId, _> = receipt
            .deliveries()
            .iter()
            .map(|delivery| (delivery.id(), delivery.endpoint()))
            .collect();
        let subscribed = endpoints(&case);
        prop_assert_eq!(endpoint_of.len(), subscribed.len());

        let mut accounted: Vec<_> = receipt.delivery_ids().map(|id| endpoint_of[&id]).collect();
        for failure in receipt.failures() {
            prop_assert_eq!(endpoint_of[&failure.delivery], failure.endpoint);
            accounted.push(failure.endpoint);
        }
        prop_assert_eq!(accounted.len(), subscribed.len());
        let accounted: HashSet<_> = accounted.into_iter().collect();
        prop_assert_eq!(accounted, subscribed.into_iter().collect::<HashSet<_>>());
    }

    /// Invariant 2.
    #[test]
    fn a_receipt_lists_what_the_queue_holds_and_nothing_else_is_held_unsaid(case in cases()) {
        let ran = run(&case);
        let Ok(receipt) = ran.answer else { return Ok(()) };
        let held: HashMap<_, _> = ran
            .truth
            .held
            .iter()
            .map(|held| (held.delivery, held.endpoint))
            .collect();
        for delivery in receipt.deliveries() {
            if let Some(endpoint) = held.get(&delivery.id()) {
                prop_assert_eq!(*endpoint, delivery.endpoint());
            }
        }
        let listed: HashSet<_> = receipt.delivery_ids().collect();
        for id in &listed {
            prop_assert!(held.contains_key(id), "{id} is listed and not held");
        }
        let maybe: HashSet<_> = receipt
            .failures()
            .filter(|failure| failure.kind.may_be_queued())
            .map(|failure| failure.delivery)
            .collect();
        for id in held.keys() {
            prop_assert!(listed.contains(id) || maybe.contains(id), "{id} is held unsaid");
        }
    }

    /// Invariant 3.
    #[test]
    fn one_endpoints_fate_is_its_own_and_the_order_is_the_stores(
        case in admitted_cases(),
        one in any::<Index>(),
        fault in faults(),
    ) {
        prop_assume!(!case.queue.faults.is_empty());
        // A publisher that panics fails for everybody, and is not one endpoint's fate.
        let is_panic = |fault: &Fault| fault.answer == Answer::Panic;
        prop_assume!(!case.queue.faults.iter().any(is_panic));
        // A transaction stands or falls as one, which is why it says so of each.
        let mut case = case;
        case.queue.is_transaction = false;
        let one = one.index(case.queue.faults.len());
        let mut other = case.clone();
        other.queue.faults[one] = fault;

        let answers = [run(&case).answer, run(&other).answer];
        for receipt in answers.iter().flatten() {
            let order: Vec<_> = receipt.deliveries().iter().map(Delivery::endpoint).collect();
            prop_assert_eq!(order, endpoints(&case));
        }
        let siblings = |deliveries: &[Delivery]| {
            let mut outcomes: Vec<_> = deliveries.iter().map(Delivery::outcome).collect();
            outcomes.remove(one);
            outcomes
        };
        match answers {
            [Ok(before), Ok(after)] => {
                prop_assert_eq!(siblings(before.deliveries()), siblings(after.deliveries()));
            }
            // Whether nothing at all was queued, so that there is no receipt, may hang by this one.
            [Ok(receipt), Err(_)] | [Err(_), Ok(receipt)] => {
                let mut deliveries = receipt.deliveries().to_vec();
                deliveries.remove(one);
                prop_assert!(!deliveries.iter().any(Delivery::may_be_queued));
            }
            [Err(_), Err(_)] => {}
        }
    }
}
