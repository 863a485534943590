//! Progress of records, and the notes that tell other processes of it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use nahook_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::Source;

/// Identity of a record. The instant tells it from one in a stream that was created again and counts from 1 again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct RecordKey {
    pub(super) source: Source,
    pub(super) sequence: u64,
    /// Instant at which the stream stored it, in nanoseconds since 1970.
    pub(super) stored_at: u64,
}

/// State of a delivery that stays in its record to be attempted again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) attempts: u32,
    pub(super) due_at: Timestamp,
}

/// State of a record's deliveries, by their place in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Progress {
    len: u32,
    /// One bit each. Empty once all are settled.
    settled: Vec<u64>,
    left: u32,
    kept: BTreeMap<u32, Kept>,
}

impl Progress {
    pub(super) fn of(len: u32) -> Self {
        Self {
            len,
            settled: vec![0; (len as usize).div_ceil(64)],
            left: len,
            kept: BTreeMap::new(),
        }
    }

    pub(super) fn settle(&mut self, place: u32) {
        if self.is_settled(place) {
            return;
        }
        if let Some(bits) = self.settled.get_mut(place as usize / 64) {
            *bits |= 1 << (place % 64);
            self.left -= 1;
            self.kept.remove(&place);
        }
        if self.left == 0 {
            self.settled = Vec::new();
        }
    }

    pub(super) fn keep(&mut self, place: u32, kept: Kept) {
        let is_news = self
            .kept
            .get(&place)
            .is_none_or(|known| known.attempts <= kept.attempts);
        if is_news && !self.is_settled(place) {
            self.kept.insert(place, kept);
        }
    }

    pub(super) fn is_settled(&self, place: u32) -> bool {
        self.left == 0
            || place >= self.len
            || self.settled[place as usize / 64] & (1 << (place % 64)) != 0
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.left == self.len && self.kept.is_empty()
    }

    pub(super) fn kept(&self, place: u32) -> Option<Kept> {
        self.kept.get(&place).copied()
    }

    /// Adds what another progress of the same record knows.
    pub(super) fn merge(&mut self, other: &Self) {
        for place in 0..self.len {
            if other.is_settled(place) {
                self.settle(place);
            }
        }
        for (place, kept) in &other.kept {
            self.keep(*place, *kept);
        }
    }

    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for place in (0..self.len).filter(|place| self.is_settled(*place)) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == place => *last = place,
                _ => ranges.push((place, place)),
            }
        }
        ranges
    }
}

/// A note: the progress of some deliveries of some records.
#[derive(Deserialize, Serialize)]
struct Note {
    format: u32,
    records: Vec<Noted>,
}

/// Stream of a record, its sequence there, the instant at which it was stored, the number of its deliveries; first and last
/// place of each settled range; place, attempts and due time of each delivery that stays.
type Noted = (Stream, u64, u64, u32, Vec<(u32, u32)>, Vec<(u32, u32, u64)>);

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stream {
    Deliveries,
    Retries,
}

/// Format that is written, and the newest that is read.
const FORMAT: u32 = 1;
/// More deliveries than any record has. A note of a larger one is ignored.
const LEN_MAX: u32 = 1 << 20;

pub(super) fn write<'a>(records: impl Iterator<Item = (&'a RecordKey, &'a Progress)>) -> Vec<u8> {
    let records = records.map(|(key, progress)| {
        let stream = match key.source {
            Source::Deliveries => Stream::Deliveries,
            Source::Retries => Stream::Retries,
        };
        let kept = progress.kept.iter();
        (
            stream,
            key.sequence,
            key.stored_at,
            progress.len,
            progress.ranges(),
            kept.map(|(place, kept)| (*place, kept.attempts, kept.due_at.as_nanos()))
                .collect(),
        )
    });
    let note = Note {
        format: FORMAT,
        records: records.collect(),
    };
    // Numbers and fixed words always serialise.
    serde_json::to_vec(&note).unwrap_or_default()
}

