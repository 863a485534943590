//! The least number of nodes that keeps every part below its limit and every answer in time.

use crate::capacity::{attempts_per_second, disk, mean_width, network};
use crate::cell::Cell;
use crate::plan::{Composition, Plan};
use crate::random::{Random, fullest_cell};
use crate::settings::{Costs, World};
use crate::tally::{Outcome, Part};
use crate::traffic::Endpoint;

/// Beyond so many cells it is not looked further.
const CELLS_MAX: usize = 4_096;
/// How often a plan is changed at most.
const ROUNDS_MAX: usize = 40;

/// What a load needs.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Of all cells together.
    pub(crate) deliveries_per_day: f64,
    pub(crate) cells: usize,
    /// The fullest cell's.
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
    /// Every part's share of what it can do, whether simulated or computed.
    pub(crate) parts: Vec<(Part, f64)>,
    /// Bytes a second that the fullest cell's queue writes to its log at the peak.
    pub(crate) log_bytes: f64,
    /// Whether everything is within its limit.
    pub(crate) is_enough: bool,
}

impl Row {
    /// The parts that are busier than they may be, the busiest first.
    pub(crate) fn too_busy(&self, limit: f64) -> Vec<(Part, f64)> {
        let mut busy = self.parts.clone();
        busy.retain(|(_, share)| *share > limit);
        busy.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        busy
    }

    pub(crate) fn share_of(&self, wanted: Part) -> f64 {
        let found = self.parts.iter().find(|(part, _)| *part == wanted);
        found.map_or(0.0, |(_, share)| *share)
    }
}

/// One cell as it is given.
pub(crate) fn given(plan: Plan, costs: &Costs, world: &World) -> Row {
    let load = plan.deliveries_per_day;
    simulated(plan, load, 1, costs, world)
}

/// The nodes of a smaller load, and so many times that load.
pub(crate) fn grown(row: &Row, factor: f64, costs: &Costs, world: &World) -> Row {
    let mut plan = row.plan.clone();
    plan.deliveries_per_day *= factor;
    plan.seconds = Plan::new(plan.composition, plan.deliveries_per_day, plan.seed).seconds;
    let total = row.deliveries_per_day * factor;
    simulated(plan, total, row.cells, costs, world)
}

/// Looks for the least nodes for the plan's load.
pub(crate) fn least(plan: &Plan, costs: &Costs, world: &World) -> Row {
    let total = plan.deliveries_per_day;
    let limit = world.targets.utilisation;
    let mut cells = 1;
    let mut row = None;
    for _ in 0..ROUNDS_MAX {
        let sized = sized(plan, total * share(cells, world), costs, world);
        let found = with_enough_workers(sized, total, cells, costs, world);
        let back = back_end_load(&found) / limit;
        let is_done = found.is_enough || cells >= CELLS_MAX;
        let late = back <= 1.0;
        row = Some(found);
        if is_done {
            break;
        }
        let more = if late {
            cells + 1
        } else {
            (cells as f64 * back).ceil() as usize
        };
        // A cell holds a workspace at least: once the largest has its own, further cells are no help.
        let next = more.clamp(cells + 1, CELLS_MAX);
        if share(next, world) >= share(cells, world) {
            break;
        }
        cells = next;
    }
    let row = row.unwrap_or_else(|| given(plan.clone(), costs, world));
    if row.is_enough {
        fewer_cells(row, plan, costs, world)
    } else {
        row
    }
}

/// The jump may have gone too far.
fn fewer_cells(mut row: Row, plan: &Plan, costs: &Costs, world: &World) -> Row {
    while row.cells > 1 {
        let cells = row.cells - 1;
        let total = row.deliveries_per_day;
        let sized = sized(plan, total * share(cells, world), costs, world);
        let found = with_enough_workers(sized, total, cells, costs, world);
        if !found.is_enough {
            break;
        }
        row = found;
    }
    row
}

fn share(cells: usize, world: &World) -> f64 {
    let traffic = &world.traffic;
    fullest_cell(traffic.workspaces, traffic.workspace_exponent, cells)
}

/// What only further cells help.
fn back_end_load(row: &Row) -> f64 {
    let is_one_node = row.plan.composition == Composition::Sqlite;
    let mut parts = vec![
        Part::StoreCpu,
        Part::NatsCpu,
        Part::StoreDisk,
        Part::NodeCpu,
        Part::WriterThread,
    ];
    if is_one_node {
        parts.extend([Part::Slots, Part::SlowSlots, Part::Network]);
    }
    parts
        .into_iter()
        .map(|part| row.share_of(part))
        .fold(0.0, f64::max)
}

