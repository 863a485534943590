//! Patterns of event types: their grammar, and what they match.

use nahook_core::{EventTypeName, EventTypePattern, EventTypePatternError, EventTypeSelector};
use proptest::prelude::*;

#[test]
fn patterns_follow_the_grammar() {
    let longest = format!("{}.**", "x".repeat(125));
    for good in ["*", "**", "a.*", "a.**", "Order_1.paid-2.*", &longest] {
        assert!(EventTypePattern::new(good).is_ok(), "{good}");
    }
    let too_long = format!("{}.**", "x".repeat(126));
    for bad in [
        "", "a", "a.b", ".", ".*", "a*", "*a", "a.*b", "*.a", "a.*.b", "a.***", "***", "a..*",
        "a .*", "*.*", "a.* ", "ordér.*", "a.\0*", &too_long,
    ] {
        assert_eq!(
            EventTypePattern::new(bad),
            Err(EventTypePatternError),
            "{bad}"
        );
    }
}

#[test]
fn a_selector_is_a_name_or_a_pattern_and_survives_its_json() {
    for text in ["order.paid", "order.*", "*"] {
        let selector = EventTypeSelector::new(text).unwrap();
        let is_pattern = matches!(selector, EventTypeSelector::Pattern(_));
        assert_eq!(is_pattern, text.contains('*'), "{text}");
        let json = serde_json::to_string(&selector).unwrap();
        assert_eq!(json, format!("{text:?}"));
        assert_eq!(
            serde_json::from_str::<EventTypeSelector>(&json).unwrap(),
            selector
        );
    }
    assert!(serde_json::from_str::<EventTypeSelector>("\"*.paid\"").is_err());
}

/// The table of the documentation, segment by segment.
fn matches_naively(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        (["*"], [_]) | (["**"], [_, ..]) => true,
        ([first, pattern @ ..], [also, name @ ..]) => {
            first == also && matches_naively(pattern, name)
        }
        _ => false,
    }
}

fn segments(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    let segment = prop::sample::select(vec!["a", "b", "A", "ab", "a-", "_"]);
    prop::collection::vec(segment, 0..most)
}

proptest! {
    #[test]
    fn matching_is_that_of_the_segments(
        stem in segments(4),
        wildcard in prop::sample::select(vec!["*", "**"]),
        name in segments(6),
        repeats_stem: bool,
    ) {
        let name = if repeats_stem { [stem.clone(), name].concat() } else { name };
        prop_assume!(!name.is_empty());
        let matches_all = stem.is_empty();
        let pattern = [stem, vec![wildcard]].concat();
        let parsed = EventTypePattern::new(&pattern.join(".")).unwrap();
        let matched = parsed.matches(&EventTypeName::new(&name.join(".")).unwrap());
        prop_assert_eq!(matched, matches_all || matches_naively(&pattern, &name));
    }

    #[test]
    fn no_text_is_a_name_and_a_pattern(text in "[ab.*]{0,6}") {
        let is_name = EventTypeName::new(&text).is_ok();
        let is_pattern = EventTypePattern::new(&text).is_ok();
        prop_assert!(!(is_name && is_pattern));
        prop_assert_eq!(EventTypeSelector::new(&text).is_ok(), is_name || is_pattern);
    }
}
