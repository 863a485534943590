//! The rate limit's headers: on every answer to a caller who is known.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::Request;

use crate::ingestion::support::{
    Answer, Bench, DISABLED, Fault, KEY, ORDER_PAID, POOR_LEN_MAX, SOME, ask, post,
};

const NAMES: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

fn shown(answer: &Answer) -> [u64; 3] {
    NAMES.map(|name| answer.header(name).unwrap().parse().unwrap())
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test]
async fn what_is_left_goes_down_with_every_token_and_stays_at_a_refusal() {
    let bench = Bench::new().await;
    let trigger = |body: &'static str| post(ORDER_PAID, SOME, body);
    let mut seen = Vec::new();
    for body in [
        "no json",
        r#"{"payload":{}}"#,
        r#"{"payload":7}"#,
        r#"{"payload":{}}"#,
        r#"{"payload":{}}"#,
        r#"{"payload":{}}"#,
        r#"{"payload":{}}"#,
    ] {
        let answer = ask(&bench.router(), trigger(body)).await;
        let [limit, remaining, reset] = shown(&answer);
        // Of the two levels the key's is the tighter one.
        assert_eq!(limit, 3);
        let hours = (reset - seconds() + 1_800) / 3_600;
        seen.push((answer.status.as_u16(), remaining, hours));
    }
    assert_eq!(
        seen,
        [
            (400, 3, 0),
            (202, 2, 1),
            (400, 2, 1),
            (202, 1, 2),
            (202, 0, 3),
            (429, 0, 3),
            (429, 0, 3)
        ]
    );
}

#[tokio::test]
async fn every_answer_to_a_known_caller_has_them() {
    let bench = Bench::new().await;
    let large = format!("{{\"payload\":{{\"x\":\"{}\"}}}}", "x".repeat(POOR_LEN_MAX));
    let ok = r#"{"payload":{}}"#.to_owned();
    for (path, body, status) in [
        (ORDER_PAID, &large, 413),
        ("/api/ingest/event/order..paid", &ok, 400),
        ("/api/ingest/event/order.unknown", &ok, 404),
        ("/api/ingest/ep_none", &ok, 404),
        ("/api/ingest/ep_some", &large, 413),
        ("/api/ingest/batch", &ok, 400),
        ("/api/ingest/event/batch", &ok, 400),
        ("/api/ingest/batch", &r#"{"items":[{}]}"#.to_owned(), 207),
        ("/api/ingest/ep_some", &ok, 202),
        ("/api/ingest/ep_some", &ok, 429),
    ] {
        let answer = ask(&bench.router(), post(path, SOME, body.clone())).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(shown(&answer)[0], 3, "{path}");
    }
}

#[tokio::test]
async fn nobody_else_is_told() {
    let bench = Bench::new().await;
    for request in [
        post(ORDER_PAID, DISABLED, r#"{"payload":{}}"#),
        post(
            ORDER_PAID,
            "nhk_us_unknown_000000000000000000000",
            r#"{"payload":{}}"#,
        ),
        Request::post("/nowhere").body("".into()).unwrap(),
    ] {
        let answer = ask(&bench.router(), request).await;
        for name in NAMES {
            assert_eq!(answer.header(name), None);
        }
    }
}

#[tokio::test]
async fn without_a_rate_the_largest_numbers_are_shown() {
    let bench = Bench::new().await;
    let answer = ask(&bench.router(), post(ORDER_PAID, KEY, r#"{"payload":{}}"#)).await;
    let [limit, remaining, reset] = shown(&answer);
    assert_eq!([limit, remaining], [u64::from(u32::MAX); 2]);
    assert!(reset.abs_diff(seconds()) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_does_not_answer_limits_nobody() {
    for fault in [Fault::Down, Fault::Panic, Fault::Silence] {
        let mut bench = Bench::new().await;
        bench.limiter = std::sync::Arc::new(fault);
        let answer = ask(&bench.router(), post(ORDER_PAID, SOME, r#"{"payload":{}}"#)).await;
        assert_eq!(shown(&answer)[..2], [3, 3], "{fault:?}");
    }
}
