//! One point of the sweep, measured.

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::composition::{Composition, Cpu, EVENT_TYPE, KEY, Running};
use crate::generator::{GenerateArgs, Load};
use crate::limits::{self, Limit};
use crate::process::pause;
use crate::sink::{self, now_nanos};

/// Time to wait for deliveries after the load, in milliseconds.
const DRAIN_MAX: u64 = 10_000;

/// One point of the sweep.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Point {
    pub(crate) composition: Composition,
    /// Number of subscribed endpoints.
    pub(crate) width: usize,
    /// Number of requests in flight.
    pub(crate) connections: usize,
    /// In bytes.
    pub(crate) payload_len: usize,
}

/// Method of measuring.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Method {
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
    pub(crate) nats_sync_always: bool,
}

/// Result of a point.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) point: Point,
    /// With every connection asking again as soon as it is answered.
    pub(crate) closed: Load,
    /// The same while deliveries are held: what accepting takes alone, the deliveries being made later or elsewhere.
    pub(crate) held: Load,
    /// At half of the rate of `closed`, whether answered or not.
    pub(crate) half: Load,
    /// At half of the rate of `held`, likewise, while deliveries are held.
    pub(crate) held_half: Load,
    /// Raw limit of the queue.
    pub(crate) queue_limit: Limit,
    /// Raw limit of HTTP.
    pub(crate) http_limit: Limit,
    /// Webhooks a second that arrived, from the first request of the load until nothing more did.
    pub(crate) deliveries_per_second: f64,
    /// Of these, the rate while `closed` was accepted …
    #[serde(default)]
    pub(crate) deliveries_while_accepting: f64,
    /// … and that of the backlog which was left, once nothing more was accepted.
    #[serde(default)]
    pub(crate) deliveries_of_backlog: f64,
    /// Between the answer to a trigger alone and the arrival of its last webhook, in milliseconds.
    pub(crate) last_arrival_after_ms: f64,
    /// Processor time of each process during the load.
    pub(crate) cpu: Cpu,
    /// Peak memory of the server in bytes.
    pub(crate) memory_peak: u64,
    /// Bytes that the queue grew for each delivery that it took.
    pub(crate) disk_bytes_per_delivery: f64,
    /// Syncs a second that the disk could do then.
    pub(crate) syncs_per_second: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts far below 2^52, shown with a few digits"
)]
pub(crate) fn measure(point: Point, method: Method) -> Result<Measured, Failure> {
    let Point {
        composition,
        width,
        connections,
        payload_len,
    } = point;
    let syncs_per_second = limits::syncs_per_second()?;
    let http_limit = limits::of_http(width, payload_len, connections)?;
    let always = method.nats_sync_always;
    let queue_limit = limits::of_queue(composition, width, payload_len, connections, always)?;

    let running = Running::start(composition, width, always, true)?;
    let last_arrival_after_ms = alone(&running, width, payload_len)?;
    let arrivals_before = sink::stats(&running.sink_address)?.arrivals;
    let (disk_before, cpu_before) = (running.disk_bytes(), running.cpu());
    let began = now_nanos();
    let closed = limits::generate(&load(&running, point, method, None))?;
    let (accepted_until, while_accepting) = (now_nanos(), sink::stats(&running.sink_address)?);
    let (disk_after, cpu_after) = (running.disk_bytes(), running.cpu());
    let memory_peak = running.server.cost().memory_peak;
    running.settle(arrivals_before + closed.succeeded * width as u64, DRAIN_MAX)?;
    let stats = sink::stats(&running.sink_address)?;
    let rate = |arrivals: u64, from: u64, until: u64| {
        let seconds = until.saturating_sub(from) as f64 / 1e9;
        if arrivals > 0 {
            arrivals as f64 / seconds
        } else {
            0.0
        }
    };
    let deliveries_per_second = rate(stats.arrivals - arrivals_before, began, stats.last_at);
    let arrived = while_accepting.arrivals - arrivals_before;
    let deliveries_while_accepting = rate(arrived, began, accepted_until);
    let left = stats.arrivals - while_accepting.arrivals;
    let deliveries_of_backlog = rate(left, accepted_until, stats.last_at);
    let accepted = (closed.succeeded as f64) * (width as f64);
    drop(running);

    // Afresh each time, so that what one load left behind does not weigh on the next.
    let running = Running::start(composition, width, always, false)?;
    let held = limits::generate(&load(&running, point, method, None))?;
    drop(running);
    let at_half_of = |load_before: &Load, delivering| {
        let running = Running::start(composition, width, always, delivering)?;
        let rate = (load_before.per_second / 2.0).max(1.0);
        limits::generate(&load(&running, point, method, Some(rate)))
    };
    let half = at_half_of(&closed, true)?;
    let held_half = at_half_of(&held, false)?;
    Ok(Measured {
        point,
        closed,
        held,
        half,
        held_half,
        queue_limit,
        http_limit,
        deliveries_per_second,
        deliveries_while_accepting,
        deliveries_of_backlog,
        last_arrival_after_ms,
        cpu: cpu_after.since(cpu_before),
        memory_peak,
        disk_bytes_per_delivery: if accepted > 0.0 {
            disk_after.saturating_sub(disk_before) as f64 / accepted
        } else {
            0.0
        },
        syncs_per_second,
    })
}

fn load(running: &Running, point: Point, method: Method, rate: Option<f64>) -> GenerateArgs {
    GenerateArgs {
        address: running.address.clone(),
        path: format!("/api/ingest/event/{EVENT_TYPE}"),
        key: KEY.to_owned(),
        payload_len: point.payload_len,
        connections: point.connections,
        seconds: method.seconds,
        warm_up: method.warm_up,
        rate,
        expected: 202,
    }
}

/// Triggers once on an idle server, a few times over; the median of how long after its answer the last webhook arrived.
fn alone(running: &Running, width: usize, payload_len: usize) -> Result<f64, Failure> {
    if width == 0 {
        return Ok(0.0);
    }
    let mut waits = Vec::new();
    for _ in 0..5 {
        let before = sink::stats(&running.sink_address)?.arrivals;
        trigger(&running.address, payload_len)?;
        let answered = now_nanos();
        let mut stats = sink::stats(&running.sink_address)?;
        let mut polls = 0;
        while stats.arrivals < before + width as u64 {
            pause(5);
            polls += 1;
            if polls > 6_000 {
                return Err(format!(
                    "of {width} webhooks only {} arrived",
                    stats.arrivals - before
                )
                .into());
            }
            stats = sink::stats(&running.sink_address)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a few seconds")]
        waits.push(stats.last_at.saturating_sub(answered) as f64 / 1e6);
        pause(50);
    }
    waits.sort_by(f64::total_cmp);
    Ok(waits[waits.len() / 2])
}

fn trigger(address: &str, payload_len: usize) -> Result<(), Failure> {
    use std::io::{Read as _, Write as _};
    let body = format!(
        r#"{{"payload":{}}}"#,
        crate::generator::payload(payload_len)
    );
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST /api/ingest/event/{EVENT_TYPE} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if &status[9..] == b"202" {
        Ok(())
    } else {
        Err(format!(
            "the trigger was answered {}",
            String::from_utf8_lossy(&status)
        )
        .into())
    }
}
