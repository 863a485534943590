//! A store that keeps a fan-out as one record: the queue's own logic of records over a simulated database, with faults between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nahook_control::EndpointDirectory;
use nahook_core::id::{DeliveryId, EndpointId};
use nahook_core::{
    Clock, Delivery, DeliveryPublisher, Event, FailureKind, IdempotencyKey, StoreError, Timestamp,
};
use nahook_memory::MemoryStore;
use nahook_queue::{
    Audience, Backlog, BatchRoom, DeliveryQueue, Generation, Lease, LeaseBatch, LeaseRequest,
    LeasedDelivery, Next, Place, RecordKey, Scheduler, Settled, Settlement, TakenRecords, WorkerId,
};

use crate::oracle::LifeNumber;
use crate::plan::Faults;
use crate::wire::{Broken, Wire};
use crate::world::JumpingClock;

/// Number of records that a process takes at a time.
const RECORDS_MAX: usize = 6;
/// A process that has not asked for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(45);

/// The database: each operation is whole or not at all, whatever becomes of its answer.
pub(crate) struct Database {
    catalog: MemoryStore,
    clock: JumpingClock,
    tables: Mutex<Tables>,
    generation: Generation,
}

#[derive(Default)]
struct Tables {
    records: BTreeMap<RecordKey, Record>,
    /// Deliveries of which something has become.
    rows: BTreeMap<DeliveryId, Row>,
    /// The rows that wait or are leased.
    waiting: Scheduler,
    processes: BTreeMap<ProcessId, Registered>,
    last_process: ProcessId,
    last_record: RecordKey,
    /// Idempotency keys and the deliveries that they stand for.
    keys: HashMap<(EndpointId, IdempotencyKey), DeliveryId>,
}

/// Number of a registration. A process that was taken for dead registers anew, and calls of before come to nothing.
type ProcessId = u64;

/// A process as the database knows it.
struct Registered {
    life: LifeNumber,
    asked_at: Timestamp,
    /// Number of the latest look at what the process has. A take from before it does nothing: it is late, and nobody would know.
    look: u64,
}

/// A fan-out.
#[derive(Clone)]
struct Record {
    event: Arc<Event>,
    deliveries: Vec<(DeliveryId, EndpointId)>,
    audience: Audience,
    owner: Option<ProcessId>,
}

#[derive(Clone)]
struct Row {
    event: Arc<Event>,
    endpoint: EndpointId,
    attempts: u32,
    has_ended: bool,
}

/// The queue of one life of a server: the records that it has taken, and its leases of rows.
#[derive(Clone)]
pub(crate) struct RecordQueue {
    wire: Wire,
    database: Arc<Database>,
    process: Arc<Mutex<Process>>,
}

/// A delivery of a record in hand.
type InHand = (Arc<Event>, EndpointId);

#[derive(Default)]
struct Process {
    taken: TakenRecords<InHand>,
    id: Option<ProcessId>,
    /// Records may have been taken without an answer.
    is_unsure: bool,
    looks: u64,
}

/// The process is not known, or is known no more.
#[derive(Clone, Copy, Debug)]
struct Unknown;

