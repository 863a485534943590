//! What is simulated: a composition, its nodes and its load.

use crate::settings::{Costs, QueueCosts};

/// Which back ends a cell has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Composition {
    /// One process on one file does everything.
    Sqlite,
    /// Postgres is the queue.
    Postgres,
    /// `JetStream` is the queue, with one replica and the default sync; Postgres keeps the log.
    Nats,
    /// The same, each message synced.
    NatsAlways,
    /// The same with three replicas, default sync.
    NatsReplicated,
}

impl Composition {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sqlite,
        Self::Postgres,
        Self::Nats,
        Self::NatsAlways,
        Self::NatsReplicated,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
            Self::Nats => "Postgres + NATS R1",
            Self::NatsAlways => "Postgres + NATS R1, sync always",
            Self::NatsReplicated => "Postgres + NATS R3",
        }
    }

    pub(crate) fn has_nats(self) -> bool {
        !matches!(self, Self::Sqlite | Self::Postgres)
    }

    pub(crate) fn queue(self, costs: &Costs) -> &QueueCosts {
        match self {
            Self::Sqlite => &costs.sqlite,
            Self::Postgres => &costs.postgres,
            _ => &costs.nats,
        }
    }

    /// What keeps events, deliveries and attempts.
    pub(crate) fn store(self, costs: &Costs) -> &QueueCosts {
        match self {
            Self::Sqlite => &costs.sqlite,
            _ => &costs.postgres,
        }
    }

    pub(crate) fn nats_nodes(self) -> usize {
        match self {
            Self::Sqlite | Self::Postgres => 0,
            Self::Nats | Self::NatsAlways => 1,
            Self::NatsReplicated => 3,
        }
    }

    /// The 99th percentile that an answer may have, in milliseconds: the project's targets for half load.
    pub(crate) fn answer_ms(self) -> f64 {
        match self {
            Self::Sqlite | Self::Nats | Self::NatsReplicated => 5.0,
            Self::Postgres => 10.0,
            Self::NatsAlways => 20.0,
        }
    }

    /// How a writer groups.
    pub(crate) fn grouping(self) -> Grouping {
        match self {
            // nahook-sqlite/src/writer/group.rs: rows and jobs; an event is a row, too.
            Self::Sqlite => Grouping {
                lanes: 1,
                jobs_max: 256,
                weight_max: 16_384,
                is_exact: false,
                chunk: u32::MAX,
            },
            // nahook-postgres/src/writer/inbox.rs and `PostgresSettings::writers`.
            Self::Postgres => Grouping {
                lanes: 2,
                jobs_max: 128,
                weight_max: 4_096,
                is_exact: false,
                chunk: u32::MAX,
            },
            // nahook-nats/src/config.rs: `records_in_flight`, `record_len_max`.
            _ => Grouping {
                lanes: 8,
                jobs_max: usize::MAX,
                weight_max: 500,
                is_exact: true,
                chunk: 500,
            },
        }
    }
}

/// Within which bounds what waits shares a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping {
    /// How many groups may be under way at a time, by process.
    pub(crate) lanes: usize,
    pub(crate) jobs_max: usize,
    pub(crate) weight_max: usize,
    /// Whether nothing that goes beyond the weight is taken. Else the last may.
    pub(crate) is_exact: bool,
    /// At most so many deliveries of one trigger are one job.
    pub(crate) chunk: u32,
}

/// One cell and its load.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) composition: Composition,
    pub(crate) deliveries_per_day: f64,
    pub(crate) ingest: usize,
    pub(crate) workers: usize,
    /// Deliveries that a worker holds at a time; half of them for endpoints that are slow.
    pub(crate) in_flight: usize,
    /// Not measured: until the slow attempts of the beginning have ended.
    pub(crate) warm_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
}

impl Plan {
    /// Of a load at its peak, for as long as says enough about it.
    pub(crate) fn new(composition: Composition, deliveries_per_day: f64, seed: u64) -> Self {
        // Wide events are rare and heavy: a window that has none says little.
        let seconds = 600_000.0 / (deliveries_per_day / 86_400.0 * 3.0);
        Self {
            composition,
            deliveries_per_day,
            ingest: 1,
            workers: 1,
            in_flight: 512,
            warm_seconds: 20.0,
            seconds: seconds.clamp(60.0, 600.0),
            seed,
        }
    }
}
