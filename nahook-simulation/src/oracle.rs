//! Knows what was acknowledged, what the store holds and what arrived, and says what must not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nahook_core::id::{DeliveryId, EndpointId, MessageId};
use nahook_core::{
    Delivery, Event, FailureKind, Outcome, Receipt, SendError, Sent, Timestamp, TriggerError,
};
use nahook_delivery::RetrySchedule;
use nahook_queue::{
    Attempt, DeliveryRecord, DeliveryStatus, LeaseToken, LeasedDelivery, Next, Settled, Settlement,
};
use tokio::time::Instant;

use crate::plan::{Faults, Plan};

/// Time that a trigger may take, with the step of the timer.
const ANSWER_BY: Duration = Duration::from_millis(5_001);

/// Time by which clocks may be apart while they jump, and an attempt's own may be off.
const SKEW: Duration = Duration::from_secs(5);

/// Time in which something is attempted for a receiver that is well, whatever others do.
const PROMPT: Duration = Duration::from_secs(2);

/// Returns true for an endpoint whose receiver is always well.
pub(crate) fn is_well(endpoint: EndpointId) -> bool {
    let last = endpoint.as_str().bytes().next_back();
    last.is_some_and(|last| last % 3 == 0)
}

/// The number of a server's run from its start to its end.
pub(crate) type LifeNumber = u64;

pub(crate) struct Oracle {
    pub(crate) schedule: RetrySchedule,
    skew: Duration,
    keeps_order: bool,
    /// Nothing delays what is for a receiver that is well.
    is_prompt: bool,
    events: Vec<Triggered>,
    deliveries: BTreeMap<DeliveryId, Known>,
    endpoints: BTreeMap<EndpointId, Standing>,
    /// Endpoints in the order in which something about them changed.
    changes: Vec<EndpointId>,
    /// By endpoint, what is queued and was never leased.
    fresh: BTreeMap<EndpointId, BTreeSet<(Timestamp, DeliveryId)>>,
    violations: Vec<String>,
}

struct Triggered {
    workspace: usize,
    event_type: usize,
    payload: Vec<u8>,
    at: Instant,
    subscribers: BTreeSet<EndpointId>,
    /// Number of changes before it.
    changes: usize,
    message: Option<MessageId>,
    answer: Told,
}

#[derive(Clone, Debug, Default)]
enum Told {
    /// Its server was killed, or has not answered yet.
    #[default]
    Nothing,
    NotQueued,
    /// The endpoints that were told to be queued, and those that may be.
    Receipt(BTreeSet<EndpointId>, BTreeSet<EndpointId>),
}

/// A delivery that the store has taken.
#[derive(Debug)]
struct Known {
    event: usize,
    endpoint: EndpointId,
    at: Instant,
    attempts: u32,
    arrivals: u32,
    /// Number of times that something happened for which it may arrive once more.
    excuses: u32,
    /// Lives of the servers to which a receiver said that it took it.
    taken: BTreeSet<LifeNumber>,
    state: Next,
    lease: Option<(LeaseToken, LifeNumber, Timestamp)>,
}

/// An endpoint as the store has it.
#[derive(Debug)]
struct Standing {
    workspace: usize,
    event_types: Vec<usize>,
    is_active: bool,
    was_inactive: bool,
    said_gone: bool,
}

