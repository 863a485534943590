use std::collections::BTreeMap;
use std::time::Duration;

use nahook_core::id::MessageId;

use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn id(ordinal: u32) -> DeliveryId {
    DeliveryId::nth(MessageId::from_bits(7), ordinal)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn place(endpoint: u128, due_at: Timestamp, is_retry: bool) -> Place {
    Place {
        workspace: WorkspaceId::from_bits(1),
        endpoint: EndpointId::from_bits(endpoint),
        due_at,
        is_retry,
    }
}

fn request(worker: u64, max: usize) -> LeaseRequest {
    LeaseRequest {
        per_endpoint_max: 9,
        ..LeaseRequest::new(WorkerId(worker), max, LEASE)
    }
}

fn ids(leases: &[Lease]) -> Vec<DeliveryId> {
    leases.iter().map(|lease| lease.delivery).collect()
}

#[test]
fn endpoints_take_turns_and_so_do_retries() {
    let mut scheduler = Scheduler::default();
    for (ordinal, endpoint, is_retry) in [
        (0, 1, false),
        (1, 1, false),
        (2, 1, true),
        (3, 1, true),
        (4, 2, false),
    ] {
        scheduler.put(id(ordinal), place(endpoint, at(0), is_retry), at(0));
    }
    let leased = scheduler.lease(&request(1, 9), at(0));
    assert_eq!(ids(&leased), [0, 4, 2, 1, 3].map(id));
}

#[test]
fn worker_holds_no_more_of_an_endpoint_than_it_asks_for() {
    let mut scheduler = Scheduler::default();
    for ordinal in 0..3 {
        scheduler.put(id(ordinal), place(1, at(0), false), at(0));
    }
    let mut request = request(1, 9);
    request.per_endpoint_max = 2;
    assert_eq!(scheduler.lease(&request, at(0)).len(), 2);
    assert_eq!(scheduler.lease(&request, at(0)).len(), 0);
    request.worker = WorkerId(2);
    assert_eq!(scheduler.lease(&request, at(0)).len(), 1);
}

#[test]
fn the_latest_fresh_deliveries_can_wait_longest_and_retries_least() {
    let mut scheduler = Scheduler::default();
    for (ordinal, is_retry) in [(1, true), (2, true), (3, false), (4, false)] {
        let due_at = at(u64::from(ordinal));
        scheduler.put(id(ordinal), place(1, due_at, is_retry), at(9));
    }
    let (endpoint, len) = scheduler.longest().unwrap();
    assert_eq!(len, 4);
    assert_eq!(scheduler.last_of(endpoint, 3), [4, 3, 2].map(id));
}

#[test]
fn what_is_seized_is_leased_and_what_is_leased_cannot_be_seized() {
    let mut scheduler = Scheduler::default();
    scheduler.put(id(0), place(1, at(5), false), at(0));
    let lease = scheduler.seize(id(0), WorkerId(1), at(9)).unwrap();
    assert!(scheduler.seize(id(0), WorkerId(2), at(9)).is_none());
    assert!(scheduler.seize(id(1), WorkerId(2), at(9)).is_none());
    assert_eq!(scheduler.next_due(at(0)), Some(at(9)));
    scheduler.release(lease);
    assert_eq!(scheduler.waiting_len(), 1);
    assert!(scheduler.lease(&request(1, 1), at(4)).is_empty());
    assert_eq!(ids(&scheduler.lease(&request(1, 1), at(5))), [id(0)]);
}

/// One thing that happens to a scheduler.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A worker leases one.
    Lease(u64),
    /// A worker's oldest lease ends so.
    Settle(u64, End),
    /// A worker is killed: nothing more comes from it.
    Kill(u64),
    /// The time of a lease passes.
    Pass,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Retry,
    Release,
    Abandon,
}

