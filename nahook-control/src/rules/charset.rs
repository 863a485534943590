//! Sets of characters, as a check and as a class of a regular expression.

use std::fmt::Write as _;

/// Ranges of characters, both ends included.
type Ranges = &'static [(char, char)];

/// A set of characters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Charset {
    Only(Ranges),
    AllBut(Ranges),
}

impl Charset {
    pub(super) fn contains(self, c: char) -> bool {
        let is_in = |ranges: Ranges| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
        match self {
            Self::Only(ranges) => is_in(ranges),
            Self::AllBut(ranges) => !is_in(ranges),
        }
    }

    /// The class in brackets; `\s`, where `spaces` is false, is not in it.
    pub(super) fn class(self, spaces: bool) -> String {
        let (mut class, ranges) = match self {
            Self::Only(ranges) => ("[".to_owned(), ranges),
            Self::AllBut(ranges) if spaces => ("[^".to_owned(), ranges),
            Self::AllBut(ranges) => (r"[^\s".to_owned(), ranges),
        };
        for (from, to) in ranges {
            // Writing to a string cannot fail. Every dialect reads two digits.
            let _ = write!(
                class,
                r"\x{:02x}-\x{:02x}",
                u32::from(*from),
                u32::from(*to)
            );
        }
        class.push(']');
        class
    }

    /// Characters of the set: the ends of its ranges, or one of each length in UTF-8.
    pub(super) fn members(self) -> Vec<char> {
        match self {
            Self::Only(ranges) => ends(ranges),
            Self::AllBut(_) => vec!['x', '\u{e4}', '\u{20ac}', '\u{1f600}'],
        }
    }

    /// Characters that are just not in the set.
    pub(super) fn strangers(self) -> Vec<char> {
        let near = match self {
            Self::AllBut(ranges) => ends(ranges),
            Self::Only(ranges) => {
                let before = |c: char| char::from_u32(u32::from(c).checked_sub(1)?);
                let after = |c: char| char::from_u32(u32::from(c) + 1);
                let beside = ranges
                    .iter()
                    .flat_map(|(from, to)| [before(*from), after(*to)]);
                beside.flatten().chain(['\u{e4}']).collect()
            }
        };
        near.into_iter().filter(|c| !self.contains(*c)).collect()
    }
}

fn ends(ranges: Ranges) -> Vec<char> {
    ranges.iter().flat_map(|(from, to)| [*from, *to]).collect()
}
