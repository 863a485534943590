//! What a process asks of a store or a queue: its own CPU, the way there, the other's CPU, the disk, the way back.

use super::work::{Attempted, Delivery};
use super::{Cell, Event};
use crate::plan::Composition;
use crate::settings::nanos;
use crate::traffic::Endpoint;
use crate::writer::Job;

/// How many entries of the log one statement takes (nahook-core's `RecorderBufferSettings`).
const ENTRIES_MAX: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Task {
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    Group {
        ingest: usize,
        jobs: Vec<Job>,
    },
    Claim {
        worker: usize,
        taken: Vec<Delivery>,
    },
    Settle {
        worker: usize,
        attempted: Vec<Attempted>,
    },
    Record {
        process: usize,
        entries: u64,
    },
}

/// Where it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    AtServer,
    AtDisk,
    Back,
}

/// A process's entries for the log, one batch after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    waiting: u64,
    is_busy: bool,
}

impl Recorder {
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }
}

/// The deliveries of a job that settles.
pub(super) fn settled_by(job: &Job) -> impl Iterator<Item = &Delivery> {
    let attempted = match job {
        Job::Settle { attempted, .. } => attempted.as_slice(),
        Job::Publish { .. } => &[],
    };
    attempted.iter().map(|attempted| &attempted.delivery)
}

/// What a group holds: events, deliveries, settlements.
fn contents(jobs: &[Job]) -> (f64, f64, f64) {
    let (mut events, mut deliveries, mut settlements) = (0.0, 0.0, 0.0);
    for job in jobs {
        match job {
            Job::Publish { width, .. } => {
                events += 1.0;
                deliveries += f64::from(*width);
            }
            Job::Settle { attempted, .. } => settlements += attempted.len() as f64,
        }
    }
    (events, deliveries, settlements)
}

