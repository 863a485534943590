//! Of two faults, the earlier one in the contract's order is told.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;

use crate::ingestion::support::{BOUND, Bench, Counting, DISABLED, KEY, POOR, ask, post};

/// Faults of a request, in the contract's order of checks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Wrong {
    Unknown,
    Disabled,
    Bound,
    Name,
    BodySize,
    PayloadSize,
    Body,
    Rate,
    EventType,
}

impl Wrong {
    const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Disabled,
        Self::Bound,
        Self::Name,
        Self::BodySize,
        Self::PayloadSize,
        Self::Body,
        Self::Rate,
        Self::EventType,
    ];

    fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Unknown => (401, "unauthorized"),
            Self::Disabled => (403, "token_disabled"),
            Self::Bound => (400, "invalid_api_key"),
            Self::Name | Self::Body => (400, "validation_error"),
            Self::BodySize | Self::PayloadSize => (413, "payload_too_large"),
            Self::Rate => (429, "rate_limited"),
            Self::EventType => (404, "not_found"),
        }
    }
}

/// A request in which all of `wrongs` are wrong.
fn request(wrongs: &[Wrong]) -> Request<Body> {
    let has = |wrong| wrongs.contains(&wrong);
    let key = if has(Wrong::Unknown) {
        "nhk_us_nobody_0000000000000000000000"
    } else if has(Wrong::Disabled) {
        DISABLED
    } else if has(Wrong::Bound) {
        BOUND
    } else if has(Wrong::Rate) || has(Wrong::PayloadSize) {
        POOR
    } else {
        KEY
    };
    let name = if has(Wrong::Name) {
        "order..paid"
    } else if has(Wrong::EventType) {
        "order.unknown"
    } else {
        "order.paid"
    };
    let long = "x".repeat(if has(Wrong::PayloadSize) { 300_000 } else { 0 });
    // Refused for the metadata where the payload is to be the other fault, and for the syntax otherwise.
    let body = match (has(Wrong::Body), has(Wrong::PayloadSize)) {
        (false, _) => format!(
            r#"{{"payload":{{"a":"{}"}}}}"#,
            &long[..long.len().min(100)]
        ),
        (true, true) => format!(r#"{{"payload":["{}"],"metadata":7}}"#, &long[..100]),
        (true, false) => "{".to_owned(),
    };
    let padding = " ".repeat(if has(Wrong::BodySize) { 2_000_000 } else { 0 });
    post(&format!("/api/ingest/event/{name}"), key, body + &padding)
}

#[tokio::test]
async fn of_two_faults_the_earlier_is_told() {
    for first in Wrong::ALL {
        for second in Wrong::ALL.into_iter().filter(|second| *second >= first) {
            let bench = Bench::new().await;
            let router = bench.router();
            // The poor workspace has one token an hour: spent.
            let spend = post("/api/ingest/event/order.paid", POOR, r#"{"payload":{}}"#);
            assert_eq!(ask(&router, spend).await.status.as_u16(), 202);
            let answer = ask(&router, request(&[first, second])).await;
            let (status, code) = first.answer();
            assert_eq!(
                answer.error(),
                (status, code.to_owned()),
                "{first:?} and {second:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_before_the_limiter_spends_nothing() {
    let limiter = Arc::new(Counting::default());
    let mut bench = Bench::new().await;
    bench.limiter = Arc::<Counting>::clone(&limiter);
    let router = bench.router();
    for wrong in Wrong::ALL.into_iter().filter(|wrong| *wrong < Wrong::Rate) {
        ask(&router, request(&[wrong])).await;
    }
    assert_eq!(*limiter.0.lock().unwrap(), 0);
    ask(&router, request(&[Wrong::EventType])).await;
    assert_eq!(*limiter.0.lock().unwrap(), 1);
}
