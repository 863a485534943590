//! What is read from the two files: what things cost, and the world they happen in.

use std::path::Path;

use serde::Deserialize;

use crate::Failure;

const COSTS: &str = include_str!("../costs.toml");
const WORLD: &str = include_str!("../world.toml");

/// See `costs.toml` for each number's meaning, unit and source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Costs {
    pub(crate) front: Front,
    pub(crate) worker: WorkerCosts,
    pub(crate) sqlite: QueueCosts,
    pub(crate) postgres: QueueCosts,
    pub(crate) nats: QueueCosts,
    pub(crate) replicated: Replicated,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replicated {
    pub(crate) server_factor: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Front {
    pub(crate) per_trigger: f64,
    pub(crate) per_delivery: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerCosts {
    pub(crate) per_attempt: f64,
    pub(crate) per_tls_handshake: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueCosts {
    pub(crate) client_per_group: f64,
    pub(crate) client_per_event: f64,
    pub(crate) client_per_delivery: f64,
    pub(crate) server_per_group: f64,
    pub(crate) server_per_event: f64,
    pub(crate) server_per_delivery: f64,
    pub(crate) claim_per_call: f64,
    pub(crate) claim_per_delivery: f64,
    pub(crate) settle_per_call: f64,
    pub(crate) settle_per_delivery: f64,
    pub(crate) client_per_lease: f64,
    pub(crate) record_per_call: f64,
    pub(crate) record_per_entry: f64,
    pub(crate) sync: f64,
    pub(crate) syncs_are_shared: bool,
    pub(crate) disk_per_event: f64,
    pub(crate) disk_per_delivery: f64,
    pub(crate) disk_per_attempt: f64,
    pub(crate) log_per_event: f64,
    pub(crate) log_per_delivery: f64,
    pub(crate) wire_per_event: f64,
    pub(crate) wire_per_delivery: f64,
}

/// See `world.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct World {
    pub(crate) traffic: Traffic,
    pub(crate) receivers: Receivers,
    pub(crate) machines: Machines,
    pub(crate) targets: Targets,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    pub(crate) peak_over_mean: f64,
    pub(crate) burst_factor: f64,
    pub(crate) burst_seconds: f64,
    pub(crate) calm_seconds: f64,
    pub(crate) width_exponent: f64,
    pub(crate) width_max: u32,
    pub(crate) workspaces: u32,
    pub(crate) workspace_exponent: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receivers {
    pub(crate) latency_ms: f64,
    pub(crate) latency_spread: f64,
    pub(crate) failing: f64,
    pub(crate) slow: f64,
    pub(crate) slow_latency_ms: f64,
    pub(crate) dead: f64,
    pub(crate) dead_silent: f64,
    pub(crate) timeout_ms: f64,
    pub(crate) kept_alive: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machines {
    pub(crate) cores: usize,
    pub(crate) round_trip_us: f64,
    pub(crate) disk_bytes: f64,
    pub(crate) network_bytes: f64,
    pub(crate) retention_days: f64,
    pub(crate) payload_bytes: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Targets {
    pub(crate) utilisation: f64,
    pub(crate) first_attempt_ms: f64,
}

/// Reads the costs: those that were built in, or a file's.
pub(crate) fn costs(file: Option<&Path>) -> Result<Costs, Failure> {
    Ok(toml::from_str(&text(file, COSTS)?)?)
}

/// Reads the world likewise.
pub(crate) fn world(file: Option<&Path>) -> Result<World, Failure> {
    Ok(toml::from_str(&text(file, WORLD)?)?)
}

fn text(file: Option<&Path>, built_in: &str) -> Result<String, Failure> {
    Ok(match file {
        Some(file) => std::fs::read_to_string(file)?,
        None => built_in.to_owned(),
    })
}

/// Microseconds as the nanoseconds that the simulation counts in.
pub(crate) fn nanos(micros: f64) -> u64 {
    (micros * 1_000.0).round() as u64
}