/// A cell with as many nodes as its load takes by multiplication alone.
fn sized(plan: &Plan, load: f64, costs: &Costs, world: &World) -> Plan {
    let mut plan = Plan {
        deliveries_per_day: load,
        ..plan.clone()
    };
    plan.seconds = Plan::new(plan.composition, load, plan.seed).seconds;
    if plan.composition == Composition::Sqlite {
        return plan;
    }
    let limit = world.targets.utilisation;
    let attempts = attempts_per_second(load, world);
    let (held, held_slow) = seconds_held(world);
    let slots = plan.in_flight as f64;
    let handshakes = 1.0 - world.receivers.kept_alive;
    let micros = costs.worker.per_attempt
        + handshakes * costs.worker.per_tls_handshake
        + plan.composition.queue(costs).client_per_lease;
    let cores = world.machines.cores as f64;
    let workers = [
        attempts * micros / 1e6 / cores,
        attempts * held / slots,
        attempts * held_slow / (slots / 2.0),
    ];
    let workers = workers.into_iter().fold(0.0, f64::max) / limit;
    plan.workers = (workers.ceil() as usize).max(1);
    plan
}

/// For how long an attempt holds its place on average; and one of a slow endpoint, by all attempts.
fn seconds_held(world: &World) -> (f64, f64) {
    const DRAWS: u32 = 100_000;
    let mut random = Random::new(7);
    let (mut all, mut slow) = (0.0, 0.0);
    for _ in 0..DRAWS {
        let endpoint = Endpoint::draw(&world.receivers, &mut random);
        let seconds = endpoint.attempt(&world.receivers, &mut random).0 as f64 / 1e9;
        all += seconds;
        if endpoint.is_slow() {
            slow += seconds;
        }
    }
    (all / f64::from(DRAWS), slow / f64::from(DRAWS))
}

/// Adds ingest nodes and workers until these are not what is too small.
fn with_enough_workers(
    mut plan: Plan,
    total: f64,
    cells: usize,
    costs: &Costs,
    world: &World,
) -> Row {
    let limit = world.targets.utilisation;
    let mut row = simulated(plan.clone(), total, cells, costs, world);
    if plan.composition == Composition::Sqlite {
        return row;
    }
    for _ in 0..ROUNDS_MAX {
        if row.is_enough || back_end_load(&row) > limit {
            break;
        }
        let worker = [Part::WorkerCpu, Part::Slots, Part::SlowSlots, Part::Network]
            .map(|part| row.share_of(part))
            .into_iter()
            .fold(0.0, f64::max)
            / limit;
        let ingest = row.share_of(Part::IngestCpu) / limit;
        let latencies = row.outcome.latencies;
        if worker > 1.0 || latencies.first_attempt_p99 > world.targets.first_attempt_ms {
            let more = (plan.workers as f64 * worker).ceil() as usize;
            plan.workers = more.max(plan.workers + 1);
        } else if ingest > 1.0 || plan.ingest < 4 {
            plan.ingest = ((plan.ingest as f64 * ingest).ceil() as usize).max(plan.ingest + 1);
        } else {
            // It is late though nothing of this is short: more of the same would not help.
            break;
        }
        row = simulated(plan.clone(), total, cells, costs, world);
    }
    if row.is_enough {
        row = with_fewer(row, costs, world, |plan| &mut plan.workers);
        row = with_fewer(row, costs, world, |plan| &mut plan.ingest);
    }
    row
}

/// Takes nodes away for as long as the others are enough.
fn with_fewer(mut row: Row, costs: &Costs, world: &World, of: fn(&mut Plan) -> &mut usize) -> Row {
    loop {
        let mut plan = row.plan.clone();
        let count = of(&mut plan);
        if *count == 1 {
            return row;
        }
        *count -= 1;
        let fewer = simulated(plan, row.deliveries_per_day, row.cells, costs, world);
        if !fewer.is_enough {
            return row;
        }
        row = fewer;
    }
}

fn simulated(plan: Plan, total: f64, cells: usize, costs: &Costs, world: &World) -> Row {
    let outcome = Cell::new(&plan, costs, world).run();
    let mut parts = outcome.parts.clone();
    parts.push((Part::StoreDisk, disk(&plan, costs, world)));
    parts.push((Part::Network, network(&plan, costs, world)));
    let targets = &world.targets;
    let latencies = outcome.latencies;
    // What a second brings at the peak may wait, and no more.
    let second = plan.deliveries_per_day / 86_400.0 * world.traffic.peak_over_mean;
    let is_enough = parts.iter().all(|(_, share)| *share <= targets.utilisation)
        && latencies.answer_p99 <= plan.composition.answer_ms()
        && latencies.first_attempt_p99 <= targets.first_attempt_ms
        && (outcome.backlog as f64) <= second.max(100.0)
        && (outcome.log_backlog as f64) <= 2.0 * second.max(100.0);
    let queue = plan.composition.queue(costs);
    let log_bytes = second * (queue.log_per_event / mean_width(world) + queue.log_per_delivery);
    Row {
        deliveries_per_day: total,
        cells,
        plan,
        outcome,
        parts,
        log_bytes,
        is_enough,
    }
}
