//! Checks of `/readyz`: every loop lives, the store and the queue answer and have space, and the latest calls went well.

mod cached;

use std::borrow::Cow;

use nahook_embed::{Backend, LatestCall, LatestCalls, NoSpace};
use nahook_http::{Pressure, Probe, Shortage};
use nahook_supervision::Supervisor;

use self::cached::Cached;

/// Every check, by the name under which `/readyz` shows it.
pub(crate) fn probes(
    backend: &Backend,
    supervisor: &Supervisor,
    pressure: &Pressure,
) -> Vec<Probe> {
    let supervisor = supervisor.clone();
    let loops = Probe::new("loops", move || {
        let down = supervisor.down();
        async move { none_is_down(&down) }
    });
    let readable = backend.clone();
    let store = Probe::new("store", move || {
        let store = readable.clone();
        async move { check(store.is_ready().await, "does not answer") }
    });
    let writable = Cached::new(backend.clone(), |backend| async move {
        check(backend.is_store_writable().await, "takes nothing")
    });
    let store_writes = Probe::new("store_writes", move || writable.clone().get());
    let publishable = Cached::new(backend.clone(), |backend| async move {
        let checked = backend.check_queue().await;
        checked.map_err(Into::into)
    });
    let queue = Probe::new("queue", move || publishable.clone().get());
    let latest = |name, of: fn(&LatestCalls) -> &LatestCall| {
        let calls: Vec<_> = backend
            .latest_calls
            .iter()
            .map(|all| of(all).clone())
            .collect();
        Probe::new(name, move || {
            let failed = calls.iter().find_map(|calls| calls.check().err());
            async move { failed.map_or(Ok(()), Err) }
        })
    };
    vec![
        loops,
        store,
        store_writes,
        queue,
        of_space(backend),
        of_pressure(pressure),
        latest("keys", |calls| &calls.keys),
        latest("subscriptions", |calls| &calls.subscriptions),
        latest("publish", |calls| &calls.publish),
        latest("lease", |calls| &calls.lease),
        latest("extend", |calls| &calls.extend),
        latest("settle", |calls| &calls.settle),
    ]
}

/// Fails while a disk, the database's or the queue's storage is nearly full.
fn of_space(backend: &Backend) -> Probe {
    let backend = backend.clone();
    Probe::new("disk", move || {
        let reason = backend.lack_of_space().map(|lack| match lack {
            NoSpace::Queue => "the queue's storage is full: new events are refused",
            _ => "nearly full: new events are refused",
        });
        async move { reason.map_or(Ok(()), |reason| Err(reason.into())) }
    })
}

/// Fails while new events are refused because deliveries or memory are behind.
fn of_pressure(pressure: &Pressure) -> Probe {
    let pressure = pressure.clone();
    Probe::new("pressure", move || {
        let refusal = pressure.told();
        async move {
            let reason =
                |shortage: Shortage| format!("{}: new events are refused", shortage.name());
            refusal.map_or(Ok(()), |(shortage, _)| Err(reason(shortage).into()))
        }
    })
}

fn none_is_down(down: &[&'static str]) -> Result<(), Cow<'static, str>> {
    if down.is_empty() {
        return Ok(());
    }
    Err(format!("down: {}", down.join(", ")).into())
}

fn check(is_ready: bool, reason: &'static str) -> Result<(), Cow<'static, str>> {
    is_ready.then_some(()).ok_or(reason.into())
}