impl Cell<'_> {
    /// Writes what waits, as far as there are lanes.
    pub(super) fn write(&mut self, ingest: usize) {
        while let Some(jobs) = self.writers[ingest].take() {
            self.tally.groups += 1;
            self.tally.grouped += jobs.len() as u64;
            self.begin(Work::Group { ingest, jobs });
        }
    }

    /// Entries for the log have come about in a process.
    pub(super) fn record(&mut self, process: usize, entries: u64) {
        let recorder = &mut self.recorders[process];
        recorder.waiting += entries;
        if recorder.is_busy || recorder.waiting == 0 {
            return;
        }
        let entries = recorder.waiting.min(ENTRIES_MAX);
        recorder.waiting -= entries;
        recorder.is_busy = true;
        self.begin(Work::Record { process, entries });
    }

    pub(super) fn begin(&mut self, work: Work) {
        let (at, micros) = self.at_client(&work);
        let done = self.stations[at].serve(self.now, nanos(micros));
        let id = self.tasks_free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        self.tasks[id] = Some(Task { work });
        self.arrange(done + self.half_trip, Event::Task(id, Stage::AtServer));
    }

    fn at_client(&self, work: &Work) -> (usize, f64) {
        let queue = self.queue;
        match work {
            Work::Group { ingest, jobs } => {
                let (events, deliveries, _) = contents(jobs);
                let micros = queue.client_per_group
                    + queue.client_per_event * events
                    + queue.client_per_delivery * deliveries;
                (*ingest, micros)
            }
            Work::Claim { worker, .. } | Work::Settle { worker, .. } => {
                (self.worker_at(*worker), queue.client_per_group)
            }
            Work::Record { process, entries } => {
                let postgres = &self.costs.postgres;
                let micros =
                    postgres.client_per_group + postgres.client_per_delivery * *entries as f64;
                (*process, micros)
            }
        }
    }

    pub(super) fn advance(&mut self, id: usize, stage: Stage) {
        let Some(mut task) = self.tasks[id].take() else {
            return;
        };
        match stage {
            Stage::AtServer => {
                let micros = self.at_server(&mut task.work);
                let at = match task.work {
                    Work::Record { .. } => self.store_at(),
                    _ => self.queue_at(),
                };
                let cpu = nanos(micros);
                let done = self.stations[at].serve(self.now, cpu);
                if matches!(task.work, Work::Group { .. }) {
                    self.tally.writer.add(done - cpu, done);
                }
                let is_synced = !matches!(task.work, Work::Claim { .. });
                let next = if is_synced {
                    Stage::AtDisk
                } else {
                    Stage::Back
                };
                // Of three replicas, another has to have it, too.
                let quorum = if self.plan.composition == Composition::NatsReplicated && is_synced {
                    2 * self.half_trip
                } else {
                    0
                };
                let way = if is_synced { quorum } else { self.half_trip };
                self.arrange(done + way, Event::Task(id, next));
            }
            Stage::AtDisk => {
                let done = self.synced(&task.work);
                self.arrange(done + self.half_trip, Event::Task(id, Stage::Back));
            }
            Stage::Back => {
                self.tasks_free.push(id);
                self.finish(task.work);
                return;
            }
        }
        self.tasks[id] = Some(task);
    }

    fn synced(&mut self, work: &Work) -> u64 {
        if matches!(work, Work::Record { .. }) || !self.plan.composition.has_nats() {
            return self.store_disk.flush(self.now);
        }
        if self.plan.composition != Composition::NatsAlways {
            return self.now;
        }
        let first = self.nats_disk.flush(self.now);
        match work {
            // The log's message and the note.
            Work::Settle { .. } => self.nats_disk.flush(self.now),
            _ => first,
        }
    }

    fn at_server(&mut self, work: &mut Work) -> f64 {
        let queue = self.queue;
        let factor = if self.plan.composition == Composition::NatsReplicated {
            self.costs.replicated.server_factor
        } else {
            1.0
        };
        match work {
            Work::Group { jobs, .. } => {
                let (events, deliveries, settlements) = contents(jobs);
                self.records.0 += deliveries as u64;
                self.records.1 += 1;
                factor
                    * (queue.server_per_group
                        + queue.server_per_event * events
                        + queue.server_per_delivery * deliveries
                        + queue.settle_per_delivery * settlements)
            }
            Work::Claim { worker, taken } => {
                *taken = self.take(*worker);
                let calls = if self.plan.composition.has_nats() {
                    // By the record and not by the call.
                    taken.len() as f64 * self.records.1 as f64 / self.records.0 as f64
                } else {
                    1.0
                };
                queue.claim_per_call * calls + queue.claim_per_delivery * taken.len() as f64
            }
            Work::Settle { attempted, .. } => {
                factor
                    * (queue.settle_per_call + queue.settle_per_delivery * attempted.len() as f64)
            }
            Work::Record { entries, .. } => {
                let postgres = &self.costs.postgres;
                postgres.record_per_call + postgres.record_per_entry * *entries as f64
            }
        }
    }

    fn finish(&mut self, work: Work) {
        match work {
            Work::Group { ingest, jobs } => {
                self.writers[ingest].release();
                self.write(ingest);
                for job in jobs {
                    match job {
                        Job::Publish { trigger, width } => self.published(trigger, width),
                        Job::Settle { worker, attempted } => self.settled(worker, attempted),
                    }
                }
                self.tell(ingest);
            }
            Work::Claim { worker, taken } => self.claimed(worker, taken),
            Work::Settle { worker, attempted } => self.settled(worker, attempted),
            Work::Record { process, .. } => {
                self.recorders[process].is_busy = false;
                self.record(process, 0);
            }
        }
    }

    fn published(&mut self, nth: usize, width: u32) {
        let of_event = self.triggers[nth].width;
        for _ in 0..width {
            let endpoint = Endpoint::draw(&self.world.receivers, &mut self.random);
            let delivery = Delivery::new(self.now, endpoint, of_event);
            self.ready[usize::from(endpoint.is_slow())].push_back(delivery);
        }
        self.tally.accepted += u64::from(width);
        let trigger = &mut self.triggers[nth];
        trigger.pending -= 1;
        let (arrived, ingest) = (trigger.arrived, trigger.ingest);
        if trigger.pending == 0 {
            self.tally.answered(arrived, self.now);
        }
        if self.plan.composition.has_nats() {
            self.record(ingest, u64::from(width));
        }
    }
}
