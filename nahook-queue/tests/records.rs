//! Records in the hands of several processes that share a store, crash, and lose the store's answers, beside a model of the store.
//!
//! Everything follows from a seed. `NAHOOK_SEEDS=100000` tries more, `NAHOOK_SEED=7` that one alone.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nahook_core::Timestamp;
use nahook_core::id::{DeliveryId, EndpointId, MessageId, WorkspaceId};
use nahook_queue::{BatchRoom, Lease, LeaseRequest, Place, TakenRecords, WorkerId};

const PROCESSES: usize = 3;
const ENDPOINTS: u128 = 4;
const LEASE: Duration = Duration::from_secs(10);

/// A generator of numbers, `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below the bound")
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A row of the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Row {
    /// It waits to be leased, by any process.
    Waits,
    /// It was settled for good.
    Ended,
}

/// A record of the store.
#[derive(Clone, Debug)]
struct Record {
    owner: Option<u64>,
    is_begun: bool,
    width: i64,
}

/// The store: its operations are whole or not at all, whatever becomes of the answer.
#[derive(Debug, Default)]
struct Store {
    records: BTreeMap<i64, Record>,
    rows: BTreeMap<i64, Row>,
    processes: BTreeSet<u64>,
    last_process: u64,
}

impl Store {
    fn register(&mut self) -> u64 {
        self.last_process += 1;
        self.processes.insert(self.last_process);
        self.last_process
    }

    /// Takes the oldest records that nobody has.
    fn take(&mut self, process: u64, max: usize) {
        let free = self.records.values_mut().filter(|it| it.owner.is_none());
        for record in free.take(max) {
            record.owner = Some(process);
        }
    }

    /// Makes rows; what is one already stays. Answers which it has made, or nothing if the process is not known.
    fn put(&mut self, process: u64, keys: &[i64], row: Row) -> Option<BTreeSet<i64>> {
        self.processes.contains(&process).then(|| {
            let new = keys.iter().filter(|key| !self.rows.contains_key(*key));
            let new: BTreeSet<_> = new.copied().collect();
            self.rows.extend(new.iter().map(|key| (*key, row)));
            new
        })
    }

    /// Records and leases of a process that is gone are anybody's.
    fn forget(&mut self, process: u64) {
        self.processes.remove(&process);
        for record in self.records.values_mut() {
            if record.owner == Some(process) {
                record.owner = None;
            }
        }
    }
}

/// A process.
#[derive(Default)]
struct Process {
    token: u64,
    taken: TakenRecords<i64>,
    leased: Vec<Lease>,
}

struct World {
    random: Random,
    now: Timestamp,
    store: Store,
    processes: Vec<Process>,
    next_key: i64,
    /// What was published; what was told to be settled; how often each was attempted to no avail.
    published: BTreeSet<i64>,
    settled: BTreeSet<i64>,
    /// Settlements whose answers were lost.
    unclear: BTreeSet<i64>,
}

