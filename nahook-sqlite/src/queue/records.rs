//! Records that are open, and how many of their deliveries are no rows yet.

use foldhash::HashMap;

/// Records by the numbers of their events. One with a single delivery left need not be here: most records of narrow events have no more.
#[derive(Debug, Default)]
pub(super) struct OpenRecords(HashMap<i64, usize>);

impl OpenRecords {
    /// Notes a record with so many deliveries.
    pub(super) fn open(&mut self, event: i64, deliveries: usize) {
        if deliveries > 1 {
            self.0.insert(event, deliveries);
        }
    }

    /// One of its deliveries is about to become a row. Returns true if it may be the last: the file knows.
    pub(super) fn begin_row(&mut self, event: i64) -> bool {
        match self.0.get_mut(&event) {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => true,
        }
    }

    /// It has become one, or has not.
    pub(super) fn end_row(&mut self, event: i64, is_row: bool) {
        let Some(left) = self.0.get_mut(&event) else {
            return;
        };
        if !is_row {
            *left += 1;
        } else if *left == 0 {
            self.0.remove(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_delivery_of_a_record_is_known_however_the_others_fare() {
        for width in 1..=4 {
            // Each bit is a delivery whose first try to become a row fails.
            for failing in 0..1 << width {
                let mut records = OpenRecords::default();
                records.open(7, width);
                let begun: Vec<bool> = (0..width).map(|_| records.begin_row(7)).collect();
                assert!(begun[width - 1] && begun[..width - 1].iter().all(|last| !last));
                let mut left = 0;
                for at in 0..width {
                    let is_row = failing >> at & 1 == 0;
                    records.end_row(7, is_row);
                    left += usize::from(!is_row);
                }
                // Of those that are tried again, the last is taken for it in any case.
                let again: Vec<bool> = (0..left).map(|_| records.begin_row(7)).collect();
                assert!(
                    again.last().is_none_or(|last| *last),
                    "{width}, {failing:b}"
                );
                (0..left).for_each(|_| records.end_row(7, true));
                assert!(records.0.is_empty());
            }
        }
    }
}
