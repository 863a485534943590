//! What has to come of a case, told from the case alone.

use nahook_core::{FailureKind, LimiterDown, Outcome};

use crate::case::{Case, Ending, Fate, LimiterAnswer, Reach, Said, StoreAnswer};

/// How long the case takes, in milliseconds.
pub(crate) fn elapsed(case: &Case) -> u64 {
    let duration = match publishing_begins(case) {
        Begins::At(began) if case.queue.fates.is_empty() => Some(began),
        Begins::At(began) => publishing_lasts(case).map(|lasts| began + lasts),
        Begins::NotBefore(ended) => Some(ended),
        Begins::Silence => None,
    };
    duration.map_or(case.timeout, |duration| duration.min(case.timeout))
}

/// What is to be reported of each endpoint; `None` if the answer has to be an error.
pub(crate) fn outcomes(case: &Case) -> Option<Vec<Outcome>> {
    let Begins::At(began) = publishing_begins(case) else {
        return None;
    };
    if began >= case.timeout {
        return None;
    }
    let left = case.timeout - began;
    let in_time = publishing_lasts(case).is_some_and(|lasts| lasts <= left);
    let fates = &case.queue.fates;
    let outcomes: Vec<_> = if case.queue.is_transaction {
        let is_committed = in_time && matches!(case.queue.ending, Ending::Return);
        let rolled_back = Outcome::Failed(FailureKind::QueueUnavailable);
        let outcome = |fate: &Fate| {
            if is_committed {
                told(fate)
            } else {
                rolled_back
            }
        };
        fates.iter().map(outcome).collect()
    } else {
        let cut = match case.queue.ending {
            Ending::Panic(at) => at.min(left),
            Ending::Return | Ending::Silence => left,
        };
        let unconfirmed = Outcome::Failed(FailureKind::Unconfirmed);
        let outcome = |fate: &Fate| {
            if fate.said_at <= cut {
                told(fate)
            } else {
                unconfirmed
            }
        };
        fates.iter().map(outcome).collect()
    };
    let may_be_queued = |outcome: &Outcome| match outcome {
        Outcome::Published => true,
        Outcome::Failed(kind) => kind.may_be_queued(),
    };
    let is_answer = fates.is_empty() || in_time || outcomes.iter().any(may_be_queued);
    is_answer.then_some(outcomes)
}

enum Begins {
    At(u64),
    /// Never: something else ends the case then.
    NotBefore(u64),
    /// Never: something before it does not end.
    Silence,
}

fn publishing_begins(case: &Case) -> Begins {
    if case.reach == Reach::Endpoint || case.is_oversized {
        return Begins::NotBefore(0);
    }
    let admitted = case.limiter.after;
    match case.limiter.answer {
        LimiterAnswer::Silence => return Begins::Silence,
        LimiterAnswer::Refuse => return Begins::NotBefore(admitted),
        LimiterAnswer::Error | LimiterAnswer::Panic if case.limiter_down == LimiterDown::Refuse => {
            return Begins::NotBefore(admitted);
        }
        LimiterAnswer::Error | LimiterAnswer::Panic | LimiterAnswer::Admit => {}
    }
    let looked_up = admitted + case.store.after;
    match case.store.answer {
        StoreAnswer::Silence => Begins::Silence,
        StoreAnswer::Found => Begins::At(looked_up),
        StoreAnswer::Unknown | StoreAnswer::Error | StoreAnswer::Panic => {
            Begins::NotBefore(looked_up)
        }
    }
}

fn publishing_lasts(case: &Case) -> Option<u64> {
    match case.queue.ending {
        Ending::Return => Some(case.queue.work_ends()),
        Ending::Panic(at) => Some(at),
        Ending::Silence => None,
    }
}

/// The outcome of a delivery of which everything was said.
fn told(fate: &Fate) -> Outcome {
    match fate.said {
        Said::Published => Outcome::Published,
        Said::Failed(kind) => Outcome::Failed(kind),
        Said::Nothing => Outcome::Failed(FailureKind::Unconfirmed),
    }
}
