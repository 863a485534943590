//! What waits to be written together.

use std::collections::VecDeque;

use crate::cell::Attempted;
use crate::plan::Grouping;

/// What a group is made of.
#[derive(Debug)]
pub(crate) enum Job {
    /// Deliveries of a trigger, all of them or a part.
    Publish { trigger: usize, width: u32 },
    /// What became of deliveries, where the writer does that, too.
    Settle {
        worker: usize,
        attempted: Vec<Attempted>,
    },
}

impl Job {
    fn weight(&self, grouping: &Grouping) -> usize {
        match self {
            Self::Publish { width, .. } => *width as usize + usize::from(!grouping.is_exact),
            Self::Settle { attempted, .. } => 2 * attempted.len(),
        }
    }
}

/// A writer of one process.
#[derive(Debug)]
pub(crate) struct Writer {
    grouping: Grouping,
    pub(crate) waiting: VecDeque<Job>,
    lanes_free: usize,
}

impl Writer {
    pub(crate) fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            waiting: VecDeque::new(),
            lanes_free: grouping.lanes,
        }
    }

    /// Takes the next group, if anything waits and a lane is free, which it then occupies.
    pub(crate) fn take(&mut self) -> Option<Vec<Job>> {
        if self.lanes_free == 0 {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.lanes_free -= 1;
        let mut weight = first.weight(&self.grouping);
        let mut group = vec![first];
        while group.len() < self.grouping.jobs_max && weight < self.grouping.weight_max {
            let Some(next) = self.waiting.front() else {
                break;
            };
            weight += next.weight(&self.grouping);
            if self.grouping.is_exact && weight > self.grouping.weight_max {
                break;
            }
            group.extend(self.waiting.pop_front());
        }
        Some(group)
    }

    /// A group has been written.
    pub(crate) fn release(&mut self) {
        self.lanes_free += 1;
    }
}
