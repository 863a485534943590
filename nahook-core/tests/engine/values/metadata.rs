//! Labels of an event, and their bounds.

use std::collections::BTreeMap;

use nahook_core::{Metadata, MetadataError};

fn labels(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|n| (n.to_string(), String::new())).collect()
}

#[test]
fn an_event_has_at_most_five_labels() {
    for count in [0, 1, 5] {
        let metadata = Metadata::new(labels(count)).unwrap();
        assert_eq!(metadata.as_map().len(), count);
        assert_eq!(metadata.is_empty(), count == 0);
    }
    assert_eq!(
        Metadata::new(labels(6)),
        Err(MetadataError::TooManyKeys { max: 5 })
    );
}

#[test]
fn labels_survive_their_json_and_are_counted_there_too() {
    let metadata = Metadata::new(labels(5)).unwrap();
    let json = serde_json::to_string(&metadata).unwrap();
    assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    let six = serde_json::to_string(&labels(6)).unwrap();
    assert!(serde_json::from_str::<Metadata>(&six).is_err());
}

fn one(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

#[test]
fn lengths_count_characters() {
    let (key, value) = ("ä".repeat(128), "ä".repeat(1024));
    assert!(Metadata::new(one(&key, &value)).is_ok());
    let long_key = Metadata::new(one(&format!("{key}x"), "")).unwrap_err();
    assert_eq!(
        long_key.to_string(),
        "a key of metadata is longer than 128 characters"
    );
    let long_value = Metadata::new(one("a", &format!("{value}x"))).unwrap_err();
    assert_eq!(
        long_value.to_string(),
        "metadata.a is longer than 1,024 characters"
    );
}

#[test]
fn five_keys_are_allowed_and_six_are_not() {
    let labels = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
    assert!(Metadata::new(labels(5)).is_ok());
    let many = Metadata::new(labels(6)).unwrap_err();
    assert_eq!(many.to_string(), "metadata has at most 5 keys");
    assert_eq!(Metadata::from_stored(labels(6)), Err(many));
}

#[test]
fn stored_labels_of_any_length_stay_readable() {
    let long = one("a", &"x".repeat(310_000));
    assert_eq!(Metadata::from_stored(long.clone()).unwrap().as_map(), &long);
    let json = serde_json::to_string(&long).unwrap();
    assert!(serde_json::from_str::<Metadata>(&json).is_ok());
}