/// A scheduler, and the truth about it, kept beside it.
#[derive(Clone, Default)]
struct Model {
    scheduler: Scheduler,
    now: u64,
    /// The deliveries that have not ended: when each is due.
    open: BTreeMap<DeliveryId, u64>,
    /// Leases as their workers know them, and when they end; 0 is a worker that was killed.
    leases: Vec<(u64, Lease, u64)>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        for (ordinal, endpoint, due_at) in [(0, 1, 0), (1, 1, 0), (2, 2, 3)] {
            let at = place(endpoint, at(due_at), false);
            model.scheduler.put(id(ordinal), at, self::at(0));
            model.open.insert(id(ordinal), due_at);
        }
        model
    }

    /// Returns false if the step cannot happen here.
    fn step(&mut self, step: Step) -> bool {
        let now = at(self.now);
        match step {
            Step::Lease(worker) => {
                self.scheduler.reclaim_expired(now);
                let leased = self.scheduler.lease(&request(worker, 1), now);
                let held = |id| {
                    let mut valid = self.leases.iter();
                    valid.any(|(_, lease, end)| lease.delivery == id && *end > self.now)
                };
                for lease in &leased {
                    assert!(!held(lease.delivery), "somebody has it");
                    assert!(
                        self.open[&lease.delivery] <= self.now,
                        "not before its time"
                    );
                }
                let waits = |(id, due_at): (&DeliveryId, &u64)| *due_at <= self.now && !held(*id);
                assert_eq!(leased.is_empty(), !self.open.iter().any(waits));
                let end = self.now + LEASE.as_secs();
                let leased = leased.into_iter();
                self.leases.extend(leased.map(|lease| (worker, lease, end)));
                assert_eq!(self.scheduler.next_due(now), self.next_due().map(at));
            }
            Step::Settle(worker, end) => {
                let of_worker = self
                    .leases
                    .iter()
                    .position(|(holder, ..)| *holder == worker);
                let Some(nth) = of_worker else {
                    return false;
                };
                self.scheduler.reclaim_expired(now);
                let (_, lease, expires_at) = self.leases.remove(nth);
                let is_held = self.scheduler.begin_settling(lease);
                assert_eq!(
                    is_held,
                    expires_at > self.now,
                    "until it expires, and no longer"
                );
                if is_held {
                    assert!(self.scheduler.is_settling(lease.delivery));
                    self.end(lease, end, worker, expires_at);
                }
            }
            Step::Kill(worker) => {
                let leases = self.leases.iter_mut();
                for (holder, ..) in leases.filter(|(holder, ..)| *holder == worker) {
                    *holder = 0;
                }
            }
            Step::Pass => self.now += LEASE.as_secs(),
        }
        true
    }

    /// The next instant at which time alone makes something leasable.
    fn next_due(&self) -> Option<u64> {
        let ends = self.leases.iter().map(|(.., end)| *end);
        let is_held = |id: &DeliveryId| {
            let mut leases = self.leases.iter();
            leases.any(|(_, lease, end)| lease.delivery == *id && *end > self.now)
        };
        let waiting = self.open.iter().filter(|(id, _)| !is_held(id));
        let due = waiting.map(|(_, due_at)| *due_at);
        ends.chain(due).filter(|at| *at > self.now).min()
    }

    fn end(&mut self, lease: Lease, end: End, worker: u64, expires_at: u64) {
        let id = lease.delivery;
        match end {
            End::Done => {
                assert!(self.scheduler.remove(id).is_some());
                self.open.remove(&id);
            }
            End::Retry => {
                let due_at = self.now + 15;
                let place = self.scheduler.place(id).unwrap();
                let place = Place {
                    due_at: at(due_at),
                    is_retry: true,
                    ..place
                };
                self.scheduler.put(id, place, at(self.now));
                self.open.insert(id, due_at);
            }
            End::Release => self.scheduler.release(lease),
            End::Abandon => {
                self.scheduler.stop_settling(lease);
                self.leases.push((worker, lease, expires_at));
            }
        }
    }

    /// Nothing is lost: what has not ended is handed out in the end, once.
    fn finish(mut self) {
        self.now += 100;
        self.scheduler.reclaim_expired(at(self.now));
        assert_eq!(self.scheduler.waiting_len(), self.open.len());
        let mut forgotten = self.scheduler.clone();
        for id in self.open.keys() {
            forgotten.remove(*id);
        }
        assert!(forgotten.deliveries.is_empty() && forgotten.waiting.is_empty());
        let mut rest = ids(&self.scheduler.lease(&request(9, 9), at(self.now)));
        rest.sort_unstable();
        assert!(rest.iter().eq(self.open.keys()), "{rest:?}");
        for id in rest {
            self.scheduler.remove(id);
        }
        let left = self.scheduler;
        assert!(left.deliveries.is_empty() && left.waiting.is_empty() && left.later.is_empty());
        assert!(left.leases.is_empty() && left.leases.first_expiry().is_none());
    }
}

/// Every course of two workers with three deliveries of two endpoints, up to a length.
#[test]
fn no_course_of_events_loses_or_invents_a_delivery() {
    let mut steps = vec![Step::Pass];
    for worker in 1..=2 {
        steps.extend([Step::Lease(worker), Step::Kill(worker)]);
        let ends = [End::Done, End::Retry, End::Release, End::Abandon];
        steps.extend(ends.map(|end| Step::Settle(worker, end)));
    }
    let mut courses = vec![Model::new()];
    let mut count = 0;
    for length in 0..5 {
        let mut next = Vec::new();
        for course in &courses {
            for step in &steps {
                let mut course = course.clone();
                if course.step(*step) {
                    count += 1;
                    course.clone().finish();
                    if length < 4 {
                        next.push(course);
                    }
                }
            }
        }
        courses = next;
    }
    assert_eq!(count, 16_217, "every course was tried");
}
