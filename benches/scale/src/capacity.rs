//! What is computed and not simulated: disk and network.

use crate::plan::{Composition, Plan};
use crate::random::Widths;
use crate::settings::{Costs, World};

/// The payload that the costs were measured with.
const MEASURED_PAYLOAD: f64 = 200.0;

/// At the peak, retries included.
pub(crate) fn attempts_per_second(load: f64, world: &World) -> f64 {
    let receivers = &world.receivers;
    let mean = load / 86_400.0;
    mean * world.traffic.peak_over_mean * (1.0 + receivers.failing + receivers.dead)
        + mean * receivers.dead * 8.0
}

pub(crate) fn mean_width(world: &World) -> f64 {
    let widths = Widths {
        exponent: world.traffic.width_exponent,
        max: world.traffic.width_max,
    };
    widths.mean()
}

/// How full the store's disk is with what is kept.
pub(crate) fn disk(plan: &Plan, costs: &Costs, world: &World) -> f64 {
    let store = plan.composition.store(costs);
    let machines = &world.machines;
    let payload = machines.payload_bytes - MEASURED_PAYLOAD;
    let attempts = attempts_per_second(plan.deliveries_per_day, world)
        / (plan.deliveries_per_day / 86_400.0 * world.traffic.peak_over_mean);
    let bytes = (store.disk_per_event + payload) / mean_width(world)
        + store.disk_per_delivery
        + store.disk_per_attempt * attempts;
    plan.deliveries_per_day * machines.retention_days * bytes / machines.disk_bytes
}

/// What the busiest network card of a cell has to do; a request's and an answer's own bytes are counted by hand.
pub(crate) fn network(plan: &Plan, costs: &Costs, world: &World) -> f64 {
    let queue = plan.composition.queue(costs);
    let payload = world.machines.payload_bytes;
    let deliveries = plan.deliveries_per_day / 86_400.0 * world.traffic.peak_over_mean;
    let triggers = deliveries / mean_width(world);
    let extra = payload - MEASURED_PAYLOAD;
    let wire = triggers * (queue.wire_per_event + extra) + deliveries * queue.wire_per_delivery;
    let front = triggers * (800.0 + payload) + deliveries * 35.0;
    let attempt = payload + 900.0 + (1.0 - world.receivers.kept_alive) * 5_000.0;
    let attempts = attempts_per_second(plan.deliveries_per_day, world) * attempt;
    let node = match plan.composition {
        Composition::Sqlite => front + attempts,
        Composition::NatsReplicated => 4.0 * wire,
        _ => 2.0 * wire,
    };
    let nodes = [
        node,
        (front + wire) / plan.ingest as f64,
        (attempts + wire) / plan.workers as f64,
    ];
    nodes.into_iter().fold(0.0, f64::max) / world.machines.network_bytes
}