fn id(key: i64) -> DeliveryId {
    let message = MessageId::from_bits(u128::from((key >> 20).unsigned_abs()) << 32);
    DeliveryId::nth(message, u32::try_from(key & 0xf_ffff).expect("small"))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed),
            now: Timestamp::from_millis(1),
            store: Store::default(),
            processes: Vec::new(),
            next_key: 1,
            published: BTreeSet::new(),
            settled: BTreeSet::new(),
            unclear: BTreeSet::new(),
        };
        for _ in 0..PROCESSES {
            let token = world.store.register();
            let process = Process {
                token,
                ..Process::default()
            };
            world.processes.push(process);
        }
        world
    }

    fn publish(&mut self) {
        let (key, width) = (
            self.next_key << 20,
            [1, 2, 3, 4, 5, 6][self.random.below(6)],
        );
        self.next_key += 1;
        let record = Record {
            owner: None,
            is_begun: false,
            width,
        };
        self.store.records.insert(key, record);
        self.published.extend(key..key + width);
    }

    /// Takes records, or loses the answer; then what the store has for the process is read at the next time.
    fn take(&mut self, at: usize) {
        let token = self.processes[at].token;
        if !self.store.processes.contains(&token) {
            return self.begin_anew(at);
        }
        self.store.take(token, 3);
        if self.random.one_in(5) {
            return;
        }
        let known = self.processes[at].taken.records();
        let (records, rows) = (&mut self.store.records, &self.store.rows);
        for (key, record) in records {
            if record.owner != Some(token) || known.contains(key) {
                continue;
            }
            let keys = *key..*key + record.width;
            let open = keys.filter(|key| !record.is_begun || !rows.contains_key(key));
            let open: Vec<_> = open.collect();
            record.is_begun = true;
            let deliveries = open.into_iter().map(|key| {
                let place = Place {
                    workspace: WorkspaceId::from_bits(1),
                    endpoint: EndpointId::from_bits(u128::from(key.unsigned_abs()) % ENDPOINTS + 1),
                    due_at: Timestamp::from_millis(1),
                    is_retry: false,
                };
                (id(key), place, key)
            });
            self.processes[at]
                .taken
                .take(*key, 1, 100, deliveries, self.now);
        }
    }

    fn begin_anew(&mut self, at: usize) {
        let token = self.store.register();
        let process = &mut self.processes[at];
        process.token = token;
        process.taken.forget();
    }

    fn lease(&mut self, at: usize) {
        let request = LeaseRequest {
            per_endpoint_max: 2,
            ..LeaseRequest::new(WorkerId(at as u64), self.random.below(4), LEASE)
        };
        let process = &mut self.processes[at];
        let mut room = BatchRoom::of(&request);
        let leases = process
            .taken
            .lease(&request, request.max, &mut room, |_| 0, self.now);
        for lease in &leases {
            let key = *process.taken.get(lease.delivery).expect("it is in hand");
            if self.store.processes.contains(&process.token) {
                assert!(
                    !self.settled.contains(&key) && self.store.rows.get(&key) != Some(&Row::Ended)
                        || self.unclear.contains(&key),
                    "{key} was settled, and is leased again"
                );
            }
        }
        process.leased.extend(leases);
    }

    /// Settles a lease, or releases it. Of some the answer is lost, before or after they were done.
    fn settle(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if process.leased.is_empty() {
            return;
        }
        let lease = process
            .leased
            .swap_remove(self.random.below(process.leased.len()));
        if !process.taken.begin_settling(lease) {
            return;
        }
        if self.random.one_in(4) {
            return process.taken.release(lease);
        }
        let key = *process.taken.get(lease.delivery).expect("it is in hand");
        let (is_done, is_told) = (!self.random.one_in(8), !self.random.one_in(8));
        let done = if is_done {
            self.store.put(process.token, &[key], Row::Ended)
        } else {
            Some(BTreeSet::new())
        };
        if !is_done || !is_told {
            self.unclear.insert(key);
            process.taken.stop_settling(lease);
            process.leased.push(lease);
            return;
        }
        match done {
            None => self.begin_anew(at),
            Some(done) => {
                process.taken.is_row(lease.delivery);
                if done.contains(&key) {
                    assert!(self.settled.insert(key), "{key} was settled twice");
                }
            }
        }
    }

    fn put_rows(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let leaving = process.taken.leaving(self.now);
        let keys = leaving.iter().filter_map(|id| process.taken.get(*id));
        let keys: Vec<_> = keys.copied().collect();
        let finished = process.taken.finished();
        if self.store.put(process.token, &keys, Row::Waits).is_none() {
            return self.begin_anew(at);
        }
        for record in &finished {
            self.store.records.remove(record);
        }
        if self.random.one_in(5) {
            return;
        }
        for id in leaving {
            process.taken.is_row(id);
        }
        process.taken.forget_finished(&finished);
    }

    /// Rows are leased and settled by the store's own means.
    fn settle_rows(&mut self) {
        let waits = self
            .store
            .rows
            .iter_mut()
            .filter(|(_, row)| **row == Row::Waits);
        for (key, row) in waits {
            *row = Row::Ended;
            assert!(self.settled.insert(*key), "{key} was settled before");
        }
        let room = BatchRoom::of(&LeaseRequest::new(WorkerId(0), 10, LEASE));
        for process in &mut self.processes {
            process.taken.note_all_rows_leased(&room, |_| 0);
        }
    }

    fn step(&mut self) {
        let at = self.random.below(PROCESSES);
        match self.random.below(20) {
            0..3 => self.publish(),
            3..6 => self.take(at),
            6..10 => self.lease(at),
            10..15 => self.settle(at),
            15..17 => self.put_rows(at),
            17 => self.settle_rows(),
            18 => self.now = self.now.saturating_add(LEASE / 3),
            _ => match self.random.below(4) {
                // It crashes, and is found out.
                0 => {
                    self.store.forget(self.processes[at].token);
                    self.processes[at] = Process::default();
                    self.begin_anew(at);
                }
                // It was taken for dead, and does not know.
                1 => self.store.forget(self.processes[at].token),
                2 => self.processes[at].taken.let_go(),
                _ => self.now = self.now.saturating_add(LEASE),
            },
        }
    }

    /// Without further faults everything comes to its end.
    fn conclude(&mut self) {
        for _ in 0..2_000 {
            for at in 0..PROCESSES {
                self.take(at);
                self.lease(at);
                self.settle(at);
                self.put_rows(at);
            }
            self.settle_rows();
            self.now = self.now.saturating_add(LEASE / 2);
            if self.store.records.is_empty() {
                break;
            }
        }
        assert_eq!(self.store.records.len(), 0, "records are left");
        let rows: BTreeSet<_> = self.store.rows.keys().copied().collect();
        assert_eq!(rows, self.published, "each delivery is a row, and no other");
        let ended = self.store.rows.values().all(|row| *row == Row::Ended);
        assert!(ended, "each was settled");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_and_nothing_that_was_settled_returns() {
    let seeds = match number("NAHOOK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NAHOOK_SEEDS").unwrap_or(2_000),
    };
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..300 {
                world.step();
            }
            world.conclude();
        });
        assert!(ran.is_ok(), "NAHOOK_SEED={seed}");
    }
}
