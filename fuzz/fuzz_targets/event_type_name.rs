//! A name is what the grammar says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nahook_core::EventTypeName;

fuzz_target!(|text: &str| {
    let fine = |segment: &str| {
        !segment.is_empty()
            && segment
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let expected = text.len() <= 128 && text.split('.').all(fine);
    match EventTypeName::new(text) {
        Ok(name) => assert!(expected && name.as_str() == text),
        Err(_) => assert!(!expected),
    }
});
