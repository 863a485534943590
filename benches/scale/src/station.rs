//! What work waits for: cores and disks.
//!
//! Both are offered work in the order of time, so that first come, first served needs no events of its own: when a piece of
//! work ends is known when it comes.

/// Nanoseconds since the simulation began.
pub(crate) type Time = u64;

/// The cores of a node, first come, first served.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    /// When each core is free.
    free_at: Vec<Time>,
    pub(crate) busy: Busy,
}

/// How long something was busy from a certain time on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy {
    pub(crate) from: Time,
    pub(crate) until: Time,
    nanos: u64,
}

impl Busy {
    pub(crate) fn within(from: Time, until: Time) -> Self {
        Self {
            from,
            until,
            nanos: 0,
        }
    }

    pub(crate) fn add(&mut self, start: Time, end: Time) {
        let (start, end) = (start.max(self.from), end.min(self.until));
        self.nanos += end.saturating_sub(start);
    }

    /// Of so many that could have been busy all the time.
    pub(crate) fn share(&self, of: usize) -> f64 {
        self.nanos as f64 / (self.until.saturating_sub(self.from).max(1) as f64 * of as f64)
    }
}

impl Station {
    pub(crate) fn new(cores: usize, busy: Busy) -> Self {
        Self {
            free_at: vec![0; cores.max(1)],
            busy,
        }
    }

    /// Takes work of so many nanoseconds; answers when it is done.
    pub(crate) fn serve(&mut self, now: Time, nanos: u64) -> Time {
        let Some(core) = self.free_at.iter_mut().min() else {
            return now;
        };
        let start = now.max(*core);
        *core = start + nanos;
        self.busy.add(start, *core);
        *core
    }

    pub(crate) fn utilisation(&self) -> f64 {
        self.busy.share(self.free_at.len())
    }
}

/// A disk that is told to sync.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    sync: u64,
    /// Whether all that wait while a sync runs share the next one. If not, each has its own.
    is_shared: bool,
    start: Time,
    end: Time,
    pub(crate) syncs: u64,
}

impl Disk {
    pub(crate) fn new(sync: u64, is_shared: bool) -> Self {
        Self {
            sync,
            is_shared,
            start: 0,
            end: 0,
            syncs: 0,
        }
    }

    /// Syncs what was written by now; answers when that is done.
    pub(crate) fn flush(&mut self, now: Time) -> Time {
        // The one that has not begun yet covers this, too.
        if self.is_shared && now < self.start {
            return self.end;
        }
        self.start = now.max(self.end);
        self.end = self.start + self.sync;
        self.syncs += 1;
        self.end
    }
}
