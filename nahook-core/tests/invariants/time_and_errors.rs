//! Invariants 4 and 5: what an error means, and when the answer comes.

use std::time::Duration;

use nahook_core::TriggerError;
use proptest::prelude::*;

use crate::case::cases;
use crate::model;
use crate::run::run;

proptest! {
    /// Invariant 4.
    #[test]
    fn an_error_means_that_the_queue_holds_nothing(case in cases()) {
        let ran = run(&case);
        let Err(error) = ran.answer else { return Ok(()) };
        prop_assert!(ran.truth.held.is_empty(), "{error}, and the queue holds something");
        let (may_check, may_look_up, may_publish) = match error {
            TriggerError::NotWorkspaceScoped(_) | TriggerError::PayloadTooLarge { .. } => {
                (false, false, false)
            }
            TriggerError::RateLimited { .. } | TriggerError::LimiterUnavailable(_) => {
                (true, false, false)
            }
            TriggerError::UnknownEventType | TriggerError::StoreUnavailable(_) => {
                (true, true, false)
            }
            _ => (true, true, true),
        };
        prop_assert!(may_check || ran.truth.checked.is_empty());
        prop_assert!(may_look_up || ran.truth.looked_up.is_empty());
        prop_assert!(may_publish || ran.truth.published.is_empty());
    }

    /// Invariant 5.
    #[test]
    fn no_answer_is_late_and_silence_costs_the_deadline_and_the_silent_only(case in cases()) {
        let ran = run(&case);
        prop_assert!(ran.elapsed <= Duration::from_millis(case.timeout));
        prop_assert_eq!(ran.elapsed, model::elapsed(&case));
        match (ran.answer, model::outcomes(&case)) {
            (Err(_), None) => {}
            (Ok(receipt), Some(expected)) => {
                prop_assert_eq!(receipt.deliveries().len(), expected.len());
                for (delivery, expected) in receipt.deliveries().iter().zip(expected) {
                    prop_assert!(
                        expected.contains(&delivery.outcome()),
                        "{delivery:?} instead of {expected:?}"
                    );
                }
            }
            (answer, expected) => prop_assert!(false, "{answer:?} instead of {expected:?}"),
        }
    }
}
