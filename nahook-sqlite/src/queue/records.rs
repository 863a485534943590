//! Records of which some deliveries are rows and others are not.

use std::collections::BTreeMap;

/// From so many on, the oldest are made rows: what waits for a slow endpoint would have the others look past more and more
/// records of which they have nothing left, after a start.
const RECORDS_MAX: usize = 4_096;

/// Records by the numbers of their events, with the number of deliveries that are left in each; some that were to become rows and
/// have not may be missing from that.
#[derive(Debug, Default)]
pub(super) struct PartialRecords(BTreeMap<i64, usize>);

impl PartialRecords {
    /// One of the record's deliveries is about to become a row. Returns true if it may be the last, or nothing is known of the
    /// record: the file knows what is left, and is to be [asked](Self::set_left).
    pub(super) fn begin_row(&mut self, event: i64) -> bool {
        self.0.get_mut(&event).is_none_or(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        })
    }

    /// Notes what the file says of a record.
    pub(super) fn set_left(&mut self, event: i64, left: usize) {
        if left == 0 {
            self.0.remove(&event);
        } else {
            self.0.insert(event, left);
        }
    }

    /// Takes the oldest records of too many, whose deliveries are to become rows, at most so many: nothing is known of them from here on
    /// until the file has said what is left.
    pub(super) fn take_too_many(&mut self, rows_max: usize) -> Vec<i64> {
        let (mut taken, mut rows) = (Vec::new(), 0);
        while rows < rows_max
            && self.0.len() > RECORDS_MAX
            && let Some((event, left)) = self.0.pop_first()
        {
            taken.push(event);
            rows += left;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_delivery_of_a_record_is_known_however_the_others_fare() {
        for width in 1..=4 {
            // Each bit is a delivery whose first try to become a row fails.
            for failing in 0..1_u32 << width {
                let mut records = PartialRecords::default();
                // What the file has of it.
                let mut left = width;
                let again = failing.count_ones() as usize;
                let outcomes = (0..width).map(|at| failing >> at & 1 == 0);
                for is_row in outcomes.chain(vec![true; again]) {
                    let is_asked = records.begin_row(7);
                    if is_row {
                        left -= 1;
                        assert!(is_asked || left > 0, "{width}, {failing:b}");
                        if is_asked {
                            records.set_left(7, left);
                        }
                    }
                }
                assert!(left == 0 && records.0.is_empty(), "{width}, {failing:b}");
            }
        }
    }

    #[test]
    fn oldest_of_too_many_are_taken_a_bounded_number_at_once() {
        let mut records = PartialRecords::default();
        let max = i64::try_from(RECORDS_MAX).unwrap();
        for event in (1..=max).rev() {
            records.set_left(event, 300);
        }
        assert!(records.take_too_many(512).is_empty());
        for event in max + 1..=max + 9 {
            records.set_left(event, 1);
        }
        assert_eq!(records.take_too_many(512), [1, 2]);
        assert_eq!(records.take_too_many(1), [3]);
        assert!(records.begin_row(1), "nobody knows what is left");
        assert_eq!(records.take_too_many(9_999), [4, 5, 6, 7, 8, 9]);
        assert!(records.take_too_many(9_999).is_empty());
    }
}
