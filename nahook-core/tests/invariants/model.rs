//! The expected result of a case, computed from the case alone.

use std::time::Duration;

use nahook_core::admission::LimiterDown;
use nahook_core::{FailureKind, Outcome};
use nahook_testkit::{Answer, Fault};

use crate::case::{Case, LimiterAnswer, Reach, StoreAnswer};

/// Returns how long the case takes.
pub(crate) fn elapsed(case: &Case) -> Duration {
    let duration = match publishing_begins(case) {
        Begins::At(began) if case.queue.faults.is_empty() => Some(began),
        Begins::At(began) => publishing_lasts(case).map(|lasts| began + lasts),
        Begins::NotBefore(ended) => Some(ended),
        Begins::Silence => None,
    };
    let timeout = Duration::from_millis(case.timeout);
    duration.map_or(timeout, |duration| duration.min(timeout))
}

/// Returns what may be reported of each endpoint; `None` if the answer has to be an error.
///
/// The two are the same, save for what is due in the very millisecond in which the publisher panics.
pub(crate) fn outcomes(case: &Case) -> Option<Vec<[Outcome; 2]>> {
    let Begins::At(began) = publishing_begins(case) else {
        return None;
    };
    let timeout = Duration::from_millis(case.timeout);
    if began >= timeout {
        return None;
    }
    let left = timeout.saturating_sub(began);
    let in_time = publishing_lasts(case).is_some_and(|lasts| lasts <= left);
    let (faults, panics) = (&case.queue.faults, panics(case));
    let unconfirmed = Outcome::Failed(FailureKind::Unconfirmed);
    let rolled_back = Outcome::Failed(FailureKind::QueueUnavailable);
    let outcome = |fault: &Fault| {
        if case.queue.is_transaction {
            let is_committed = in_time && panics.is_none();
            return [if is_committed {
                told(fault)
            } else {
                rolled_back
            }; 2];
        }
        let due = answered(fault);
        if due > left || panics.is_some_and(|at| due > at) {
            [unconfirmed; 2]
        } else if panics == Some(due) {
            [told(fault), unconfirmed]
        } else {
            [told(fault); 2]
        }
    };
    let outcomes: Vec<_> = faults.iter().map(outcome).collect();
    let may_be_queued = |outcome: &[Outcome; 2]| match outcome[0] {
        Outcome::Published => true,
        Outcome::Replayed(_) => false,
        Outcome::Failed(kind) => kind.may_be_queued(),
    };
    let is_answer = faults.is_empty() || in_time || outcomes.iter().any(may_be_queued);
    is_answer.then_some(outcomes)
}

enum Begins {
    At(Duration),
    /// Never: something else ends the case then.
    NotBefore(Duration),
    /// Never: something before it does not end.
    Silence,
}

fn publishing_begins(case: &Case) -> Begins {
    if case.reach == Reach::Endpoint || case.is_oversized {
        return Begins::NotBefore(Duration::ZERO);
    }
    let admitted = Duration::from_millis(case.limiter.after);
    match case.limiter.answer {
        LimiterAnswer::Silence => return Begins::Silence,
        LimiterAnswer::Refuse => return Begins::NotBefore(admitted),
        LimiterAnswer::Error | LimiterAnswer::Panic if case.limiter_down == LimiterDown::Refuse => {
            return Begins::NotBefore(admitted);
        }
        LimiterAnswer::Error | LimiterAnswer::Panic | LimiterAnswer::Admit => {}
    }
    let looked_up = admitted + Duration::from_millis(case.store.after);
    match case.store.answer {
        StoreAnswer::Silence => Begins::Silence,
        StoreAnswer::Found => Begins::At(looked_up),
        StoreAnswer::Unknown | StoreAnswer::Error | StoreAnswer::Panic => {
            Begins::NotBefore(looked_up)
        }
    }
}

/// Returns how long the publisher takes; `None` if it does not end.
fn publishing_lasts(case: &Case) -> Option<Duration> {
    let mut faults = case.queue.faults.iter();
    let is_silent = faults.any(|fault| fault.answer == Answer::Silence);
    let ends = case.queue.faults.iter().map(answered).max();
    panics(case).or(if is_silent { None } else { ends })
}

/// Returns the time at which the publisher panics, if it does.
fn panics(case: &Case) -> Option<Duration> {
    let faults = case.queue.faults.iter();
    let panicking = faults.filter(|fault| fault.answer == Answer::Panic);
    panicking.map(answered).min()
}

fn answered(fault: &Fault) -> Duration {
    fault.delay + fault.latency
}

/// The outcome of a delivery of which everything was said.
fn told(fault: &Fault) -> Outcome {
    match fault.answer {
        Answer::Acknowledge => Outcome::Published,
        Answer::Fail(kind) => Outcome::Failed(kind),
        _ => Outcome::Failed(FailureKind::Unconfirmed),
    }
}
