//! The strategies generate what they say.

use std::collections::HashSet;
use std::sync::Arc;

use nahook_control::{ApplyMode, Catalog};
use nahook_core::{EventTypeName, IdSource, Payload};
use nahook_memory::MemoryStore;
use nahook_testkit::{ManualClock, SeededIds, strategy};
use proptest::prelude::*;

proptest! {
    #[test]
    fn payloads_are_json_objects_kept_to_the_byte(json in strategy::json_object()) {
        let value: Result<&serde_json::value::RawValue, _> = serde_json::from_str(&json);
        prop_assert!(value.is_ok(), "{json}");
        let payload = Payload::new(json.clone());
        prop_assert_eq!(payload.map(|payload| payload.as_bytes().clone()), Ok(json.into()));
    }

    #[test]
    fn malformed_names_are_refused(name in strategy::malformed_event_type_name()) {
        prop_assert!(EventTypeName::new(&name).is_err(), "{name:?}");
    }

    #[test]
    fn honest_scripts_are_honest(script in strategy::honest_fault_script(20)) {
        prop_assert!(script.is_honest());
    }

    #[test]
    fn widths_stay_within_bounds(width in strategy::width()) {
        prop_assert!(width <= 2_000);
    }

    #[test]
    fn manifests_apply_one_after_the_other(manifests in prop::collection::vec(strategy::manifest(), 1..4)) {
        let store = MemoryStore::new(Arc::new(ManualClock::default()), Arc::new(SeededIds::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for manifest in manifests {
            let applied = runtime.block_on(store.apply(&manifest, ApplyMode::Commit));
            prop_assert!(applied.is_ok(), "{applied:?}");
            let again = runtime.block_on(store.apply(&manifest, ApplyMode::Commit));
            prop_assert_eq!(again.unwrap(), vec![]);
        }
    }

    #[test]
    fn seeded_ids_differ_from_one_another(seed: u64) {
        let (ids, same, other) = (SeededIds::new(seed), SeededIds::new(seed), SeededIds::new(!seed));
        let drawn: Vec<_> = (0..100).map(|_| ids.random()).collect();
        let again: Vec<_> = (0..100).map(|_| same.random()).collect();
        prop_assert_eq!(&drawn, &again);
        prop_assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 100);
        prop_assert!(!drawn.contains(&other.random()));
    }
}
