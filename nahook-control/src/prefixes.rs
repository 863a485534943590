//! Beginnings of names that patterns may have.

use nahook_core::EventTypeName;

/// Returns the prefixes of all patterns that may match the name: by these an index finds the patterns that do.
pub fn pattern_prefixes(name: &EventTypeName) -> Vec<&str> {
    let name = name.as_str();
    let ends = name.match_indices('.').map(|(at, _)| at + 1);
    std::iter::once(0)
        .chain(ends)
        .map(|end| &name[..end])
        .collect()
}

#[cfg(test)]
mod tests {
    use nahook_core::EventTypePattern;

    use super::*;

    #[test]
    fn prefix_of_every_pattern_that_matches_is_among_them() {
        let name: EventTypeName = "order.paid.late".parse().unwrap();
        assert_eq!(pattern_prefixes(&name), ["", "order.", "order.paid."]);
        for pattern in ["*", "**", "order.**", "order.paid.*", "order.paid.**"] {
            let pattern: EventTypePattern = pattern.parse().unwrap();
            assert!(pattern.matches(&name) && pattern_prefixes(&name).contains(&pattern.prefix()));
        }
    }
}
