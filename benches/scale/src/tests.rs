//! What is known of queues holds in the simulation, too.

use crate::cell::Cell;
use crate::plan::{Composition, Plan};
use crate::random::{Curve, Random, Widths, fullest_cell};
use crate::settings::{Costs, World, costs, world};
use crate::station::{Busy, Disk, Station};
use crate::tally::{Outcome, Part};

fn settings() -> (Costs, World) {
    (costs(None).unwrap(), world(None).unwrap())
}

fn plan(composition: Composition, load: f64) -> Plan {
    let mut plan = Plan::new(composition, load, 3);
    plan.seconds = 20.0;
    plan
}

fn outcome(plan: &Plan) -> Outcome {
    let (costs, world) = settings();
    Cell::new(plan, &costs, &world).run()
}

fn is_near(found: f64, expected: f64, by: f64) {
    assert!(
        (found / expected - 1.0).abs() <= by,
        "{found} instead of {expected}"
    );
}

/// The mean time in a station of so many cores, in mean times of service, at so many arrivals in that time.
fn mean_sojourn(cores: usize, rate: f64, is_fixed: bool) -> f64 {
    const ARRIVALS: u32 = 400_000;
    let mut random = Random::new(11);
    let mut station = Station::new(cores, Busy::default());
    let (mut now, mut sum) = (0.0, 0.0);
    for _ in 0..ARRIVALS {
        now += random.exponential(1e6 / rate);
        let service = if is_fixed {
            1e6
        } else {
            random.exponential(1e6)
        };
        sum += station.serve(now as u64, service as u64) as f64 - now;
    }
    sum / f64::from(ARRIVALS) / 1e6
}

#[test]
fn a_station_is_what_theory_says() {
    // M/M/1: 1 / (1 - load).
    is_near(mean_sojourn(1, 0.6, false), 2.5, 0.03);
    is_near(mean_sojourn(1, 0.8, false), 5.0, 0.05);
    // M/D/1: 1 + load / (2 (1 - load)).
    is_near(mean_sojourn(1, 0.6, true), 1.75, 0.03);
    // M/M/2 at 0.6 a core: 1 / (1 - load^2).
    is_near(mean_sojourn(2, 1.2, false), 1.0 / 0.64, 0.03);
}

#[test]
fn whoever_waits_for_a_sync_shares_the_next() {
    let mut disk = Disk::new(100, true);
    assert_eq!(disk.flush(0), 100);
    // While it runs: what was written later is not in it.
    assert_eq!([disk.flush(1), disk.flush(50), disk.flush(99)], [200; 3]);
    assert_eq!(disk.flush(100), 300);
    assert_eq!(disk.flush(1_000), 1_100);
    assert_eq!(disk.syncs, 4);
    let mut alone = Disk::new(100, false);
    assert_eq!(
        [alone.flush(0), alone.flush(1), alone.flush(2)],
        [100, 200, 300]
    );
}

#[test]
fn under_load_groups_share_syncs() {
    let (mut costs, world) = settings();
    // On a slow disk, so that groups come about at a load that is simulated fast.
    costs.sqlite.sync = 20_000.0;
    let mut plan = plan(Composition::Sqlite, 3e7);
    plan.in_flight = 8_192;
    let grouped = Cell::new(&plan, &costs, &world).run();
    assert!(grouped.group > 2.0, "{}", grouped.group);
    assert!(grouped.syncs < 51.0, "{}", grouped.syncs);
    // Whoever arrives while one is written waits for the rest of it, and for its own.
    assert!(
        grouped.latencies.answer_p99 < 45.0,
        "{:?}",
        grouped.latencies
    );
}

#[test]
fn what_was_accepted_is_delivered_dead_or_waits() {
    for composition in Composition::ALL {
        // The second is more than one worker can hold.
        for load in [3e6, 6e7] {
            let found = outcome(&plan(composition, load));
            let accounted = found.delivered + found.dead + found.waiting;
            assert!(found.accepted > 1_000 && found.delivered > 500);
            assert_eq!(found.accepted, accounted, "{composition:?} {load}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    for composition in Composition::ALL {
        let mut plan = plan(composition, 5e6);
        let first = outcome(&plan);
        assert_eq!(first, outcome(&plan));
        plan.seed += 1;
        assert_ne!(first, outcome(&plan));
    }
}

#[test]
fn parts_are_as_busy_as_their_work_says() {
    let (mut costs, mut world) = settings();
    // Calls, whose number depends on what comes together, for nothing.
    costs.postgres.client_per_group = 0.0;
    world.traffic.burst_factor = 1.0;
    world.receivers.slow = 0.0;
    world.receivers.dead = 0.0;
    let mut plan = plan(Composition::Postgres, 1.2e7);
    plan.workers = 3;
    plan.in_flight = 4_096;
    plan.seconds = 60.0;
    let found = Cell::new(&plan, &costs, &world).run();
    let micros = costs.worker.per_attempt
        + 0.3 * costs.worker.per_tls_handshake
        + costs.postgres.client_per_lease;
    let attempts = found.attempts_per_second;
    let worker = found.of(Part::WorkerCpu).unwrap();
    is_near(worker, attempts * micros / 1e6 / 6.0, 0.05);
    // Little: places in use are the rate times how long an attempt takes.
    let held = world.receivers.latency_ms / 1e3 * (0.9f64 * 0.9 / 2.0).exp();
    let slots = found.of(Part::Slots).unwrap() * (3.0 * 4_096.0);
    is_near(slots, attempts * held, 0.08);
    assert_eq!(found.backlog, 0);
}

#[test]
fn more_nodes_are_never_worse_beyond_noise() {
    for composition in [Composition::Postgres, Composition::Nats] {
        let mut last = f64::INFINITY;
        for workers in [1, 2, 4, 8] {
            let mut plan = plan(composition, 4e7);
            (plan.workers, plan.ingest) = (workers, workers);
            let found = outcome(&plan);
            let p99 = found.latencies.first_attempt_p99;
            assert!(
                p99 <= 1.2 * last + 2.0,
                "{workers} workers: {p99} ms after {last}"
            );
            last = p99;
        }
        assert!(last < 100.0, "{last}");
    }
}

#[test]
fn a_day_has_its_mean_and_its_peak() {
    let curve = Curve::new(3.0);
    is_near(curve.at(0.0), 3.0, 0.001);
    let mean: f64 = (0..86_400).map(|second| curve.at(f64::from(second))).sum();
    is_near(mean / 86_400.0, 1.0, 0.001);
    assert!(curve.at(43_200.0) < 0.01);
}

#[test]
fn widths_have_the_mean_that_is_computed() {
    const DRAWS: u32 = 1_000_000;
    let mut random = Random::new(5);
    let widths = Widths {
        exponent: 2.2,
        max: 10_000,
    };
    let sum: f64 = (0..DRAWS)
        .map(|_| f64::from(widths.draw(&mut random)))
        .sum();
    is_near(sum / f64::from(DRAWS), widths.mean(), 0.03);
}

#[test]
fn the_largest_workspace_bounds_a_cell() {
    let alone = fullest_cell(10_000, 1.0, 1);
    is_near(alone, 1.0, 1e-9);
    is_near(fullest_cell(10_000, 1.0, 4), 0.25, 0.001);
    let largest = 1.0 / (1..=10_000).map(|rank| 1.0 / f64::from(rank)).sum::<f64>();
    is_near(fullest_cell(10_000, 1.0, 500), largest, 1e-9);
}
