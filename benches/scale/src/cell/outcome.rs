//! What a run has come to.

use super::task::{Recorder, Task, settled_by};
use super::work::Delivery;
use super::{Cell, Event};
use crate::station::Station;
use crate::tally::{Outcome, Part};

impl Cell<'_> {
    pub(super) fn outcome(mut self) -> Outcome {
        let mut in_flight = 0;
        let mut count = |delivery: &Delivery| in_flight += u64::from(!delivery.is_old());
        for worker in &self.workers {
            worker.waiting.iter().for_each(&mut count);
            let finished = worker.finished.iter();
            finished.for_each(|attempted| count(&attempted.delivery));
        }
        self.tasks
            .iter()
            .flatten()
            .flat_map(Task::deliveries)
            .for_each(&mut count);
        self.writers
            .iter()
            .flat_map(|writer| &writer.waiting)
            .flat_map(settled_by)
            .for_each(&mut count);
        for event in self.slab.iter().flatten() {
            match event {
                Event::AttemptEnds(_, attempted) => count(&attempted.delivery),
                Event::Sent(_, delivery) => count(delivery),
                _ => {}
            }
        }
        let ready = || self.ready.iter().flatten();
        ready().for_each(&mut count);
        let backlog = ready().count() as u64;
        let tally = &mut self.tally;
        Outcome {
            latencies: tally.latencies(),
            accepted: tally.accepted,
            delivered: tally.delivered,
            dead: tally.dead,
            waiting: in_flight + tally.scheduled,
            backlog,
            log_backlog: self.recorders.iter().map(Recorder::waiting).sum(),
            group: tally.grouped as f64 / tally.groups.max(1) as f64,
            syncs: (self.store_disk.syncs + self.nats_disk.syncs) as f64
                / (self.plan.warm_seconds + self.plan.seconds),
            attempts_per_second: tally.attempts as f64 / self.plan.seconds,
            empty_claims: tally.empty_claims as f64 / tally.claims.max(1) as f64,
            parts: self.parts(),
        }
    }

    fn parts(&self) -> Vec<(Part, f64)> {
        let (ingest, workers) = (self.plan.ingest, self.plan.workers);
        let mean = |of: &[Station]| {
            of.iter().map(Station::utilisation).sum::<f64>() / of.len().max(1) as f64
        };
        let slots = self.plan.in_flight * workers;
        let mut parts = vec![
            (Part::Slots, self.tally.slots.share(slots)),
            (Part::SlowSlots, self.tally.slow_slots.share(slots / 2)),
        ];
        if self.is_embedded() {
            parts.push((Part::NodeCpu, mean(&self.stations)));
            parts.push((Part::WriterThread, self.tally.writer.share(1)));
            return parts;
        }
        parts.push((Part::IngestCpu, mean(&self.stations[..ingest])));
        parts.push((
            Part::WorkerCpu,
            mean(&self.stations[ingest..ingest + workers]),
        ));
        parts.push((Part::StoreCpu, self.stations[self.store_at()].utilisation()));
        if self.plan.composition.has_nats() {
            parts.push((Part::NatsCpu, self.stations[self.queue_at()].utilisation()));
        }
        parts
    }
}