macro_rules! demand {
    ($self:ident, $holds:expr, $($told:tt)+) => {
        if !$holds {
            $self.violations.push(format!($($told)+));
        }
    };
}

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        let jumps = plan.faults.has(Faults::CLOCK);
        Self {
            schedule: RetrySchedule {
                waits: [5, 20, 60].map(Duration::from_secs).to_vec(),
                ..RetrySchedule::default()
            },
            skew: if jumps { SKEW } else { Duration::ZERO },
            // Records in the hands of several are attempted side by side.
            keeps_order: !jumps && !plan.has_records,
            // A few slots are soon all taken by receivers that nobody knows to hang.
            is_prompt: plan.faults.are_outside() && plan.slots >= 32,
            events: Vec::new(),
            deliveries: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            changes: Vec::new(),
            fresh: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn complain(&mut self, what: String) {
        self.violations.push(what);
    }

    /// An endpoint exists from now on, or is changed.
    pub(crate) fn endpoint(
        &mut self,
        id: EndpointId,
        workspace: usize,
        event_types: &[usize],
        is_active: bool,
    ) {
        let standing = self.endpoints.entry(id).or_insert(Standing {
            workspace,
            event_types: event_types.to_vec(),
            is_active,
            was_inactive: false,
            said_gone: false,
        });
        standing.is_active = is_active;
        standing.was_inactive |= !is_active;
        self.changes.push(id);
    }

    /// An endpoint was deleted, or is disabled from now on.
    pub(crate) fn endpoint_ends(&mut self, id: EndpointId) {
        if let Some(standing) = self.endpoints.get_mut(&id) {
            (standing.is_active, standing.was_inactive) = (false, true);
            self.changes.push(id);
        }
    }

    /// A worker reports that an endpoint is to be disabled.
    pub(crate) fn disables(&mut self, id: EndpointId) {
        let said_gone = self.endpoints.get(&id).is_some_and(|it| it.said_gone);
        demand!(self, said_gone, "{id} is disabled, and never said 410");
        self.endpoint_ends(id);
    }

    /// A client triggers an event. Returns its number.
    pub(crate) fn trigger(&mut self, workspace: usize, event_type: usize) -> usize {
        let number = self.events.len();
        let its = self
            .endpoints
            .iter()
            .filter(|(_, of)| of.has(workspace, event_type));
        self.events.push(Triggered {
            workspace,
            event_type,
            payload: format!("{{\"number\":{number}}}").into_bytes(),
            at: Instant::now(),
            subscribers: its.map(|(id, _)| *id).collect(),
            changes: self.changes.len(),
            message: None,
            answer: Told::Nothing,
        });
        number
    }

    /// A client sends something to an endpoint, with a key. Returns its number.
    pub(crate) fn send(&mut self, workspace: usize) -> usize {
        let number = self.trigger(workspace, 0);
        self.events[number].subscribers.clear();
        number
    }

    /// The client is answered, and asks again unless that is the end of it. `is_unclear` says that an earlier answer was.
    pub(crate) fn answer_send(
        &mut self,
        number: usize,
        endpoint: EndpointId,
        answer: &Result<Sent, SendError>,
        took: Duration,
        is_unclear: bool,
    ) {
        demand!(
            self,
            took <= ANSWER_BY,
            "{number} was answered after {took:?}"
        );
        let held = self.held(number);
        let standing = self.endpoints.get(&endpoint);
        let was_inactive = standing.is_none_or(|it| it.was_inactive);
        match answer {
            Ok(sent) => {
                let is_held = held.contains(&sent.delivery);
                demand!(self, is_held, "{number} is acknowledged and not queued");
            }
            Err(SendError::Unconfirmed { .. }) => {}
            Err(error) => {
                let is_gone = matches!(
                    error,
                    SendError::UnknownEndpoint | SendError::EndpointDisabled
                );
                demand!(
                    self,
                    !is_gone || was_inactive,
                    "{number} says that {endpoint} is gone"
                );
                demand!(
                    self,
                    held.is_empty() || is_unclear,
                    "{number} failed ({error}), and is queued"
                );
                if !is_unclear {
                    self.events[number].answer = Told::NotQueued;
                }
            }
        }
    }

    /// The client asks once more.
    pub(crate) fn ask_again(&mut self, number: usize) {
        self.events[number].answer = Told::Nothing;
    }

    pub(crate) fn payload(&self, number: usize) -> Vec<u8> {
        self.events[number].payload.clone()
    }

    /// The client is answered.
    pub(crate) fn answer(&mut self, number: usize, answer: &Result<Receipt, TriggerError>) {
        let Some(event) = self.events.get(number) else {
            return;
        };
        let took = event.at.elapsed();
        demand!(
            self,
            took <= ANSWER_BY,
            "{number} was answered after {took:?}"
        );
        let Some(event) = self.events.get(number) else {
            return;
        };
        let changed: BTreeSet<_> = self.changes[event.changes..].iter().copied().collect();
        let certain: BTreeSet<_> = event.subscribers.difference(&changed).copied().collect();
        let held = self.held(number);
        let told = match answer {
            Err(error) => {
                demand!(
                    self,
                    held.is_empty(),
                    "{number} failed ({error}), and {held:?} are queued"
                );
                Told::NotQueued
            }
            Ok(receipt) => {
                let event_type = self.events[number].event_type;
                let workspace = self.events[number].workspace;
                let (mut queued, mut unclear) = (BTreeSet::new(), BTreeSet::new());
                let mut all = BTreeSet::new();
                for delivery in receipt.deliveries() {
                    let (id, endpoint) = (delivery.id(), delivery.endpoint());
                    demand!(
                        self,
                        all.insert(endpoint),
                        "{number} tells of {endpoint} twice"
                    );
                    let standing = self.endpoints.get(&endpoint);
                    let may = standing.is_some_and(|it| it.may_have(workspace, event_type));
                    let is_possible = certain.contains(&endpoint) || changed.contains(&endpoint);
                    demand!(
                        self,
                        may && is_possible,
                        "{number} tells of {endpoint}, not subscribed"
                    );
                    let is_held = held.contains(&id);
                    match delivery.outcome() {
                        Outcome::Published => {
                            demand!(
                                self,
                                is_held,
                                "{id} of {number} is acknowledged and not queued"
                            );
                            queued.insert(endpoint);
                        }
                        Outcome::Failed(kind) if kind.may_be_queued() => {
                            unclear.insert(endpoint);
                        }
                        Outcome::Failed(kind) => {
                            demand!(
                                self,
                                !is_held,
                                "{id} of {number} is told {kind:?}, and queued"
                            );
                            let is_gone = kind != FailureKind::EndpointGone
                                || standing.is_some_and(|it| it.was_inactive);
                            demand!(self, is_gone, "{number} says that {endpoint} is gone");
                        }
                        Outcome::Replayed(_) => {
                            self.violations
                                .push(format!("{number} has no key, and is replayed"));
                        }
                    }
                }
                demand!(
                    self,
                    certain.is_subset(&all),
                    "{number} tells nothing of some of {certain:?}"
                );
                Told::Receipt(queued, unclear)
            }
        };
        self.events[number].answer = told;
    }

    fn held(&self, number: usize) -> BTreeSet<DeliveryId> {
        let held = self.deliveries.iter().filter(|(_, it)| it.event == number);
        held.map(|(id, _)| *id).collect()
    }

    /// The store has taken what is published of these.
    pub(crate) fn published(&mut self, event: &Event, deliveries: &[Delivery]) {
        let payload = event.payload.as_bytes();
        let number = self.events.iter().position(|it| it.payload == payload[..]);
        let Some(number) = number else {
            return self.complain(format!("{} was never triggered", event.id));
        };
        // Of a Send that was replayed nothing is queued.
        if deliveries
            .iter()
            .any(|it| it.outcome() == Outcome::Published)
        {
            let known = self.events[number].message.replace(event.id);
            demand!(
                self,
                known.is_none_or(|id| id == event.id),
                "{number} has two messages"
            );
        }
        for delivery in deliveries {
            if delivery.outcome() != Outcome::Published {
                continue;
            }
            let (id, endpoint) = (delivery.id(), delivery.endpoint());
            let may = match &self.events[number].answer {
                Told::Nothing => true,
                Told::NotQueued => false,
                Told::Receipt(queued, unclear) => {
                    queued.contains(&endpoint) || unclear.contains(&endpoint)
                }
            };
            demand!(
                self,
                may,
                "{id} of {number} was told as not queued, and is queued"
            );
            let new = Known {
                event: number,
                endpoint,
                at: Instant::now(),
                attempts: 0,
                arrivals: 0,
                excuses: 0,
                taken: BTreeSet::new(),
                state: Next::Release,
                lease: None,
            };
            let is_new = !self.deliveries.contains_key(&id);
            demand!(self, is_new, "{id} was queued twice");
            if is_new {
                self.deliveries.insert(id, new);
                let fresh = self.fresh.entry(endpoint).or_default();
                fresh.insert((event.accepted_at, id));
            }
        }
    }

    /// Something happened for which these may be attempted once more.
    pub(crate) fn excuse(&mut self, ids: impl IntoIterator<Item = DeliveryId>) {
        for id in ids {
            if let Some(known) = self.deliveries.get_mut(&id) {
                known.excuses += 1;
            }
        }
    }

    /// The same for everything that is leased, to this life of a server or to any.
    pub(crate) fn excuse_leased(&mut self, life: Option<LifeNumber>) {
        for known in self.deliveries.values_mut() {
            if let Some((_, holder, _)) = known.lease
                && life.is_none_or(|life| life == holder)
            {
                known.excuses += 1;
            }
        }
    }

    /// The store has leased a delivery.
    pub(crate) fn leased(
        &mut self,
        leased: &LeasedDelivery,
        life: LifeNumber,
        now: Timestamp,
        expires_at: Timestamp,
    ) {
        let id = leased.lease.delivery;
        let Some(known) = self.deliveries.get_mut(&id) else {
            return self.complain(format!("{id} is leased, and was never queued"));
        };
        let event = &self.events[known.event];
        demand!(
            self,
            !known.state.has_ended(),
            "{id} was settled, and is leased again"
        );
        let (counted, told) = (known.attempts, leased.attempts);
        demand!(
            self,
            counted == told,
            "{id} had {counted} attempts, and is leased with {told}"
        );
        let is_same = leased.payload.as_bytes()[..] == event.payload[..]
            && leased.endpoint == known.endpoint
            && event.message == Some(leased.message);
        demand!(self, is_same, "{id} is leased as something else");
        if let Next::Retry(at) = known.state {
            demand!(self, now >= at, "{id} is leased before it is due");
        }
        if let Some((.., until)) = known.lease {
            let is_free = until <= now || known.excuses > 0;
            demand!(
                self,
                is_free,
                "{id} is leased, and was leased until {until:?}"
            );
        }
        known.lease = Some((leased.lease.token, life, expires_at));
        let place = (leased.accepted_at, id);
        if let Some(fresh) = self.fresh.get_mut(&leased.endpoint) {
            let first = fresh.first().copied();
            let is_first = fresh.remove(&place);
            if is_first && self.keeps_order {
                demand!(
                    self,
                    first == Some(place),
                    "{id} is leased before {first:?}"
                );
            }
            if is_first && self.is_prompt && is_well(leased.endpoint) {
                let waited = known.at.elapsed();
                demand!(self, waited < PROMPT, "{id} starved for {waited:?}");
            }
        }
    }

    pub(crate) fn extended(&mut self, id: DeliveryId, token: LeaseToken, expires_at: Timestamp) {
        let known = self.deliveries.get_mut(&id);
        if let Some((held, _, until)) = known.and_then(|known| known.lease.as_mut())
            && *held == token
        {
            *until = expires_at;
        }
    }

    /// The store has settled a lease, or says that it is lost.
    pub(crate) fn settled(&mut self, settlement: &Settlement, answer: Settled, life: LifeNumber) {
        let id = settlement.lease.delivery;
        let Some(known) = self.deliveries.get_mut(&id) else {
            return self.complain(format!("{id} is settled, and was never queued"));
        };
        if answer == Settled::LeaseLost {
            demand!(
                self,
                known.excuses > 0,
                "the lease of {id} was lost without a reason"
            );
            return;
        }
        demand!(self, !known.state.has_ended(), "{id} is settled once more");
        known.lease = None;
        known.state = settlement.next;
        let made = settlement.attempt.as_ref().filter(|it| it.was_made());
        match settlement.attempt {
            Some(_) => known.attempts += 1,
            // It may have been cut off on its way.
            None => known.excuses += 1,
        }
        let standing = self.endpoints.get(&known.endpoint);
        let was_inactive = standing.is_none_or(|it| it.was_inactive);
        let said_gone = standing.is_some_and(|it| it.said_gone);
        let number = known.attempts;
        match (settlement.next, made) {
            (Next::Delivered, _) => {
                let is_taken = known.taken.contains(&life);
                demand!(self, is_taken, "{id} is delivered, and no receiver took it");
            }
            (Next::Failed, Some(_)) => demand!(self, said_gone, "{id} failed without a reason"),
            (Next::Failed, None) => {
                demand!(self, was_inactive, "{id} was given up without a reason");
            }
            (Next::DeadLetter, _) => {
                let is_last = number as usize == self.schedule.waits.len() + 1;
                demand!(
                    self,
                    is_last,
                    "{id} is a dead letter after {number} attempts"
                );
            }
            (Next::Retry(at), Some(attempt)) => {
                let told = self.judge_wait(attempt, number, at);
                demand!(self, told.is_none(), "{id}: {}", told.unwrap_or_default());
            }
            (Next::Retry(_), None) => self.complain(format!("{id} is retried without an attempt")),
            (Next::Release, _) => {}
        }
    }

    fn judge_wait(&self, attempt: &Attempt, number: u32, at: Timestamp) -> Option<String> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let ended = attempt.started_at.saturating_add(attempt.duration);
        let wait = at.saturating_since(ended);
        let Some(usual) = self.schedule.waits.get(index) else {
            return Some(format!("a retry after {number} attempts"));
        };
        let least = usual.mul_f64(0.899).saturating_sub(self.skew);
        let most = usual.mul_f64(1.101) + self.skew;
        let is_asked = matches!(attempt.status_code, Some(429 | 503));
        let is_right = wait >= least && (wait <= most || is_asked);
        (!is_right).then(|| format!("attempt {number} is followed by a wait of {wait:?}"))
    }

    /// A request arrives. Returns false if it should not have.
    pub(crate) fn arrives(
        &mut self,
        id: DeliveryId,
        endpoint: Option<EndpointId>,
        body: &[u8],
        number: u32,
        life: LifeNumber,
        now: Timestamp,
    ) {
        let Some(known) = self.deliveries.get_mut(&id) else {
            return self.complain(format!("{id} arrives, and was never queued"));
        };
        let is_same =
            endpoint == Some(known.endpoint) && body[..] == self.events[known.event].payload[..];
        demand!(self, is_same, "{id} arrives as something else");
        let (arrivals, excuses, attempts) = (known.arrivals, known.excuses, known.attempts);
        let in_flight = u32::from(!known.state.has_ended());
        let may = arrivals < attempts + in_flight + excuses;
        demand!(
            self,
            may,
            "{id} arrives as attempt {number} after {attempts} settled ones, {arrivals} arrivals and {excuses} excuses"
        );
        let holds = known
            .lease
            .is_some_and(|(_, holder, until)| holder == life && until > now);
        demand!(self, holds || excuses > 0, "{id} arrives under no lease");
        let is_next = number == attempts + 1 || excuses > 0;
        demand!(
            self,
            is_next,
            "{id} arrives as attempt {number} after {attempts}"
        );
        known.arrivals += 1;
    }

    /// The receiver has answered.
    pub(crate) fn answers(&mut self, id: DeliveryId, status: u16, life: LifeNumber) {
        let Some(known) = self.deliveries.get_mut(&id) else {
            return;
        };
        match status {
            200 => drop(known.taken.insert(life)),
            410 => {
                if let Some(standing) = self.endpoints.get_mut(&known.endpoint) {
                    standing.said_gone = true;
                }
            }
            _ => {}
        }
    }

    /// Deliveries that have not ended.
    pub(crate) fn open(&self) -> Vec<DeliveryId> {
        let open = self
            .deliveries
            .iter()
            .filter(|(_, it)| !it.state.has_ended());
        open.map(|(id, _)| *id).collect()
    }

    /// Every delivery with the workspace that it belongs to.
    pub(crate) fn all(&self) -> Vec<(DeliveryId, usize)> {
        let all = self.deliveries.iter();
        all.map(|(id, known)| (*id, self.events[known.event].workspace))
            .collect()
    }

    /// The delivery log shows a delivery so, with so many attempts listed.
    pub(crate) fn logged(
        &mut self,
        id: DeliveryId,
        record: Option<&DeliveryRecord>,
        listed: usize,
    ) {
        let Some(known) = self.deliveries.get(&id) else {
            return;
        };
        let expected = match known.state {
            Next::Delivered => DeliveryStatus::Delivered,
            Next::DeadLetter => DeliveryStatus::DeadLetter,
            Next::Failed => DeliveryStatus::Failed,
            Next::Release | Next::Retry(_) => DeliveryStatus::Pending,
        };
        let is_same = record.is_some_and(|record| {
            let attempts = known.attempts as usize;
            record.status == expected && record.attempts as usize == attempts && listed == attempts
        });
        demand!(
            self,
            is_same,
            "{id} is {expected:?} after {} attempts, and its log says {record:?} with {listed}",
            known.attempts
        );
    }

    /// Returns how many deliveries were queued, and how many requests arrived.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let arrivals = self.deliveries.values().map(|it| u64::from(it.arrivals));
        (self.deliveries.len(), arrivals.sum())
    }
}

impl Standing {
    fn has(&self, workspace: usize, event_type: usize) -> bool {
        self.is_active && self.may_have(workspace, event_type)
    }

    fn may_have(&self, workspace: usize, event_type: usize) -> bool {
        self.workspace == workspace && self.event_types.contains(&event_type)
    }
}

/// Tells if a delivery has ended.
trait HasEnded {
    fn has_ended(&self) -> bool;
}

impl HasEnded for Next {
    fn has_ended(&self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLetter | Self::Failed)
    }
}
