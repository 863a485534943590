//! One cell, event by event: ingest, the writers, the store, the queue, the workers and their receivers.

mod outcome;
mod task;
mod work;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use self::task::{Recorder, Stage, Task};
pub(crate) use self::work::Attempted;
use self::work::{Delivery, Worker};
use crate::plan::{Composition, Plan};
use crate::random::Random;
use crate::settings::{Costs, QueueCosts, World, nanos};
use crate::station::{Busy, Disk, Station, Time};
use crate::tally::{Outcome, Tally};
use crate::traffic::{Arrivals, Endpoint};
use crate::writer::{Job, Writer};

/// One process tells others at most this often that there is work (nahook-postgres/src/listener.rs).
const TELL_PAUSE: Time = 2_000_000;
/// Retries after the first one; their deliveries were accepted before the simulation began.
const LATER_RETRIES: f64 = 8.0;

/// Something that happens at its time; at one time, in the order in which it was arranged.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive,
    /// An attempt of what was accepted long ago comes due.
    OldRetry,
    Retry(Delivery),
    /// The request has been read.
    Parsed(usize),
    Task(usize, Stage),
    /// A worker has sent a request.
    Sent(usize, Delivery),
    AttemptEnds(usize, Attempted),
    /// Workers hear that there is work.
    Wake,
}

#[derive(Debug)]
struct Trigger {
    arrived: Time,
    ingest: usize,
    width: u32,
    /// Jobs that are not written yet.
    pending: usize,
}

/// A running simulation.
#[derive(Debug)]
pub(crate) struct Cell<'a> {
    plan: &'a Plan,
    costs: &'a Costs,
    world: &'a World,
    /// What the queue costs.
    queue: &'a QueueCosts,
    random: Random,
    arrivals: Arrivals,
    now: Time,
    end: Time,
    arranged: u64,
    events: BinaryHeap<Reverse<(Time, u64, usize)>>,
    /// What the heap's entries stand for; free places are reused.
    slab: Vec<Option<Event>>,
    free: Vec<usize>,
    /// Ingest nodes, workers, the store, NATS; of the embedded store, one.
    stations: Vec<Station>,
    store_disk: Disk,
    nats_disk: Disk,
    writers: Vec<Writer>,
    /// By process: the log's entries on their way to the store.
    recorders: Vec<Recorder>,
    workers: Vec<Worker>,
    triggers: Vec<Trigger>,
    tasks: Vec<Option<Task>>,
    tasks_free: Vec<usize>,
    /// Healthy endpoints' and slow ones'.
    ready: [VecDeque<Delivery>; 2],
    told_at: Vec<Time>,
    next_worker: usize,
    half_trip: Time,
    /// Deliveries a record holds on average, so far.
    records: (u64, u64),
    tally: Tally,
}

impl<'a> Cell<'a> {
    pub(crate) fn new(plan: &'a Plan, costs: &'a Costs, world: &'a World) -> Self {
        let from = (plan.warm_seconds * 1e9) as Time;
        let end = from + (plan.seconds * 1e9) as Time;
        let busy = || Busy::within(from, end);
        let is_one = plan.composition == Composition::Sqlite;
        let nodes = if is_one {
            1
        } else {
            plan.ingest + plan.workers + 2
        };
        let queue = plan.composition.queue(costs);
        let store = plan.composition.store(costs);
        let is_always = plan.composition == Composition::NatsAlways;
        Self {
            plan,
            costs,
            world,
            queue,
            random: Random::new(plan.seed ^ 0x5eed),
            arrivals: Arrivals::new(world, plan.deliveries_per_day, plan.seed),
            now: 0,
            end,
            arranged: 0,
            events: BinaryHeap::new(),
            slab: Vec::new(),
            free: Vec::new(),
            stations: vec![Station::new(world.machines.cores, busy()); nodes],
            store_disk: Disk::new(nanos(store.sync), store.syncs_are_shared),
            nats_disk: Disk::new(
                if is_always { nanos(queue.sync) } else { 0 },
                queue.syncs_are_shared,
            ),
            writers: (0..plan.ingest)
                .map(|_| Writer::new(plan.composition.grouping()))
                .collect(),
            recorders: vec![Recorder::default(); plan.ingest + plan.workers],
            workers: (0..plan.workers).map(|_| Worker::default()).collect(),
            triggers: Vec::new(),
            tasks: Vec::new(),
            tasks_free: Vec::new(),
            ready: [VecDeque::new(), VecDeque::new()],
            told_at: vec![0; plan.ingest],
            next_worker: 0,
            half_trip: if is_one {
                0
            } else {
                nanos(world.machines.round_trip_us) / 2
            },
            records: (1, 1),
            tally: Tally::new(from, end),
        }
    }