/// Reads a note. Returns nothing if it is not one.
pub(super) fn read(note: &[u8]) -> Vec<(RecordKey, Progress)> {
    let note = serde_json::from_slice(note).ok();
    let note = note.filter(|note: &Note| note.format <= FORMAT);
    let records = note.map(|note| note.records).unwrap_or_default();
    let records = records.into_iter().filter(|record| record.3 <= LEN_MAX);
    records
        .map(|(stream, sequence, stored_at, len, ranges, kept)| {
            let source = match stream {
                Stream::Deliveries => Source::Deliveries,
                Stream::Retries => Source::Retries,
            };
            let mut progress = Progress::of(len);
            for (first, last) in ranges {
                for place in first..=last.min(len) {
                    progress.settle(place);
                }
            }
            for (place, attempts, due_at) in kept {
                let due_at = Timestamp::from_nanos(due_at);
                progress.keep(place, Kept { attempts, due_at });
            }
            let key = RecordKey {
                source,
                sequence,
                stored_at,
            };
            (key, progress)
        })
        .collect()
}

/// Progress of the latest records, as the notes tell it.
#[derive(Default)]
pub(super) struct Index {
    known: HashMap<RecordKey, Progress>,
    oldest: VecDeque<RecordKey>,
}

/// Most records that are remembered. They matter only if a record is redelivered.
const REMEMBERED_MAX: usize = 200_000;

impl Index {
    pub(super) fn learn(&mut self, key: RecordKey, progress: &Progress) {
        if let Some(known) = self.known.get_mut(&key) {
            known.merge(progress);
            return;
        }
        self.known.insert(key, progress.clone());
        self.oldest.push_back(key);
        if self.oldest.len() > REMEMBERED_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn get(&self, key: &RecordKey) -> Option<&Progress> {
        self.known.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RecordKey = RecordKey {
        source: Source::Retries,
        sequence: 7,
        stored_at: 1_712_345_678_901_234_567,
    };

    fn kept(attempts: u32) -> Kept {
        Kept {
            attempts,
            due_at: Timestamp::from_millis(u64::from(attempts)),
        }
    }

    #[test]
    fn note_is_read_as_it_was_written() {
        let mut progress = Progress::of(200);
        for place in [0, 1, 2, 63, 64, 199] {
            progress.settle(place);
        }
        progress.keep(5, kept(2));
        let note = write([(&KEY, &progress)].into_iter());
        assert_eq!(read(&note), [(KEY, progress)]);
    }

    #[test]
    fn settled_places_in_a_row_are_noted_as_one_range() {
        let mut progress = Progress::of(200);
        for place in [64, 2, 0, 199, 1, 63] {
            progress.settle(place);
        }
        assert_eq!(progress.ranges(), [(0, 2), (63, 64), (199, 199)]);
    }

    #[test]
    fn place_that_a_record_does_not_have_is_ignored() {
        let mut progress = Progress::of(64);
        for place in [64, 65, u32::MAX] {
            progress.keep(place, kept(1));
            progress.settle(place);
        }
        assert!(progress.is_untouched());
    }

    #[test]
    fn record_is_complete_in_whatever_order_it_was_settled() {
        let mut index = Index::default();
        for place in [2, 0, 1] {
            let mut progress = Progress::of(3);
            progress.settle(place);
            assert!(index.get(&KEY).is_none_or(|known| !known.is_complete()));
            index.learn(KEY, &progress);
        }
        assert!(index.get(&KEY).is_some_and(Progress::is_complete));
        let another = RecordKey {
            stored_at: KEY.stored_at + 1,
            ..KEY
        };
        assert!(index.get(&another).is_none(), "a stream made again");
    }

    #[test]
    fn latest_attempt_counts() {
        let mut progress = Progress::of(2);
        progress.keep(0, kept(3));
        progress.keep(0, kept(2));
        assert_eq!(progress.kept(0), Some(kept(3)));
        progress.settle(0);
        progress.keep(0, kept(4));
        assert_eq!(progress.kept(0), None, "it is settled");
        assert!(!progress.is_complete());
    }

    #[test]
    fn text_that_is_no_note_is_ignored() {
        for note in ["", "{}", "[]", r#"{"format":2,"records":[]}"#] {
            assert_eq!(read(note.as_bytes()), [], "{note}");
        }
        let huge = r#"{"format":1,"records":[["retries",1,1,4294967295,[[0,4294967295]],[]]]}"#;
        assert_eq!(read(huge.as_bytes()), [], "too long to be a record of ours");
    }
}
