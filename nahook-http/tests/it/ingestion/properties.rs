//! Whatever is sent, the answer is a 202 or a documented error, and what is queued is what was sent.

use axum::http::{Request, StatusCode};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::ingestion::support::{Answer, Bench, KEY, ORDER_PAID, ask, post};

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

pub(crate) fn is_documented(answer: &Answer) -> bool {
    if answer.status == StatusCode::ACCEPTED {
        return answer.json()["status"] == "accepted";
    }
    matches!(
        (answer.error().0, answer.error().1.as_str()),
        (400, "validation_error" | "invalid_api_key")
            | (401, "unauthorized")
            | (404, "not_found")
            | (405, "method_not_allowed")
            | (413, "payload_too_large")
    )
}

/// JSON with all sorts of spellings.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        Just(r#""\ud800\u0000\/""#.to_owned()),
    ];
    let blank = "[ \t\r\n]{0,2}";
    leaf.prop_recursive(6, 48, 6, move |value| {
        let spaced = (blank, value, blank).prop_map(|(a, value, b)| a + &value + &b);
        prop_oneof![
            proptest::collection::vec(spaced.clone(), 0..5)
                .prop_map(|values| format!("[{}]", values.join(","))),
            object(spaced),
        ]
    })
}

pub(crate) fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = any::<String>().prop_map(|key| Value::from(key).to_string());
    proptest::collection::vec((key, value), 0..5).prop_map(|fields| {
        let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k} :{v}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

proptest! {
    #[test]
    fn any_payload_arrives_to_the_byte(payload in object(json()), before: bool, gap in "[ \t\r\n]{0,3}") {
        runtime().block_on(async {
            let bench = Bench::new().await;
            let extra = r#""metadata":{"k":"v"}"#;
            let body = if before {
                format!("{gap}{{{extra},\"payload\":{gap}{payload}{gap}}}")
            } else {
                format!("{{\"payload\":{gap}{payload}{gap},{extra}}}{gap}")
            };
            let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
            prop_assert_eq!(answer.status, StatusCode::ACCEPTED);
            let queued = bench.queued().await;
            prop_assert!(!queued.is_empty());
            for delivery in queued {
                prop_assert_eq!(delivery.payload.as_bytes(), &payload);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        runtime().block_on(async {
            let bench = Bench::new().await;
            let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
            prop_assert!(is_documented(&answer), "{answer:?}");
            let queued = bench.queued().await;
            prop_assert_eq!(queued.is_empty(), answer.status != StatusCode::ACCEPTED);
            Ok(())
        })?;
    }

    #[test]
    fn any_damage_is_answered(
        payload in object(json()),
        metadata in json(),
        cut in any::<prop::sample::Index>(),
        byte: u8,
        replace: bool,
    ) {
        let mut body = format!(r#"{{"metadata":{metadata},"payload":{payload}}}"#).into_bytes();
        let at = cut.index(body.len());
        if replace {
            body[at] = byte;
        } else {
            body.truncate(at);
        }
        let sent = body.clone();
        runtime().block_on(async {
            let bench = Bench::new().await;
            let answer = ask(&bench.router(), post(ORDER_PAID, KEY, body)).await;
            prop_assert!(is_documented(&answer), "{answer:?}");
            for delivery in bench.queued().await {
                let payload: &[u8] = delivery.payload.as_bytes();
                let is_part = sent.windows(payload.len()).any(|part| part == payload);
                let is_made = payload == b"{}";
                prop_assert!(is_part || is_made);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_path_is_answered(segment in prop_oneof![
        "[ -~]{0,40}",
        "(%[0-9a-fA-F]{2}|[a-z.%+]){0,20}",
        "[A-Za-z0-9_.-]{1,130}",
    ]) {
        let path = format!("/api/ingest/event/{segment}");
        let request = Request::post(&path).header("authorization", format!("Bearer {KEY}"));
        let Ok(request) = request.body(r#"{"payload":{}}"#.into()) else {
            return Ok(());
        };
        runtime().block_on(async {
            let bench = Bench::new().await;
            let answer = ask(&bench.router(), request).await;
            prop_assert!(is_documented(&answer), "{answer:?}");
            Ok(())
        })?;
    }

    #[test]
    fn any_authorization_is_answered(value in proptest::collection::vec(any::<u8>(), 0..80)) {
        let request = Request::post(ORDER_PAID).header("authorization", value);
        let Ok(request) = request.body(r#"{"payload":{}}"#.into()) else {
            return Ok(());
        };
        runtime().block_on(async {
            let bench = Bench::new().await;
            let answer = ask(&bench.router(), request).await;
            prop_assert_eq!(answer.error(), (401, "unauthorized".to_owned()));
            Ok(())
        })?;
    }
}