impl Database {
    pub(crate) fn new(catalog: MemoryStore, clock: JumpingClock) -> Arc<Self> {
        Arc::new(Self {
            catalog,
            clock,
            tables: Mutex::default(),
            generation: Generation::default(),
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records of a life that is gone, or taken to be, are anybody's.
    pub(crate) fn forget(&self, life: LifeNumber) {
        self.tables().forget(|process| process.life == life);
        self.generation.advance();
    }
}

impl DeliveryPublisher for Database {
    async fn publish(&self, event: &Event, deliveries: &mut [Delivery]) {
        let ids: Vec<_> = deliveries.iter().map(Delivery::endpoint).collect();
        let found = self.catalog.targets(&ids).await.unwrap_or_default();
        let mut kept = Vec::new();
        let mut tables = self.tables();
        for (delivery, target) in deliveries.iter_mut().zip(&found) {
            let key = event.idempotency_key.clone();
            let key = key.map(|key| (delivery.endpoint(), key));
            if target.is_some() {
                if let Some(key) = key {
                    let original = *tables.keys.entry(key).or_insert(delivery.id());
                    if original != delivery.id() {
                        delivery.mark_replayed(original);
                        continue;
                    }
                }
                delivery.mark_published();
                kept.push((delivery.id(), delivery.endpoint()));
            } else {
                delivery.mark_failed(FailureKind::EndpointGone);
            }
        }
        let to = kept
            .iter()
            .flat_map(|(_, endpoint)| endpoint.as_str().bytes());
        let audience = to.fold(0, |hash: i64, byte| hash.wrapping_mul(31) + i64::from(byte));
        if kept.is_empty() {
            return;
        }
        tables.last_record += 1;
        let key = tables.last_record;
        tables.records.insert(
            key,
            Record {
                event: Arc::new(event.clone()),
                deliveries: kept,
                audience,
                owner: None,
            },
        );
        drop(tables);
        self.generation.advance();
    }
}

impl Tables {
    fn register(&mut self, life: LifeNumber, asked_at: Timestamp) -> ProcessId {
        self.last_process += 1;
        let new = Registered {
            life,
            asked_at,
            look: 0,
        };
        self.processes.insert(self.last_process, new);
        self.last_process
    }

    fn forget(&mut self, is_gone: impl Fn(&Registered) -> bool) {
        self.processes.retain(|_, process| !is_gone(process));
        let Self {
            processes, records, ..
        } = self;
        for record in records.values_mut() {
            record.owner = record.owner.filter(|owner| processes.contains_key(owner));
        }
    }

    fn check(&mut self, process: ProcessId, now: Timestamp) -> Result<&mut Registered, Unknown> {
        let process = self.processes.get_mut(&process).ok_or(Unknown)?;
        process.asked_at = now;
        Ok(process)
    }

    /// Takes the oldest records that nobody has, but of those audiences, and answers them with those of their deliveries that are
    /// no rows; or those that the process has and does not know.
    fn take(
        &mut self,
        process: ProcessId,
        now: Timestamp,
        except: &[Audience],
        held: Option<&[RecordKey]>,
        look: u64,
    ) -> Result<Vec<(RecordKey, Record)>, Unknown> {
        let known = self.check(process, now)?;
        if look < known.look {
            return Ok(Vec::new());
        }
        known.look = look;
        self.forget(|process| now.saturating_since(process.asked_at) > GONE_AFTER);
        let Self { records, rows, .. } = self;
        let wanted = records.iter_mut().filter(|(key, record)| match held {
            Some(known) => record.owner == Some(process) && !known.contains(*key),
            None => record.owner.is_none() && !except.contains(&record.audience),
        });
        let taken = wanted.take(RECORDS_MAX).map(|(key, record)| {
            record.owner = Some(process);
            let mut open = record.clone();
            open.deliveries.retain(|(id, _)| !rows.contains_key(id));
            (*key, open)
        });
        Ok(taken.collect())
    }

    /// Makes rows of what was in hand, as their settlements say; what is one already stays. Answers which it has made.
    fn put(
        &mut self,
        process: ProcessId,
        put: &[(DeliveryId, InHand, Option<Settlement>)],
        now: Timestamp,
    ) -> Result<BTreeSet<DeliveryId>, Unknown> {
        self.check(process, now)?;
        let mut made = BTreeSet::new();
        for (id, (event, endpoint), settlement) in put {
            if self.rows.contains_key(id) {
                continue;
            }
            made.insert(*id);
            let row = Row {
                event: Arc::clone(event),
                endpoint: *endpoint,
                attempts: 0,
                has_ended: false,
            };
            self.rows.insert(*id, row);
            self.end(*id, settlement.as_ref(), now);
        }
        Ok(made)
    }

    /// A row was settled so, or waits for the first time.
    fn end(&mut self, id: DeliveryId, settlement: Option<&Settlement>, now: Timestamp) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        row.attempts = settlement.map_or(0, |it| it.attempts_after(row.attempts));
        let due_at = match settlement.map(|it| it.next) {
            Some(Next::Retry(at)) => at,
            Some(Next::Release) | None => row.event.accepted_at,
            Some(_) => {
                row.has_ended = true;
                self.waiting.remove(id);
                return;
            }
        };
        let place = Place {
            workspace: row.event.workspace,
            endpoint: row.endpoint,
            due_at,
            is_retry: row.attempts > 0,
        };
        self.waiting.put(id, place, now);
    }

    fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Settled {
        if !self.waiting.begin_settling(settlement.lease) {
            return Settled::LeaseLost;
        }
        self.end(settlement.lease.delivery, Some(settlement), now);
        Settled::Done
    }
}

impl RecordQueue {
    pub(crate) fn new(wire: Wire, database: Arc<Database>) -> Self {
        Self {
            wire,
            database,
            process: Arc::default(),
        }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.database.clock.now()
    }

    /// One operation of the database.
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        about: &[DeliveryId],
        carry_out: impl FnOnce(&Self, &mut Tables, Timestamp, bool) -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let own = self.clone();
        let carry_out = |is_faulty| async move {
            let now = own.now();
            carry_out(&own, &mut own.database.tables(), now, is_faulty)
        };
        self.wire.call(what, about, carry_out).await
    }

    /// The database knows this process no more: others have what it had.
    fn lose(&self, id: ProcessId) {
        let Wire { world, life } = &self.wire;
        let mut process = self.process();
        if process.id != Some(id) {
            return;
        }
        world.note("lost", &[life.number.into()]);
        world.with(|state| state.oracle.excuse_leased(Some(life.number)));
        process.taken.forget();
        process.id = None;
        process.is_unsure = false;
        process.looks = 0;
    }

    /// Returns the number of its registration, for which it asks if it has none.
    async fn id(&self) -> Result<ProcessId, Broken> {
        let id = self.process().id;
        if let Some(id) = id {
            return Ok(id);
        }
        let life = self.wire.life.number;
        let register = move |_: &Self, tables: &mut Tables, now, _| tables.register(life, now);
        let id = self.ask("register", &[], register).await?;
        self.process().id = Some(id);
        Ok(id)
    }

    async fn take(&self) -> Result<(), Broken> {
        let id = self.id().await?;
        let Wire { world, life } = &self.wire;
        if world.strikes(Faults::DEAD, 8 * world.plan.calls_per_fault) {
            // It is taken for dead, and lives.
            world.with(|state| state.oracle.excuse_leased(Some(life.number)));
            self.database.forget(life.number);
        }
        let (full, held, look) = {
            let mut process = self.process();
            let Some(full) = process.taken.full() else {
                return Ok(());
            };
            let was_unsure = std::mem::replace(&mut process.is_unsure, true);
            process.looks += u64::from(was_unsure);
            let held = was_unsure.then(|| process.taken.records());
            (full, held, process.looks)
        };
        let take = move |_: &Self, tables: &mut Tables, now, _| {
            let records = tables.take(id, now, &full, held.as_deref(), look)?;
            Ok::<_, Unknown>((records, tables.processes.len() > 1))
        };
        let Ok((records, is_shared)) = self.ask("take", &[], take).await? else {
            self.lose(id);
            return Ok(());
        };
        let now = self.now();
        let mut process = self.process();
        if process.id != Some(id) {
            return Ok(());
        }
        process.is_unsure = false;
        process.taken.set_shared(is_shared);
        for (key, record) in records {
            let Record {
                event, audience, ..
            } = record;
            let deliveries = record.deliveries.into_iter().map(|(id, endpoint)| {
                let place = Place {
                    workspace: event.workspace,
                    endpoint,
                    due_at: event.accepted_at.min(now),
                    is_retry: false,
                };
                (id, place, (Arc::clone(&event), endpoint))
            });
            process
                .taken
                .take(key, audience, event.payload.len(), deliveries, now);
        }
        Ok(())
    }

    /// Makes rows of what cannot wait in hand, and removes finished records.
    async fn put_rows(&self) -> Result<(), Broken> {
        let now = self.now();
        let (id, leaving, finished) = {
            let mut process = self.process();
            let Some(id) = process.id else {
                return Ok(());
            };
            let mut leaving = process.taken.leaving(now);
            leaving.sort_unstable();
            let known = leaving
                .iter()
                .filter_map(|id| Some((*id, process.taken.get(*id)?.clone(), None)));
            (id, known.collect::<Vec<_>>(), process.taken.finished())
        };
        if leaving.is_empty() && finished.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = leaving.iter().map(|(id, ..)| *id).collect();
        let done = finished.clone();
        let put = move |_: &Self, tables: &mut Tables, now, _| {
            tables.put(id, &leaving, now)?;
            for key in done {
                let its = |record: &Record| record.owner == Some(id);
                if tables.records.get(&key).is_some_and(its) {
                    tables.records.remove(&key);
                }
            }
            Ok::<_, Unknown>(())
        };
        if self.ask("put", &[], put).await?.is_err() {
            self.lose(id);
            return Ok(());
        }
        let mut process = self.process();
        for row in rows {
            process.taken.is_row(row);
        }
        process.taken.forget_finished(&finished);
        drop(process);
        self.database.generation.advance();
        Ok(())
    }

    /// Leases rows within the room of the batch, and then what is in hand.
    async fn lease_rows(
        &self,
        request: &LeaseRequest,
        room: &BatchRoom,
    ) -> Result<(Vec<LeasedDelivery>, BatchRoom, bool), Broken> {
        let held = self.process().held_by(request.worker);
        let (request, mut room) = (request.clone(), room.clone());
        let lease = move |own: &Self, tables: &mut Tables, now, is_faulty| {
            tables.waiting.reclaim_expired(now);
            let held = |endpoint| held.get(&endpoint).copied().unwrap_or(0);
            let max = request.max;
            let granted = tables
                .waiting
                .lease_part(&request, max, &mut room, held, now);
            let is_all = granted.len() < max;
            let rows = granted.into_iter().filter_map(|lease| {
                let row = tables.rows.get(&lease.delivery)?;
                Some(LeasedDelivery::new(
                    lease,
                    &row.event,
                    row.endpoint,
                    row.attempts,
                ))
            });
            let rows: Vec<_> = rows.collect();
            own.tell(&rows, &request, now, is_faulty);
            (rows, room, is_all)
        };
        self.ask("rows", &[], lease).await
    }

    fn tell(
        &self,
        leased: &[LeasedDelivery],
        request: &LeaseRequest,
        now: Timestamp,
        is_faulty: bool,
    ) {
        let Wire { world, life } = &self.wire;
        let expires_at = now.saturating_add(request.duration);
        for leased in leased {
            let id = leased.lease.delivery;
            world.note("leased", &[id.as_bits(), life.number.into()]);
            world.with(|state| {
                let oracle = &mut state.oracle;
                oracle.leased(leased, life.number, now, expires_at);
                oracle.excuse((is_faulty || life.is_over()).then_some(id));
            });
        }
    }

    async fn fill(
        &self,
        request: &LeaseRequest,
        batch: &mut Vec<LeasedDelivery>,
    ) -> Result<(), Broken> {
        self.take().await?;
        self.put_rows().await?;
        let (rows, mut room, is_all) = self.lease_rows(request, &BatchRoom::of(request)).await?;
        let left = request.max - rows.len();
        let now = self.now();
        let mut held: BTreeMap<EndpointId, usize> = BTreeMap::new();
        {
            let tables = self.database.tables();
            held.extend(tables.waiting.held_by(request.worker));
        }
        let held = |endpoint| held.get(&endpoint).copied().unwrap_or(0);
        let mut process = self.process();
        for row in &rows {
            process.taken.note_row(row.endpoint);
        }
        if is_all {
            process.taken.note_all_rows_leased(&room, held);
        }
        let granted = process.taken.lease(request, left, &mut room, held, now);
        let in_hand = granted.into_iter().filter_map(|lease| {
            let (event, endpoint) = process.taken.get(lease.delivery)?;
            Some(LeasedDelivery::new(lease, event, *endpoint, 0))
        });
        let in_hand: Vec<_> = in_hand.collect();
        drop(process);
        self.tell(&in_hand, request, now, false);
        batch.extend(rows);
        batch.extend(in_hand);
        Ok(())
    }
}

/// Leases of deliveries in hand that are being settled. Those that are left when this is dropped are as before.
struct Settling<'a> {
    queue: &'a RecordQueue,
    leases: Vec<Lease>,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let mut process = self.queue.process();
        for lease in &self.leases {
            process.taken.stop_settling(*lease);
        }
    }
}