    /// Runs to the end of what is measured.
    pub(crate) fn run(mut self) -> Outcome {
        self.arrive_next();
        self.arrange_old_retry();
        while let Some(Reverse((at, _, place))) = self.events.pop() {
            if at >= self.end {
                self.arrange_again(at, place);
                break;
            }
            self.now = at;
            if let Some(event) = self.slab.get_mut(place).and_then(Option::take) {
                self.free.push(place);
                self.happen(event);
            }
        }
        self.outcome()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrived(),
            Event::OldRetry => {
                self.arrange_old_retry();
                let endpoint = Endpoint::dead(&self.world.receivers, &mut self.random);
                self.retried(Delivery::old(endpoint));
            }
            Event::Retry(delivery) => {
                self.tally.scheduled -= u64::from(!delivery.is_old());
                self.retried(delivery);
            }
            Event::Parsed(trigger) => self.parsed(trigger),
            Event::Task(task, stage) => self.advance(task, stage),
            Event::Sent(worker, delivery) => self.sent(worker, delivery),
            Event::AttemptEnds(worker, attempted) => self.attempt_ended(worker, attempted),
            Event::Wake => self.wake(),
        }
    }

    fn arrange(&mut self, at: Time, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() - 1
        });
        self.slab[place] = Some(event);
        self.arrange_again(at, place);
    }

    fn arrange_again(&mut self, at: Time, place: usize) {
        self.arranged += 1;
        self.events.push(Reverse((at, self.arranged, place)));
    }

    fn arrive_next(&mut self) {
        let (at, width) = self.arrivals.next();
        let ingest = self.random.below(self.plan.ingest);
        self.triggers.push(Trigger {
            arrived: at,
            ingest,
            width,
            pending: 0,
        });
        self.arrange(at, Event::Arrive);
    }

    fn arrange_old_retry(&mut self) {
        let receivers = &self.world.receivers;
        let rate = self.plan.deliveries_per_day / 86_400.0 * receivers.dead * LATER_RETRIES;
        if rate > 0.0 {
            let at = self.now + (self.random.exponential(1.0 / rate) * 1e9) as Time;
            self.arrange(at, Event::OldRetry);
        }
    }

    fn arrived(&mut self) {
        let nth = self.triggers.len() - 1;
        let (ingest, width) = (self.triggers[nth].ingest, self.triggers[nth].width);
        let front = &self.costs.front;
        let mean = front.per_trigger + front.per_delivery * f64::from(width);
        let cpu = self.varied(mean);
        let done = self.stations[ingest].serve(self.now, cpu);
        self.arrange(done, Event::Parsed(nth));
        self.arrive_next();
    }

    fn parsed(&mut self, nth: usize) {
        let trigger = &mut self.triggers[nth];
        let chunk = self.plan.composition.grouping().chunk;
        let (ingest, mut left) = (trigger.ingest, trigger.width);
        while left > 0 {
            let width = left.min(chunk);
            left -= width;
            trigger.pending += 1;
            let job = Job::Publish {
                trigger: nth,
                width,
            };
            self.writers[ingest].waiting.push_back(job);
        }
        self.write(ingest);
    }

    /// Half of it is always the same, the other half varies without memory.
    fn varied(&mut self, mean_micros: f64) -> u64 {
        nanos(f64::midpoint(
            mean_micros,
            self.random.exponential(mean_micros),
        ))
    }

    fn is_embedded(&self) -> bool {
        self.stations.len() == 1
    }

    fn worker_at(&self, worker: usize) -> usize {
        if self.is_embedded() {
            0
        } else {
            self.plan.ingest + worker
        }
    }

    fn store_at(&self) -> usize {
        self.stations.len().saturating_sub(2)
    }

    fn queue_at(&self) -> usize {
        if self.plan.composition.has_nats() {
            self.stations.len() - 1
        } else {
            self.store_at()
        }
    }
}
