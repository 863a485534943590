//! Workers: what they take, attempt and settle.

use std::collections::VecDeque;

use super::task::{Task, Work};
use super::{Cell, Event, TELL_PAUSE};
use crate::plan::Composition;
use crate::station::Time;
use crate::traffic::{Endpoint, retry_after};
use crate::writer::Job;

/// One delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// When it could first be attempted; absent for what was accepted before the simulation began.
    accepted: Option<Time>,
    attempts: u8,
    endpoint: Endpoint,
    /// Whether its event has few endpoints: the last of a wide one wait for the first.
    is_narrow: bool,
    taken: Time,
}

/// Up to so many endpoints: those that the project has targets of latency for.
const NARROW_MAX: u32 = 100;

impl Delivery {
    pub(super) fn new(accepted: Time, endpoint: Endpoint, width: u32) -> Self {
        Self {
            is_narrow: width <= NARROW_MAX,
            accepted: Some(accepted),
            attempts: 0,
            endpoint,
            taken: 0,
        }
    }

    pub(super) fn old(endpoint: Endpoint) -> Self {
        Self {
            is_narrow: false,
            accepted: None,
            attempts: 2,
            endpoint,
            taken: 0,
        }
    }

    pub(super) fn is_old(&self) -> bool {
        self.accepted.is_none()
    }
}

/// A delivery whose attempt has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(super) delivery: Delivery,
    succeeded: bool,
}

#[derive(Debug, Default)]
pub(super) struct Worker {
    used: usize,
    slow_used: usize,
    is_claiming: bool,
    /// It was told of work while it claimed.
    is_told: bool,
    is_settling: bool,
    /// Taken, and waiting for a core.
    pub(super) waiting: VecDeque<Delivery>,
    /// Attempts that are on a core.
    running: usize,
    pub(super) finished: Vec<Attempted>,
}

