//! Things that the machine may be short of.

/// Reason for which no new events are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Shortage {
    /// Deliveries wait for too long.
    Backlog,
    /// The disk is nearly full.
    Disk,
    /// The server takes too much memory, and holds a backlog.
    Memory,
    /// The queue's own storage is full.
    Queue,
}

impl Shortage {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Backlog, Self::Disk, Self::Memory, Self::Queue];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Queue => "queue",
        }
    }

    /// A sentence for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Backlog => "Deliveries are behind; nothing was queued",
            Self::Disk => "The server's disk is nearly full; nothing was queued",
            Self::Memory => "The server's memory is nearly full; nothing was queued",
            Self::Queue => "The queue's storage is full; nothing was queued",
        }
    }

    /// The number in the signal: not zero.
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Backlog => 1,
            Self::Disk => 2,
            Self::Memory => 3,
            Self::Queue => 4,
        }
    }
}
