//! Scenarios that are counted.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use nahook_benches::{caller, event, now, null_fan_out, object, runtime, trigger, workspace};
use nahook_core::admission::{Caller, Plan, Rate};
use nahook_core::{
    Clock, GcraLimiter, IdSource, NewEvent, RateLimiter as _, Receipt, Scope, Timestamp,
};
use nahook_http::wire::{parse_trigger, write_receipt};

use crate::Failure;
use crate::counts::{self, Step};

/// A step of the hot path.
#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    /// A trigger to so many endpoints over back ends that cost nothing.
    FanOut(&'static str, usize),
    /// Admitting a caller whose workspace and key are both limited.
    Limiter(&'static str),
    /// From a request's bytes to an event with so long a payload.
    Request(&'static str, usize),
    /// From a receipt of so many deliveries to an answer's bytes.
    Response(&'static str, usize),
    /// A step on the SQLite store, with counts or without.
    Counts(&'static str, Step, bool),
}

impl Scenario {
    pub(crate) const ALL: &[Self] = &[
        Self::FanOut("fan_out_1", 1),
        Self::FanOut("fan_out_10", 10),
        Self::FanOut("fan_out_1000", 1_000),
        Self::FanOut("fan_out_10000", 10_000),
        Self::Limiter("limiter_check"),
        Self::Request("request_256", 256),
        Self::Request("request_65536", 65_536),
        Self::Response("response_1", 1),
        Self::Response("response_1000", 1_000),
    ];

    /// Scenarios of [`counts`], in pairs: without counts and with them. They have no budget, since the store has threads that wait.
    pub(crate) const COUNTS: &[[Self; 2]] = &[
        [
            Self::Counts("publish", Step::Publish, false),
            Self::Counts("publish_counted", Step::Publish, true),
        ],
        [
            Self::Counts("settle", Step::Settle, false),
            Self::Counts("settle_counted", Step::Settle, true),
        ],
        [
            Self::Counts("settle", Step::Settle, false),
            Self::Counts("settle_counted_and_written", Step::Write, true),
        ],
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FanOut(name, _)
            | Self::Limiter(name)
            | Self::Request(name, _)
            | Self::Response(name, _)
            | Self::Counts(name, ..) => name,
        }
    }

    /// Returns the repetitions of the shorter and of the longer run.
    pub(crate) const fn repetitions(self) -> (u64, u64) {
        match self {
            Self::FanOut(_, 1_000..) | Self::Request(_, 65_536..) | Self::Response(_, 1_000..) => {
                (10, 60)
            }
            Self::Counts(_, Step::Settle | Step::Write, _) => (20, 120),
            _ => (100, 1_100),
        }
    }

    pub(crate) fn run(self, times: u64) -> Result<(), Failure> {
        match self {
            Self::FanOut(_, width) => fan_out(width, times),
            Self::Limiter(_) => limiter(times),
            Self::Request(_, payload_len) => request(payload_len, times),
            Self::Response(_, width) => response(width, times),
            Self::Counts(_, step, counts) => counts::run(step, counts, times),
        }
    }
}

/// Always the same, so that every run takes the same steps.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

impl IdSource for Fixed {
    fn random(&self) -> u128 {
        0x0123_4567_89ab_cdef_0123_4567_89ab_cdef
    }
}

fn triggered(
    engine: &nahook_benches::NullFanOut,
    event: &NewEvent,
    scope: Scope,
) -> Result<Receipt, Failure> {
    let receipt = trigger(engine, event.clone(), scope);
    receipt.ok_or_else(|| "the engine gave no receipt".into())
}

fn fan_out(width: usize, times: u64) -> Result<(), Failure> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let (scope, event) = (workspace().into(), made(256)?);
    let engine = null_fan_out(width).with_clock(Fixed).with_ids(Fixed);
    for _ in 0..times {
        drop(black_box(triggered(&engine, &event, scope)?));
    }
    Ok(())
}

fn limiter(times: u64) -> Result<(), Failure> {
    // More than are spent.
    let rate = NonZeroU32::new(1_000_000).and_then(Rate::per_second);
    let rate = rate.ok_or("no such rate")?;
    let caller = Caller {
        plan: Plan {
            workspace_rate: Some(rate),
            key_rate: Some(rate),
            ..Plan::default()
        },
        ..caller()
    };
    let limiter = GcraLimiter::new(Arc::new(Fixed));
    for _ in 0..times {
        let verdict = now(limiter.check(&caller)).ok_or("the limiter waited")?;
        black_box(verdict?);
    }
    Ok(())
}

fn request(payload_len: usize, times: u64) -> Result<(), Failure> {
    let payload = String::from_utf8(object(payload_len))?;
    let body = format!(r#"{{"payload":{payload},"metadata":{{"tenant":"t_1","trace":"4bf9"}}}}"#);
    let body = Bytes::from(body);
    for _ in 0..times {
        let parsed = parse_trigger(&body, 256 * 1024);
        black_box(parsed.map_err(|_| "a body that is no trigger")?);
    }
    Ok(())
}

fn response(width: usize, times: u64) -> Result<(), Failure> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let engine = null_fan_out(width).with_clock(Fixed).with_ids(Fixed);
    let receipt = triggered(&engine, &made(256)?, workspace().into())?;
    for _ in 0..times {
        let mut out = Vec::new();
        write_receipt(&receipt, &mut out);
        black_box(out.as_slice());
    }
    Ok(())
}

fn made(payload_len: usize) -> Result<NewEvent, Failure> {
    event(payload_len).map_err(|_| "no event can be made".into())
}