impl Process {
    fn held_by(&self, worker: WorkerId) -> BTreeMap<EndpointId, usize> {
        self.taken.held_by(worker).collect()
    }
}

#[async_trait]
impl DeliveryQueue for RecordQueue {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseBatch, StoreError> {
        self.wire.life.pass().await;
        let generation = self.database.generation.get();
        let mut deliveries = Vec::new();
        let filled = self.fill(request, &mut deliveries).await;
        filled.map_err(|broken| self.wire.error(broken))?;
        let now = self.now();
        let of_rows = self.database.tables().waiting.next_due(now);
        let next_due = of_rows
            .into_iter()
            .chain(self.process().taken.next_due(now))
            .min();
        Ok(LeaseBatch {
            deliveries,
            next_due,
            generation,
        })
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        self.wire.life.pass().await;
        let expires_at = self.now().saturating_add(duration);
        let world = Arc::clone(&self.wire.world);
        let note = move |lease: &Lease, held: bool, expires_at| {
            if held {
                world.with(|state| {
                    state
                        .oracle
                        .extended(lease.delivery, lease.token, expires_at);
                });
            }
            held
        };
        let in_hand: Vec<_> = {
            let mut process = self.process();
            let leases = leases.iter();
            leases
                .map(|lease| note(lease, process.taken.extend(*lease, expires_at), expires_at))
                .collect()
        };
        if in_hand.iter().all(|held| *held) {
            return Ok(in_hand);
        }
        let mut about: Vec<_> = leases.iter().map(|lease| lease.delivery).collect();
        about.sort_unstable();
        let leases = leases.to_vec();
        let extend = move |_: &Self, tables: &mut Tables, now: Timestamp, _| {
            let expires_at = now.saturating_add(duration);
            let held = leases.iter().zip(in_hand);
            let held = held.map(|(lease, held)| {
                held || note(lease, tables.waiting.extend(*lease, expires_at), expires_at)
            });
            held.collect()
        };
        let held = self.ask("extend", &about, extend).await;
        held.map_err(|broken| self.wire.error(broken))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.wire.life.pass().await;
        let mut answers = vec![Settled::LeaseLost; settlements.len()];
        let (mut in_hand, mut of_rows, mut put) = (Vec::new(), Vec::new(), Vec::new());
        let id = {
            let mut process = self.process();
            for (place, settlement) in settlements.iter().enumerate() {
                let lease = settlement.lease;
                if !process.taken.holds(lease) {
                    of_rows.push((place, settlement.clone()));
                } else if !process.taken.begin_settling(lease) {
                    // Somebody is settling it.
                } else if settlement.next == Next::Release && settlement.attempt.is_none() {
                    process.taken.release(lease);
                    answers[place] = Settled::Done;
                    self.note_settled(settlement, Settled::Done);
                } else if let Some(known) = process.taken.get(lease.delivery).cloned() {
                    in_hand.push(place);
                    put.push((lease.delivery, known, Some(settlement.clone())));
                }
            }
            // Without a registration nothing is in hand.
            process.id.unwrap_or_default()
        };
        let about: Vec<_> = settlements.iter().map(|it| it.lease.delivery).collect();
        let settle = move |own: &Self, tables: &mut Tables, now, _| {
            let made = if put.is_empty() {
                Ok(BTreeSet::new())
            } else {
                tables.put(id, &put, now)
            };
            for (id, _, settlement) in &put {
                let is_made = made.as_ref().is_ok_and(|made| made.contains(id));
                let answer = if is_made {
                    Settled::Done
                } else {
                    Settled::LeaseLost
                };
                if let Some(settlement) = settlement {
                    own.note_settled(settlement, answer);
                }
            }
            let of_rows = of_rows.iter().map(|(place, settlement)| {
                let answer = tables.settle(settlement, now);
                own.note_settled(settlement, answer);
                (*place, answer)
            });
            (made, of_rows.collect::<Vec<_>>())
        };
        let leases = in_hand.iter().map(|place| settlements[*place].lease);
        let mut settling = Settling {
            queue: self,
            leases: leases.collect(),
        };
        let settled = self.ask("settle", &about, settle).await;
        let (made, of_rows) = settled.map_err(|broken| self.wire.error(broken))?;
        settling.leases.clear();
        for (place, answer) in of_rows {
            answers[place] = answer;
        }
        if let Ok(made) = made {
            let mut process = self.process();
            for place in in_hand {
                let delivery = settlements[place].lease.delivery;
                process.taken.is_row(delivery);
                if made.contains(&delivery) {
                    answers[place] = Settled::Done;
                }
            }
        } else {
            self.lose(id);
        }
        self.database.generation.advance();
        Ok(answers)
    }

    async fn changed(&self, generation: u64) {
        let database = Arc::clone(&self.database);
        let wake = async move { database.generation.changed(generation).await };
        self.wire.changed(wake).await;
    }

    async fn backlog(&self, _: u64) -> Result<Backlog, StoreError> {
        Ok(self.process().taken.backlog(self.now()))
    }
}

impl RecordQueue {
    fn note_settled(&self, settlement: &Settlement, answer: Settled) {
        let Wire { world, life } = &self.wire;
        let id = settlement.lease.delivery.as_bits();
        world.note("settled", &[id, u128::from(answer == Settled::Done)]);
        world.with(|state| state.oracle.settled(settlement, answer, life.number));
    }
}