impl Cell<'_> {
    /// There is work from an ingest node: others hear of it soon, and not each time.
    pub(super) fn tell(&mut self, ingest: usize) {
        if self.plan.composition != Composition::Postgres {
            self.wake();
            return;
        }
        if self.told_at[ingest] > self.now {
            return;
        }
        let at = self.now.max(self.told_at[ingest] + TELL_PAUSE);
        self.told_at[ingest] = at;
        let heard = at + 2 * self.half_trip;
        self.arrange(heard, Event::Wake);
    }

    /// Postgres wakes every worker; the others' queues know who waits.
    pub(super) fn wake(&mut self) {
        for _ in 0..self.workers.len() {
            if self.plan.composition != Composition::Postgres && self.is_nothing_ready() {
                return;
            }
            self.next_worker = (self.next_worker + 1) % self.workers.len();
            self.claim(self.next_worker);
        }
    }

    pub(super) fn retried(&mut self, delivery: Delivery) {
        self.ready[usize::from(delivery.endpoint.is_slow())].push_back(delivery);
        self.wake();
    }

    fn is_nothing_ready(&self) -> bool {
        self.ready.iter().all(VecDeque::is_empty)
    }

    fn claim(&mut self, nth: usize) {
        let worker = &mut self.workers[nth];
        if worker.is_claiming {
            worker.is_told = true;
        } else if worker.used < self.plan.in_flight {
            worker.is_claiming = true;
            worker.is_told = false;
            let work = Work::Claim {
                worker: nth,
                taken: Vec::new(),
            };
            self.begin(work);
        }
    }

    /// What a claim finds: slow endpoints get what is left of their half.
    pub(super) fn take(&mut self, nth: usize) -> Vec<Delivery> {
        let (in_flight, now) = (self.plan.in_flight, self.now);
        let worker = &mut self.workers[nth];
        let mut taken = Vec::new();
        loop {
            let before = taken.len();
            for is_slow in [true, false] {
                let room = worker.used < in_flight
                    && (!is_slow || worker.slow_used < (in_flight / 2).max(1));
                if room && let Some(mut delivery) = self.ready[usize::from(is_slow)].pop_front() {
                    delivery.taken = now;
                    worker.used += 1;
                    worker.slow_used += usize::from(is_slow);
                    taken.push(delivery);
                }
            }
            if taken.len() == before {
                break;
            }
        }
        self.tally.claims += 1;
        self.tally.empty_claims += u64::from(taken.is_empty());
        taken
    }

    pub(super) fn claimed(&mut self, nth: usize, taken: Vec<Delivery>) {
        let was_empty = taken.is_empty();
        self.workers[nth].waiting.extend(taken);
        self.attempt(nth);
        let worker = &mut self.workers[nth];
        worker.is_claiming = false;
        if worker.is_told || (!was_empty && self.is_room_for_ready(nth)) {
            self.claim(nth);
        }
    }

    fn is_room_for_ready(&self, nth: usize) -> bool {
        let slow_room = self.workers[nth].slow_used < self.plan.in_flight / 2;
        !self.ready[0].is_empty() || (slow_room && !self.ready[1].is_empty())
    }

    /// Puts what waits on a core. Not all at once: whatever else the node does comes in between, as on a system that shares
    /// time; of the one node that does everything, one core is left to the others.
    fn attempt(&mut self, nth: usize) {
        let cores = self.world.machines.cores - usize::from(self.is_embedded());
        let at = self.worker_at(nth);
        while self.workers[nth].running < cores.max(1)
            && let Some(delivery) = self.workers[nth].waiting.pop_front()
        {
            let mut micros = self.queue.client_per_lease + self.costs.worker.per_attempt;
            if !self.random.is(self.world.receivers.kept_alive) {
                micros += self.costs.worker.per_tls_handshake;
            }
            let cpu = self.varied(micros);
            let sent = self.stations[at].serve(self.now, cpu);
            self.workers[nth].running += 1;
            self.arrange(sent, Event::Sent(nth, delivery));
        }
    }

    /// The request is on its way.
    pub(super) fn sent(&mut self, nth: usize, mut delivery: Delivery) {
        self.workers[nth].running -= 1;
        self.attempt(nth);
        if delivery.attempts == 0
            && delivery.is_narrow
            && !delivery.endpoint.is_slow()
            && let Some(accepted) = delivery.accepted
        {
            self.tally.first_attempted(accepted, self.now);
        }
        delivery.attempts += 1;
        self.tally.attempts += u64::from(self.now >= self.tally.slots.from);
        let receivers = &self.world.receivers;
        let (latency, succeeded) = delivery.endpoint.attempt(receivers, &mut self.random);
        let attempted = Attempted {
            delivery,
            succeeded,
        };
        self.arrange(self.now + latency, Event::AttemptEnds(nth, attempted));
    }

    pub(super) fn attempt_ended(&mut self, nth: usize, attempted: Attempted) {
        self.workers[nth].finished.push(attempted);
        self.settle(nth);
    }

    /// What has ended meanwhile is settled together, one batch after the other.
    fn settle(&mut self, nth: usize) {
        let worker = &mut self.workers[nth];
        if worker.is_settling || worker.finished.is_empty() {
            return;
        }
        worker.is_settling = true;
        let attempted = std::mem::take(&mut worker.finished);
        if self.is_embedded() {
            let job = Job::Settle {
                worker: nth,
                attempted,
            };
            self.writers[0].waiting.push_back(job);
            self.write(0);
        } else {
            self.begin(Work::Settle {
                worker: nth,
                attempted,
            });
        }
    }

    pub(super) fn settled(&mut self, nth: usize, attempted: Vec<Attempted>) {
        if self.plan.composition.has_nats() {
            self.record(self.plan.ingest + nth, attempted.len() as u64);
        }
        for Attempted {
            delivery,
            succeeded,
        } in attempted
        {
            self.leave(nth, delivery);
            if succeeded {
                self.tally.delivered += u64::from(!delivery.is_old());
            } else if let Some(pause) = retry_after(delivery.attempts) {
                self.put_off(delivery, pause);
            } else {
                self.tally.dead += u64::from(!delivery.is_old());
            }
        }
        self.workers[nth].is_settling = false;
        self.settle(nth);
        // There is room again. Whoever shares Postgres looks in any case.
        if self.plan.composition == Composition::Postgres || self.is_room_for_ready(nth) {
            self.claim(nth);
        }
    }

    fn leave(&mut self, nth: usize, delivery: Delivery) {
        let is_slow = delivery.endpoint.is_slow();
        let worker = &mut self.workers[nth];
        worker.used -= 1;
        worker.slow_used -= usize::from(is_slow);
        self.tally.slots.add(delivery.taken, self.now);
        if is_slow {
            self.tally.slow_slots.add(delivery.taken, self.now);
        }
    }

    fn put_off(&mut self, delivery: Delivery, pause: f64) {
        if delivery.is_old() {
            return;
        }
        self.tally.scheduled += 1;
        let varied = pause * (0.9 + 0.2 * self.random.unit());
        let at = self.now + (varied * 1e9) as Time;
        self.arrange(at, Event::Retry(delivery));
    }
}

impl Task {
    /// The deliveries that are on their way with it.
    pub(super) fn deliveries(&self) -> Box<dyn Iterator<Item = &Delivery> + '_> {
        match &self.work {
            Work::Claim { taken, .. } => Box::new(taken.iter()),
            Work::Settle { attempted, .. } => {
                Box::new(attempted.iter().map(|attempted| &attempted.delivery))
            }
            Work::Group { jobs, .. } => Box::new(jobs.iter().flat_map(super::task::settled_by)),
            Work::Record { .. } => Box::new(std::iter::empty()),
        }
    }
}
